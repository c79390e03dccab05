"""Which of many policies a request passes, found out on one activation without asking each of them.

Takes the policies whose answer hangs on nothing but their expressions: no params, no selectors, no audit annotations.
Where anything is not plainly true (a failure, an error, a cost that may be near its limit) the policy is asked itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from webhook.cel.activation import Activation, Grant, Leave
from webhook.cel.share import Shared
from webhook.errors import DeadlineExceeded
from webhook.manifest.evaluation import Call, Evaluator, Run
from webhook.policy import Context, Verdict
from webhook.sweep import Answer, Sweep

_CHUNK = 64
"""Validations between two looks at the clock."""

_SHARED = 4_096
"""Iterations that are enough for several validations."""

_GROUPS = 64
"""Members asked together that are remembered: what fails now and is asked about the old object is often the same."""

_Place = tuple[int, int]
"""A member's number, and which of its validations."""

_Step = tuple[Call, _Place]


class _Chunk(NamedTuple):
    """Validations that together may use what the one that is granted least may use alone: granted once, not each."""

    grant: Grant
    places: Mapping[Call, Sequence[_Place]]
    """Each once, in order, and whose it is: a loop over calls alone is the fastest."""


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

    __slots__ = ("_groups", "_hold", "_steps", "apart", "chunks", "grants", "lead", "members")

    def __init__(self, members: Sequence[Evaluator], size: int) -> None:
        self.grants: dict[_Place, Grant] = {}
        self._hold: dict[int, Callable[[Activation], None]] = {}
        """What has to hold of variables besides."""
        self.apart: list[int] = []
        """Members whose cost has to be looked at more closely."""
        self.lead: Evaluator | None = None
        """Who may evaluate the match conditions."""
        self._steps: dict[int, Sequence[_Step]] = {}
        for number, member in enumerate(members):
            granted = member.granted(size)
            if granted is not None:
                self.lead = self.lead or member
            if granted is None or None in granted.grants:
                self.apart.append(number)
                continue
            grants = {(number, which): grant for which, grant in enumerate(granted.grants) if grant is not None}
            self.grants |= grants
            self._steps[number] = list(zip(member.validations, grants, strict=True))
            if granted.ask:
                self._hold[number] = partial(member.hold, granted)
        self.members = [*self._steps]
        self.chunks = self._chunked(self.members)
        self._groups: dict[tuple[int, ...], Sequence[_Chunk]] = {}

    def __contains__(self, member: int) -> bool:
        return member in self._steps

    def chunks_of(self, group: tuple[int, ...]) -> Sequence[_Chunk]:
        """The `chunks` of some of the members."""
        found = self._groups.get(group)
        if found is None:
            if len(self._groups) >= _GROUPS:
                self._groups.clear()
            found = self._groups[group] = self._chunked(group)
        return found

    def _chunked(self, members: Sequence[int]) -> Sequence[_Chunk]:
        """Those together that are granted alike, and much."""
        steps = sorted((step for number in members for step in self._steps[number]), key=self._granted, reverse=True)
        apart = sum(sum(self._granted(step)) < _SHARED for step in steps)
        shared, alone = steps[: len(steps) - apart], steps[len(steps) - apart :]
        chunks = [shared[start : start + _CHUNK] for start in range(0, len(shared), _CHUNK)]
        return [_Chunk(self._granted(chunk[-1]), _by_call(chunk)) for chunk in (*chunks, *([step] for step in alone))]

    def _granted(self, step: _Step) -> Grant:
        return self.grants[step[1]]

    def unheld(self, members: Sequence[int], failing: Container[int], activation: Activation) -> set[int]:
        """Members whose answer counts only if variables are as was assumed, and they are not. Of one that fails nobody
        knows yet."""
        found: set[int] = set()
        if not self._hold:
            return found
        for number in [each for each in members if each in self._hold]:
            try:
                if number in failing:
                    found.add(number)
                else:
                    self._hold[number](activation)
            except Exception:
                found.add(number)
        return found


class _Sweep:
    def __init__(self, members: Sequence[Evaluator]) -> None:
        self._members = members
        self._by_size: dict[int, _Granted] = {}

    def __call__(self, context: Context, among: Sequence[int] | None = None) -> Sequence[Answer] | None:
        everyone = range(len(self._members)) if among is None else among
        run = self._members[0].run_of(context)
        if run.outside:
            return None
        if not run.exact:
            return _unknown(everyone)
        granted = self._by_size.get(run.size)
        if granted is None:
            granted = self._by_size[run.size] = _Granted(self._members, run.size)
        if granted.lead is None:
            return _unknown(everyone)
        try:
            errors = granted.lead.conditions_met(run, context)
        except Exception:  # each member says for itself what is wrong
            return _unknown(everyone)
        if errors is None:
            return None
        if errors:
            return _unknown(everyone)
        if among is None:
            return _unknown(granted.apart) + self._failing(granted, granted.members, granted.chunks, run, context)
        asked = tuple([number for number in among if number in granted])
        apart = [number for number in among if number not in granted]
        return _unknown(apart) + self._failing(granted, asked, granted.chunks_of(asked), run, context)

    def _failing(
        self, granted: _Granted, members: Sequence[int], chunks: Sequence[_Chunk], run: Run, context: Context
    ) -> list[Answer]:
        """Who does not pass, and the verdict where the validations that fail are all that there is to it."""
        activation = run.activation
        false: list[_Place] = []
        unsure: set[int] = set()
        alone: list[_Step] = []
        for grant, places in chunks:
            try:
                context.check_deadline()
            except DeadlineExceeded:
                unsure.update(number for whose in places.values() for number, _ in whose)
                continue
            activation.left, activation.spare = grant
            for call in places:
                try:
                    if call(activation) is not True:
                        false += places[call]
                except Leave:  # the others have used up what was granted
                    alone += [(call, place) for place in places[call]]
                    activation.left, activation.spare = grant
                except Exception:  # of any kind: the member meets it again, and knows what it means
                    unsure.update(number for number, _ in places[call])
        for call, place in alone:
            activation.left, activation.spare = granted.grants[place]
            try:
                if call(activation) is not True:
                    false.append(place)
            except Exception:
                unsure.add(place[0])
        failing: dict[int, list[int]] = {}
        false.sort()
        for number, which in false:
            failing.setdefault(number, []).append(which)
        unsure |= granted.unheld(members, failing, activation)
        return [
            (number, None if number in unsure else self._verdict(number, failing[number], run, context))
            for number in sorted(failing.keys() | unsure)
        ]

    def _verdict(self, number: int, places: Sequence[int], run: Run, context: Context) -> Verdict | None:
        try:
            return self._members[number].verdict_of(tuple(places), run.activation, texts=context.texts)
        except Exception:  # as above
            return None


def _by_call(steps: Sequence[_Step]) -> Mapping[Call, Sequence[_Place]]:
    found: dict[Call, list[_Place]] = {}
    for call, place in steps:
        found.setdefault(call, []).append(place)
    return found


def _unknown(members: Sequence[int]) -> list[Answer]:
    return [(number, None) for number in members]
