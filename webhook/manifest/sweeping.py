"""Which of many policies a request passes, found out on one activation without asking each of them.

Takes the policies whose answer hangs on nothing but their expressions: no params, no selectors, no audit annotations.
Where anything is not plainly true (a failure, an error, a cost that may be near its limit) the policy is asked itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from webhook.cel.activation import Activation, Grant, Leave
from webhook.cel.share import Shared
from webhook.errors import DeadlineExceeded
from webhook.manifest.evaluation import Call, Evaluator, Run
from webhook.policy import Context, Finding, Verdict
from webhook.sweep import Answers, Sweep, Told

_CHUNK = 128
"""Validations between two looks at the clock."""

_SHARED = 4_096
"""Iterations that are enough for several validations."""

_GROUPS = 64
"""Members asked together that are remembered: what fails now and is asked about the old object is often the same."""

_REMEMBERED = 16_384
"""Failures, in all patterns of what fails together."""

_Place = int
"""A validation's number, among those of all members."""

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
    apart: frozenset[int]
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


class _Places:
    """The validations of all members, in order."""

    __slots__ = ("of", "which", "whose")

    def __init__(self, members: Sequence[Evaluator]) -> None:
        self.whose: Sequence[int] = [number for number, member in enumerate(members) for _ in member.validations]
        """The member's number."""
        self.which: Sequence[int] = [each for member in members for each in range(len(member.validations))]
        """Which of the member's."""
        starts = itertools.accumulate((len(member.validations) for member in members), initial=0)
        self.of = [range(start, end) for start, end in itertools.pairwise(starts)]
        """Those of each member."""


class _Granted:
    """The members at one size of the inputs."""

    __slots__ = ("_groups", "_hold", "_steps", "_whose", "everyone", "grants", "lead")

    def __init__(self, members: Sequence[Evaluator], places: _Places, size: int) -> None:
        self.grants: dict[_Place, Grant] = {}
        self._whose = places.whose
        self._hold: dict[int, Callable[[Activation], None]] = {}
        """What has to hold of variables besides."""
        apart: list[int] = []
        self.lead: Evaluator | None = None
        """Who may evaluate the match conditions."""
        self._steps: dict[int, Sequence[_Step]] = {}
        for number, (member, own) in enumerate(zip(members, places.of, strict=True)):
            granted = member.granted(size)
            if granted is not None:
                self.lead = self.lead or member
            if granted is None or None in granted.grants:
                apart.append(number)
                continue
            self.grants |= {place: grant for place, grant in zip(own, granted.grants, strict=True) if grant is not None}
            self._steps[number] = list(zip(member.validations, own, strict=True))
            if granted.ask:
                self._hold[number] = partial(member.hold, granted)
        self.everyone = _Group([*self._steps], self._chunked([*self._steps]), frozenset(apart))
        self._groups: dict[tuple[int, ...], _Group] = {}

    def among(self, numbers: tuple[int, ...]) -> _Group:
        """Some of the members."""
        found = self._groups.get(numbers)
        if found is None:
            if len(self._groups) >= _GROUPS:
                self._groups.clear()
            together = [number for number in numbers if number in self._steps]
            apart = frozenset(number for number in numbers if number not in self._steps)
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
        failing = {self._whose[place] for place in false}
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
        self._places = _Places(members)
        self._by_size: dict[int, _Granted] = {}
        self._said = _Said(members, self._places)

    def __call__(self, context: Context) -> Answers | None:
        run = self._members[0].run_of(context)
        swept = self._swept(run, context, None)
        if swept is None:
            return None
        return self._said.answers(*swept, run.activation, texts=context.texts)

    def before(self, answers: Answers, context: Context) -> Told:
        swept = self._swept(self._members[0].run_of(context), context, answers.numbers)
        if swept is None:
            each = [None if verdict is None else verdict.findings for verdict in answers.verdicts]
            return Told(each, complete=answers.complete)
        return self._said.marked(answers, *swept)

    def _swept(
        self, run: Run, context: Context, among: tuple[int, ...] | None
    ) -> tuple[tuple[_Place, ...], frozenset[int]] | None:
        """What is false of those members who are known, in order, and who is not. None: the request is no member's
        business."""
        if run.outside:
            return None
        if not run.exact:
            return self._unknown(among)
        granted = self._by_size.get(run.size)
        if granted is None:
            granted = self._by_size[run.size] = _Granted(self._members, self._places, run.size)
        if granted.lead is None:
            return self._unknown(among)
        try:
            errors = granted.lead.conditions_met(run, context)
        except Exception:  # each member says for itself what is wrong
            return self._unknown(among)
        if errors is None:
            return None
        if errors:
            return self._unknown(among)
        return self._failing(granted, granted.everyone if among is None else granted.among(among), run, context)

    def _unknown(self, among: tuple[int, ...] | None) -> tuple[tuple[_Place, ...], frozenset[int]]:
        return (), frozenset(range(len(self._members)) if among is None else among)

    def _failing(
        self, granted: _Granted, group: _Group, run: Run, context: Context
    ) -> tuple[tuple[_Place, ...], frozenset[int]]:
        activation, whose = run.activation, self._places.whose
        false: list[_Place] = []
        unsure: set[int] = set()
        alone: list[_Step] = []
        for grant, places in group.chunks:
            try:
                context.check_deadline()
            except DeadlineExceeded:
                unsure.update(whose[place] for each in places.values() for place in each)
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
                    unsure.update(whose[place] for place in places[call])
        for call, place in alone:
            activation.left, activation.spare = granted.grants[place]
            try:
                if call(activation) is not True:
                    false.append(place)
            except Exception:
                unsure.add(whose[place])
        false.sort()
        unsure |= granted.unheld(group.members, false, activation)
        if unsure:
            false = [place for place in false if whose[place] not in unsure]
        return tuple(false), group.apart.union(unsure) if unsure else group.apart


