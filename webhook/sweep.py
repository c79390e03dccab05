"""Many policies asked at once: most of them pass, and a pass needs no more than a yes.

A `Crowd` of policies finds out together which of its members a request passes for certain, and of others what their
verdict is; only who is left is asked by its own `run`. Order and outcome are those of asking each one.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from webhook.view import View, together

if TYPE_CHECKING:
    from webhook.policy import Context, Finding, Policy, Verdict

Pair = tuple[int, "Policy"]
"""Position in the set, policy."""

Found = tuple[int, "Sequence[Finding]"]
"""Position in the set, findings."""

_GROUPS = 256
"""Groups of members that had something to say together, and are remembered."""
_OFTEN = 16
"""Times after which a group gets a decoder of its own: making one takes as long as it saves in a few dozen reviews."""
_VIEWS = 32
"""Groups that have one: 50 KB each."""


class Told:
    """What several say of one request. Immutable."""

    __slots__ = ("all", "each")

    def __init__(self, each: Sequence[Sequence[Finding] | None], *, complete: bool) -> None:
        self.each = each
        """The findings of each; None: not known."""
        self.all = tuple(itertools.chain.from_iterable(each)) if complete else None  # type: ignore[arg-type]
        """The findings of all of them; None if those of some are not known."""


class Answers:
    """What those members say that may not pass; all others match the request and pass. Immutable."""

    __slots__ = ("_told", "complete", "numbers", "source", "verdicts")

    def __init__(
        self, numbers: tuple[int, ...], verdicts: Sequence[Verdict | None], *, complete: bool, source: Any = None
    ) -> None:
        self.numbers = numbers
        """Who they are."""
        self.verdicts = verdicts
        """Of each; None: it is to be asked by itself."""
        self.complete = complete
        """Whether all verdicts are known."""
        self.source = source
        """What the crowd knows about them besides."""
        self._told: Told | None = None

    @property
    def told(self) -> Told:
        """Nothing of who is to be asked."""
        if self._told is None:
            self._told = Told([() if verdict is None else verdict.findings for verdict in self.verdicts], complete=True)
        return self._told


class Sweep(Protocol):
    """Asks the members together."""

    def __call__(self, context: Context, /) -> Answers | None:
        """None: the request is no member's business. Raises nothing."""

    def before(self, answers: Answers, context: Context, /) -> Told:
        """The answers, marked as pre-existing where the object that an UPDATE replaces (`context` is about that one)
        violates the same. Raises what is wrong with the object."""


class Crowd(Protocol, Hashable):
    """Policies with equal crowds can be asked together."""

    def sweep(self, runs: Sequence[Callable[[Any], Any]], /) -> Sweep:
        """Of the members with these `Policy.run`; numbers in its answers count from the first of them."""


class Plan:
    """How the candidates of a request are asked. Immutable; for all requests with these candidates."""

    __slots__ = ("_crowds", "_lead", "_rest", "alone", "pairs", "view")

    def __init__(self, pairs: Sequence[Pair]) -> None:
        """`pairs` are in set order."""
        self.pairs = tuple(pairs)
        self.view = together(policy.view for _, policy in pairs)
        """What they have to see of the objects, together."""
        self.view.prepare()
        crowds: dict[Crowd, list[Pair]] = {}
        for pair in pairs:
            if pair[1].crowd is not None:
                crowds.setdefault(pair[1].crowd, []).append(pair)
        self._crowds = tuple(_Members(crowd, members) for crowd, members in crowds.items())
        swept = {position for members in crowds.values() for position, _ in members}
        first = min(swept, default=len(self.pairs) and self.pairs[-1][0] + 1)
        single = [pair for pair in pairs if pair[0] not in swept]
        self._lead = tuple(pair for pair in single if pair[0] < first)
        self._rest = tuple(pair for pair in single if pair[0] > first)
        self.alone = bool(single)
        """Whether there are candidates that are asked by themselves."""

    def turns(self, context: Context) -> Turns:
        return Turns(self, context)


class _Group:
    """Some of the members of a crowd."""

    __slots__ = ("policies", "positions", "times", "view")

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.positions = tuple([position for position, _ in pairs])
        self.policies = tuple([policy for _, policy in pairs])
        self.times = 0
        """They were asked about an old object, while they had no view of their own."""
        self.view: View | None = None
        """What they have to see of one."""


