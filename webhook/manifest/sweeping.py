"""Which of many policies a request passes, found out on one activation without asking each of them.

Takes the policies whose answer hangs on nothing but their expressions: no params, no selectors, no audit annotations.
Where anything is not plainly true (a failure, an error, a cost that may be near its limit) the policy is asked itself.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from webhook.cel.activation import Activation, Grant, Leave
from webhook.cel.share import Shared
from webhook.errors import DeadlineExceeded
from webhook.manifest.evaluation import Call, Evaluator, Run
from webhook.policy import Context
from webhook.sweep import Answer, Sweep

_CHUNK = 64
"""Validations between two looks at the clock."""

_SHARED = 4_096
"""Iterations that are enough for several validations."""

_GROUPS = 64
"""Members asked together that are remembered: what fails now and is asked about the old object is often the same."""

_REMEMBERED = 16_384
"""Failures, in all patterns of what fails together."""

_Place = tuple[int, int]
"""A member's number, and which of its validations."""

_Step = tuple[Call, _Place]


class _Chunk(NamedTuple):
    """Validations that together may use what the one that is granted least may use alone: granted once, not each."""

    grant: Grant
    places: Mapping[Call, Sequence[_Place]]
    """Each once, in order, and whose it is: a loop over calls alone is the fastest."""


class _Group(NamedTuple):
    members: Sequence[int]
    """Who can be asked together."""
    chunks: Sequence[_Chunk]
    """Their validations."""
    apart: Sequence[int]
    """Whose cost has to be looked at more closely."""


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

    __slots__ = ("_groups", "_hold", "_steps", "everyone", "grants", "lead")

    def __init__(self, members: Sequence[Evaluator], size: int) -> None:
        self.grants: dict[_Place, Grant] = {}
        self._hold: dict[int, Callable[[Activation], None]] = {}
        """What has to hold of variables besides."""
        apart: list[int] = []
        self.lead: Evaluator | None = None
        """Who may evaluate the match conditions."""
        self._steps: dict[int, Sequence[_Step]] = {}
        for number, member in enumerate(members):
            granted = member.granted(size)
            if granted is not None:
                self.lead = self.lead or member
            if granted is None or None in granted.grants:
                apart.append(number)
                continue
            grants = {(number, which): grant for which, grant in enumerate(granted.grants) if grant is not None}
            self.grants |= grants
            self._steps[number] = list(zip(member.validations, grants, strict=True))
            if granted.ask:
                self._hold[number] = partial(member.hold, granted)
        self.everyone = _Group([*self._steps], self._chunked([*self._steps]), apart)
        self._groups: dict[tuple[int, ...], _Group] = {}

    def among(self, numbers: tuple[int, ...]) -> _Group:
        """Some of the members."""
        found = self._groups.get(numbers)
        if found is None:
            if len(self._groups) >= _GROUPS:
                self._groups.clear()
            together = [number for number in numbers if number in self._steps]
            apart = [number for number in numbers if number not in self._steps]
            found = self._groups[numbers] = _Group(together, self._chunked(together), apart)
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

    def unheld(self, members: Sequence[int], false: Sequence[_Place], activation: Activation) -> set[int]:
        """Members whose answer counts only if variables are as was assumed, and they are not. Of one that fails nobody
        knows yet."""
        found: set[int] = set()
        if not self._hold:
            return found
        failing = {number for number, _ in false}
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
        self._said = _Said(members)

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
        group = granted.everyone if among is None else granted.among(tuple(among))
        return self._failing(granted, group, run, context) + _unknown(group.apart)

    def _failing(self, granted: _Granted, group: _Group, run: Run, context: Context) -> list[Answer]:
        """Who does not pass, and the verdict where the validations that fail are all that there is to it."""
        activation = run.activation
        false: list[_Place] = []
        unsure: set[int] = set()
        alone: list[_Step] = []
        for grant, places in group.chunks:
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
        false.sort()
        unsure |= granted.unheld(group.members, false, activation)
        if unsure:
            false = [place for place in false if place[0] not in unsure]
        return [*_unknown(unsure), *self._said.answers(tuple(false), activation, texts=context.texts)]


class _Pattern(NamedTuple):
    answers: Sequence[Answer]
    computed: Sequence[tuple[int, int, tuple[int, ...]]]
    """Where in `answers` a verdict is to come that has computed messages, of which member, and what is false."""


class _Said:
    """What members say of whom it is known which validations are false. It is remembered: what fails now often fails
    again."""

    __slots__ = ("_members", "_patterns", "_remembered")

    def __init__(self, members: Sequence[Evaluator]) -> None:
        self._members = members
        self._remembered = 0
        self._patterns: dict[tuple[tuple[_Place, ...], bool], _Pattern] = {}

    def answers(self, false: tuple[_Place, ...], activation: Activation, *, texts: bool) -> Sequence[Answer]:
        """`false` is in order."""
        pattern = self._patterns.get((false, texts)) or self._pattern(false, texts)
        if not pattern.computed:
            return pattern.answers
        found = list(pattern.answers)
        for at, number, places in pattern.computed:
            with contextlib.suppress(Exception):  # the member meets it again
                found[at] = number, self._members[number].computed(places, activation)
        return found

    def _pattern(self, false: tuple[_Place, ...], texts: bool) -> _Pattern:
        answers: list[Answer] = []
        computed: list[tuple[int, int, tuple[int, ...]]] = []
        for number, places in itertools.groupby(false, itemgetter(0)):
            which = tuple(place for _, place in places)
            verdict = self._members[number].told(which, texts=texts)
            if verdict is None:
                computed.append((len(answers), number, which))
            answers.append((number, verdict))
        self._remembered += 1 + len(false)
        if self._remembered > _REMEMBERED:
            self._patterns.clear()
            self._remembered = 1 + len(false)
        found = self._patterns[false, texts] = _Pattern(answers, computed)
        return found


def _by_call(steps: Sequence[_Step]) -> Mapping[Call, Sequence[_Place]]:
    found: dict[Call, list[_Place]] = {}
    for call, place in steps:
        found.setdefault(call, []).append(place)
    return found


def _unknown(members: Iterable[int]) -> list[Answer]:
    return [(number, None) for number in members]