class _History(NamedTuple):
    told: Told
    """Of each that has something to say, marked; not of those whose messages are computed."""
    old: Mapping[int, Sequence[int]]
    """By member: which of its validations are false of the old object."""


class _Pattern(Answers):
    """What is said when these validations are false, and no others."""

    __slots__ = ("computed", "histories")

    def __init__(
        self,
        numbers: tuple[int, ...],
        verdicts: Sequence[Verdict | None],
        computed: Sequence[tuple[int, int, tuple[int, ...]]],
    ) -> None:
        super().__init__(numbers, verdicts, complete=not computed)
        self.computed = computed
        """Where in the verdicts one is to come that has computed messages, of which member, and what of it is false."""
        self.histories: dict[tuple[_Place, ...], _History] = {}
        """By what is false of the old object."""


class _Said:
    """What members say of whom it is known which validations are false. It is remembered: what fails now often fails
    again."""

    __slots__ = ("_members", "_patterns", "_places", "_remembered")

    def __init__(self, members: Sequence[Evaluator], places: _Places) -> None:
        self._members = members
        self._places = places
        self._remembered = 0
        self._patterns: dict[tuple[tuple[_Place, ...], bool], _Pattern] = {}

    def answers(
        self, false: tuple[_Place, ...], unknown: frozenset[int], activation: Activation, *, texts: bool
    ) -> Answers:
        pattern = self._patterns.get((false, texts)) or self._pattern(false, texts)
        if not pattern.computed and not unknown:
            return pattern
        verdicts = list(pattern.verdicts)
        complete = not unknown
        for at, number, which in pattern.computed:
            try:
                verdicts[at] = self._members[number].computed(which, activation)
            except Exception:  # the member meets it again; `suppress` takes as long as some messages
                complete = False
        if not unknown:
            return Answers(pattern.numbers, verdicts, complete=complete, source=pattern)
        known = dict(zip(pattern.numbers, verdicts, strict=True)) | dict.fromkeys(unknown)
        numbers = tuple(sorted(known))
        return Answers(numbers, [known[number] for number in numbers], complete=False, source=pattern)

    def marked(self, answers: Answers, false: tuple[_Place, ...], unknown: frozenset[int]) -> Told:
        """`false` and `unknown` are the old object's."""
        pattern: _Pattern = answers if isinstance(answers, _Pattern) else answers.source
        if unknown or answers.numbers is not pattern.numbers:
            old = self._by_member(false)
            each = [
                None if verdict is None or number in unknown else _marked(verdict, old.get(number, ()))
                for number, verdict in zip(answers.numbers, answers.verdicts, strict=True)
            ]
            return Told(each, complete=answers.complete and not unknown)
        history = pattern.histories.get(false) or self._history(pattern, false)
        if not pattern.computed:
            return history.told
        found = list(history.told.each)
        for at, number, _ in pattern.computed:
            verdict = answers.verdicts[at]
            found[at] = None if verdict is None else _marked(verdict, history.old.get(number, ()))
        return Told(found, complete=answers.complete)

    def _history(self, pattern: _Pattern, false: tuple[_Place, ...]) -> _History:
        old = self._by_member(false)
        found = [
            None if verdict is None else _marked(verdict, old.get(number, ()))
            for number, verdict in zip(pattern.numbers, pattern.verdicts, strict=True)
        ]
        self._remember(1 + len(false))
        made = pattern.histories[false] = _History(Told(found, complete=not pattern.computed), old)
        return made

    def _by_member(self, false: Sequence[_Place]) -> Mapping[int, Sequence[int]]:
        """Which of each member's validations are false."""
        found: dict[int, list[int]] = {}
        for place in false:
            found.setdefault(self._places.whose[place], []).append(self._places.which[place])
        return found

    def _pattern(self, false: tuple[_Place, ...], texts: bool) -> _Pattern:
        failing = self._by_member(false)
        verdicts: list[Verdict | None] = []
        computed: list[tuple[int, int, tuple[int, ...]]] = []
        for at, (number, which) in enumerate(failing.items()):
            verdict = self._members[number].told(tuple(which), texts=texts)
            if verdict is None:
                computed.append((at, number, tuple(which)))
            verdicts.append(verdict)
        self._remember(1 + len(false))
        made = self._patterns[false, texts] = _Pattern(tuple(failing), verdicts, computed)
        return made

    def _remember(self, more: int) -> None:
        """Makes room."""
        self._remembered += more
        if self._remembered > _REMEMBERED:
            self._patterns.clear()
            self._remembered = more


def _marked(verdict: Verdict, old: Sequence[int]) -> Sequence[Finding]:
    """Its findings, when these validations are false of the old object, too."""
    return [each.before() if each.index in old else each for each in verdict.findings]


def _by_call(steps: Sequence[_Step]) -> Mapping[Call, Sequence[_Place]]:
    found: dict[Call, list[_Place]] = {}
    for call, place in steps:
        found.setdefault(call, []).append(place)
    return found
