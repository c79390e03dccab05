"""Which of many policies a request passes, found out on one activation without asking each of them.

Takes the policies whose answer hangs on nothing but their expressions: no params, no selectors, no audit annotations.
Where anything is not plainly true (a failure, an error, a cost that may be near its limit) the policy is asked itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from webhook.cel.activation import Activation
from webhook.cel.share import Shared
from webhook.errors import DeadlineExceeded
from webhook.manifest.evaluation import Call, Evaluator, Run
from webhook.policy import Context
from webhook.sweep import Sweep

_CHUNK = 16
"""Policies between two looks at the clock."""

_Step = tuple[int, int, Call]
"""What a validation is granted, now and after a look at the clock, and the validation."""

_Row = tuple[int, tuple[_Step, ...], Callable[[Activation], None] | None]
"""The member's number, its validations, and what has to hold of variables besides."""


class Fellows:
    """The crowd of the policies that share an activation and ask the same match conditions."""

    __slots__ = ("_asked", "_shared")

    def __init__(self, shared: Shared, asked: tuple[str, ...]) -> None:
        self._shared = shared
        self._asked = asked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fellows) and self._shared is other._shared and self._asked == other._asked

    def __hash__(self) -> int:
        return hash((id(self._shared), self._asked))

    def sweep(self, runs: Sequence[Callable[[Any], Any]], /) -> Sweep:
        """`runs` are `Evaluator`s."""
        return _Sweep([run for run in runs if isinstance(run, Evaluator)])


class _Granted:
    """The members at one size of the inputs."""

    __slots__ = ("apart", "chunks", "lead", "rows")

    def __init__(self, members: Sequence[Evaluator], size: int) -> None:
        self.rows: dict[int, _Row] = {}
        self.apart: list[int] = []
        """Members whose cost has to be looked at more closely."""
        self.lead: Evaluator | None = None
        """Who may evaluate the match conditions."""
        for number, member in enumerate(members):
            granted = member.granted(size)
            if granted is not None:
                self.lead = self.lead or member
            if granted is None or None in granted.grants:
                self.apart.append(number)
                continue
            hold = partial(member.hold, granted) if granted.ask else None
            pairs = zip(granted.grants, member.validations, strict=True)
            steps = tuple((*grant, call) for grant, call in pairs if grant is not None)
            self.rows[number] = (number, steps, hold)
        self.chunks = _chunks([*self.rows.values()])


def _chunks(rows: Sequence[_Row]) -> list[Sequence[_Row]]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


class _Sweep:
    def __init__(self, members: Sequence[Evaluator]) -> None:
        self._members = members
        self._by_size: dict[int, _Granted] = {}

    def __call__(self, context: Context, among: Sequence[int] | None = None) -> Sequence[int] | None:
        everyone = range(len(self._members)) if among is None else among
        run = self._members[0].run_of(context)
        if run.outside:
            return None
        if not run.exact:
            return everyone
        granted = self._by_size.get(run.size)
        if granted is None:
            granted = self._by_size[run.size] = _Granted(self._members, run.size)
        if granted.lead is None:
            return everyone
        try:
            errors = granted.lead.conditions_met(run, context)
        except Exception:  # each member says for itself what is wrong
            return everyone
        if errors is None:
            return None
        if errors:
            return everyone
        if among is None:
            return granted.apart + self._failing(granted.chunks, run, context)
        rows = granted.rows
        found = self._failing(_chunks([rows[number] for number in among if number in rows]), run, context)
        left = []
        for number in among:
            if number in found or number not in rows:
                left.append(number)
            else:
                run.told[self._members[number]] = ()
        return left

    def _failing(self, chunks: Sequence[Sequence[_Row]], run: Run, context: Context) -> list[int]:
        """Who does not pass; which validations fail is left in `run.told`, where there is no more to it."""
        found: list[int] = []
        activation = run.activation
        for chunk in chunks:
            try:
                context.check_deadline()
            except DeadlineExceeded:
                found.extend(row[0] for row in chunk)
                continue
            for number, steps, hold in chunk:
                try:
                    for left, spare, call in steps:
                        activation.left = left
                        activation.spare = spare
                        if call(activation) is not True:
                            found.append(number)
                            if hold is None:
                                run.told[self._members[number]] = _rest(steps, call, activation)
                            break
                    else:
                        if hold is not None:
                            hold(activation)
                except Exception:  # of any kind: the member meets it again, and knows what it means
                    if not found or found[-1] != number:
                        found.append(number)
        return found


def _rest(steps: Sequence[_Step], failed: Call, activation: Activation) -> tuple[int, ...]:
    """Which validations fail, the first of them known. Raises what expressions raise."""
    if len(steps) == 1:
        return _FIRST
    places: list[int] = []
    for place, (left, spare, call) in enumerate(steps):
        if call is failed:
            places.append(place)
        elif places:
            activation.left, activation.spare = left, spare
            if call(activation) is not True:
                places.append(place)
    return tuple(places)


_FIRST = (0,)
