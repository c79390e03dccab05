"""Many policies asked at once: most of them pass, and a pass needs no more than a yes.

A `Crowd` of policies finds out together which of its members a request passes for certain, and of others what their
verdict is; only who is left is asked by its own `run`. Order and outcome are those of asking each one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from webhook.view import View, together

if TYPE_CHECKING:
    from webhook.policy import Context, Policy, Verdict

Pair = tuple[int, "Policy"]
"""Position in the set, policy."""

Turn = tuple[int, "Policy", "Verdict | None"]
"""Position in the set, policy, and its verdict where that is known: else it is to be asked."""

Answer = tuple[int, "Verdict | None"]
"""A member's number, and its verdict where that is known."""


_PATTERNS = 256
"""Groups of members that were asked about old objects, and are remembered."""
_OFTEN = 16
"""Times after which a group gets a decoder of its own: making one takes as long as it saves in a few dozen reviews."""


class Sweep(Protocol):
    """Asks the members together. Raises nothing."""

    def __call__(self, context: Context, among: Sequence[int] | None = None, /) -> Sequence[Answer] | None:
        """The members, or those `among` them, that may not pass; all others match the request and pass. None: the
        request is no member's business."""


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


class _Members:
    """A crowd's members among the candidates."""

    __slots__ = ("_views", "mask", "pairs", "sweep")

    def __init__(self, crowd: Crowd, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)
        self.mask = sum(1 << position for position, _ in pairs)
        self.sweep = crowd.sweep([policy.run for _, policy in pairs])
        self._views: dict[tuple[int, ...], View | int] = {}
        """Members asked about old objects → what they have to see, or how often that was."""

    def view(self, numbers: tuple[int, ...], context: Context) -> View | None:
        """What these members have to see of an old object, together; None until it is worth knowing."""
        known = self._views.get(numbers, 0)
        if isinstance(known, View):
            return known
        if len(self._views) >= _PATTERNS:
            self._views.clear()
        self._views[numbers] = known + 1
        if known < _OFTEN:
            return None
        view = self._views[numbers] = together(self.pairs[number][1].view for number in numbers)
        context.uncounted(view.prepare)
        return view


class Turns:
    """One review: the candidates that have to be asked or have something to say, in set order."""

    __slots__ = ("_before", "_context", "_plan", "_undecided", "decided")

    def __init__(self, plan: Plan, context: Context) -> None:
        self.decided = 0
        """The bitmap of those that need not be asked: they pass, or come with their verdict."""
        self._plan = plan
        self._context = context
        self._undecided: list[tuple[_Members, Sequence[Answer]]] = []
        self._before: dict[int, Verdict | None] = {}
        """Position → what the policy says of the stored object, where that is known."""

    def __iter__(self) -> Iterator[Turn]:
        # What leads the set is asked before the crowds: a sweep that is slow must not cost the first their turn.
        yield from self._plan._lead
        rest = list(self._plan._rest)
        for members in self._plan._crowds:
            answers = members.sweep(self._context)
            if answers is None:
                continue
            pairs, decided = members.pairs, members.mask
            for number, verdict in answers:
                position, policy = pairs[number]
                if verdict is None:
                    decided ^= 1 << position
                rest.append((position, policy, verdict))
            self.decided |= decided
            if len(answers) > 1:
                self._undecided.append((members, answers))
        rest.sort(key=itemgetter(0))
        yield from rest

    def history(self) -> Mapping[int, Verdict | None]:
        """Position → what candidates that were asked together say of the object that an UPDATE replaces, if anything;
        without those that have to be asked by themselves (`before`)."""
        while self._undecided:
            members, answers = self._undecided.pop()
            with contextlib.suppress(Exception):  # whoever is asked by itself meets it again
                self._ask_before(members, tuple([number for number, _ in answers]))
        return self._before

    def before(self, policy: Policy) -> Verdict | None:
        """What a candidate says of the object that an UPDATE replaces, if anything. Raises what `Policy.run` does."""
        context = self._context.before(self._plan.view)
        if context is None:
            return None
        context.check_deadline()
        return policy.run(context)

    def _view(self, members: _Members, numbers: tuple[int, ...]) -> View:
        """What of the old object is decoded for these members: what they look at, unless more may be wanted soon."""
        narrow = None if self._plan.alone else members.view(numbers, self._context)
        return narrow or self._plan.view

    def _ask_before(self, members: _Members, numbers: tuple[int, ...]) -> None:
        context = self._context.before(self._view(members, numbers))
        answers = None if context is None else members.sweep(context, numbers)
        pairs, before = members.pairs, self._before
        for number in numbers:
            before[pairs[number][0]] = None
        for number, verdict in answers or ():
            if verdict is None:
                del before[pairs[number][0]]
            else:
                before[pairs[number][0]] = verdict
