"""Many policies asked at once: most of them pass, and a pass needs no more than a yes.

A `Crowd` of policies finds out together which of its members a request passes for certain, and of others what their
verdict is; only who is left is asked by its own `run`. Order and outcome are those of asking each one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from webhook.view import View, together

if TYPE_CHECKING:
    from webhook.policy import Context, Finding, Policy, Verdict

Pair = tuple[int, "Policy"]
"""Position in the set, policy."""

Turn = tuple[int, "Policy", "Verdict | None"]
"""Position in the set, policy, and its verdict where that is known: else it is to be asked."""

_GROUPS = 256
"""Groups of members that had something to say together, and are remembered."""
_OFTEN = 16
"""Times after which a group gets a decoder of its own: making one takes as long as it saves in a few dozen reviews."""
_VIEWS = 32
"""Groups that have one: 50 KB each."""


class Answers(NamedTuple):
    """What those members say that may not pass; all others match the request and pass."""

    numbers: tuple[int, ...]
    """Who they are."""
    verdicts: Sequence[Verdict | None]
    """Of each; None: it is to be asked by itself."""
    told: Any = None
    """What the crowd knows about them besides."""


class Sweep(Protocol):
    """Asks the members together."""

    def __call__(self, context: Context, /) -> Answers | None:
        """None: the request is no member's business. Raises nothing."""

    def before(self, answers: Answers, context: Context, /) -> Sequence[Sequence[Finding] | None]:
        """The findings of each answer, marked as pre-existing where the object that an UPDATE replaces (`context` is
        about that one) violates the same; None where that is not known. Raises what is wrong with the object."""


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
        single: list[Turn] = [(*pair, None) for pair in pairs if pair[0] not in swept]
        self._lead = tuple(turn for turn in single if turn[0] < first)
        self._rest = tuple(turn for turn in single if turn[0] > first)
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
    """One review: the candidates that have to be asked or have something to say, in set order."""

    __slots__ = ("_context", "_marked", "_plan", "_undecided", "decided")

    def __init__(self, plan: Plan, context: Context) -> None:
        self.decided = 0
        """The bitmap of those that need not be asked: they pass, or come with their verdict."""
        self._plan = plan
        self._context = context
        self._undecided: list[tuple[_Members, _Group, Answers]] = []
        self._marked: dict[int, Sequence[Finding] | None] = {}
        """Position → findings, marked, where that is known."""

    def __iter__(self) -> Iterator[Turn]:
        # What leads the set is asked before the crowds: a sweep that is slow must not cost the first their turn.
        yield from self._plan._lead
        rest = list(self._plan._rest)
        for members in self._plan._crowds:
            answers = members.sweep(self._context)
            if answers is None:
                continue
            group = members.group(answers.numbers)
            self.decided |= members.mask
            if None in answers.verdicts:
                for position, verdict in zip(group.positions, answers.verdicts, strict=True):
                    self.decided ^= (verdict is None) << position
            rest += zip(group.positions, group.policies, answers.verdicts, strict=True)
            if answers.numbers:
                self._undecided.append((members, group, answers))
        rest.sort(key=itemgetter(0))
        yield from rest

    def findings(self, position: int, policy: Policy, verdict: Verdict) -> Sequence[Finding]:
        """A candidate's, marked as pre-existing where the object that an UPDATE replaces violates the same in at least
        the same parts."""
        if self._context.request.operation != "UPDATE":
            return verdict.findings
        while self._undecided:
            with contextlib.suppress(Exception):  # whoever is asked by itself meets it again
                self._ask_before(*self._undecided.pop())
        found = self._marked.get(position)
        return self._alone(policy, verdict) if found is None else found

    def _ask_before(self, members: _Members, group: _Group, answers: Answers) -> None:
        # What is asked by itself may want more of the old object soon.
        narrow = None if self._plan.alone else members.view(group, self._context)
        context = self._context.before(narrow or self._plan.view)
        if context is not None:
            self._marked.update(zip(group.positions, members.sweep.before(answers, context), strict=True))

    def _alone(self, policy: Policy, verdict: Verdict) -> Sequence[Finding]:
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