class _Members:
    """A crowd's members among the candidates."""

    __slots__ = ("_groups", "_views", "mask", "pairs", "sweep")

    def __init__(self, crowd: Crowd, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)
        self.mask = sum(1 << position for position, _ in pairs)
        self.sweep = crowd.sweep([policy.run for _, policy in pairs])
        self._groups: dict[tuple[int, ...], _Group] = {}
        self._views = 0

    def group(self, numbers: tuple[int, ...]) -> _Group:
        found = self._groups.get(numbers)
        if found is None:
            if len(self._groups) >= _GROUPS:
                self._groups.clear()
                self._views = 0
            found = self._groups[numbers] = _Group([self.pairs[number] for number in numbers])
        return found

    def view(self, group: _Group, context: Context) -> View | None:
        """What the group has to see of an old object; None while that is not worth a decoder."""
        if group.view is None and self._views < _VIEWS:
            group.times += 1
            if group.times > _OFTEN:
                self._views += 1
                group.view = together(policy.view for policy in group.policies)
                context.uncounted(group.view.prepare)
        return group.view


class Turns:
    """One review: the candidates that have to be asked by themselves, in set order; then what all have found."""

    __slots__ = ("_context", "_plan", "_told", "_update", "decided")

    def __init__(self, plan: Plan, context: Context) -> None:
        self.decided = 0
        """The bitmap of those that need not be asked: their verdict is known."""
        self._plan = plan
        self._context = context
        self._update = context.request.operation == "UPDATE"
        self._told: list[tuple[_Members, _Group, Answers]] = []

    def __iter__(self) -> Iterator[Pair]:
        # What leads the set is asked before the crowds: a sweep that is slow must not cost the first their turn.
        return self._led() if self._plan._lead else iter(self._after_crowds())

    def _led(self) -> Iterator[Pair]:
        yield from self._plan._lead
        yield from self._after_crowds()

    def _after_crowds(self) -> Sequence[Pair]:
        """Asks the crowds; who is left then."""
        rest: Sequence[Pair] = self._plan._rest
        for members in self._plan._crowds:
            answers = members.sweep(self._context)
            if answers is None:
                continue
            self.decided |= members.mask
            if not answers.numbers:
                continue
            group = members.group(answers.numbers)
            self._told.append((members, group, answers))
            if not answers.complete:
                unknown = [
                    (position, policy)
                    for position, policy, verdict in zip(group.positions, group.policies, answers.verdicts, strict=True)
                    if verdict is None
                ]
                self.decided ^= sum(1 << position for position, _ in unknown)
                rest = sorted([*rest, *unknown], key=itemgetter(0))
        return rest

    def findings(self, asked: Sequence[Found]) -> Sequence[Finding]:
        """Everybody's, in set order, after all turns. `asked` are those of who was asked, marked."""
        told = [(group, self._marked(members, group, answers)) for members, group, answers in self._told]
        if len(told) == 1 and not asked and told[0][1].all is not None:
            return told[0][1].all
        found = [*asked]
        for group, some in told:
            found += [(at, findings) for at, findings in zip(group.positions, some.each, strict=True) if findings]
        found.sort(key=itemgetter(0))
        return list(itertools.chain.from_iterable(map(itemgetter(1), found)))

    def _marked(self, members: _Members, group: _Group, answers: Answers) -> Told:
        """What was answered, marked; all of it is known."""
        if not self._update:
            return answers.told
        told: Told | None = None
        with contextlib.suppress(Exception):  # each is asked by itself, and meets it again
            told = self._before(members, group, answers)
        if told is not None and told.all is not None:
            return told
        each = [None] * len(answers.numbers) if told is None else told.each
        return Told(
            [
                () if verdict is None else self.marked(policy, verdict) if some is None else some
                for policy, verdict, some in zip(group.policies, answers.verdicts, each, strict=True)
            ],
            complete=True,
        )

    def _before(self, members: _Members, group: _Group, answers: Answers) -> Told | None:
        # What is asked by itself may want more of the old object, or has asked for it.
        narrow = None if self._plan.alone else members.view(group, self._context)
        context = self._context.before(narrow or self._plan.view)
        return None if context is None else members.sweep.before(answers, context)

    def marked(self, policy: Policy, verdict: Verdict) -> Sequence[Finding]:
        """A candidate's findings, marked as pre-existing where the object that an UPDATE replaces violates the same in
        at least the same parts."""
        if not self._update:
            return verdict.findings
        try:
            context = self._context.before(self._plan.view)
            if context is None:
                return verdict.findings
            context.check_deadline()
            before = policy.run(context)
        except Exception:  # the question is only how to sort: without an answer the finding counts as new
            return verdict.findings
        if before is None or not before.findings:
            return verdict.findings
        known = {(each.binding, each.index): each.keys for each in before.findings}
        return [_marked(finding, known.get((finding.binding, finding.index))) for finding in verdict.findings]


def _marked(finding: Finding, old_keys: tuple[str, ...] | None) -> Finding:
    if old_keys is None or (finding.keys and not set(finding.keys).issubset(old_keys)):
        return finding
    return finding.before()
