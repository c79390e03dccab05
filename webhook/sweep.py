"""Many policies asked at once: most of them pass, and a pass needs no more than a yes.

A `Crowd` of policies finds out together which of its members a request passes for certain; only the others are asked
by their own `run`, which alone says what is wrong. Order and outcome are those of asking each one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from webhook.policy import Context, Policy

Pair = tuple[int, "Policy"]
"""Position in the set, policy."""


class Sweep(Protocol):
    """Asks the members together. Raises nothing."""

    def __call__(self, context: Context, among: Sequence[int] | None = None, /) -> Sequence[int] | None:
        """Which of the members, or of those `among` them, have to be asked one by one; all others match the request and
        pass. None: the request is no member's business."""


class Crowd(Protocol, Hashable):
    """Policies with equal crowds can be asked together."""

    def sweep(self, runs: Sequence[Callable[[Any], Any]], /) -> Sweep:
        """Of the members with these `Policy.run`; numbers in its answers count from the first of them."""


class Plan:
    """How the candidates of a request are asked. Immutable; for all requests with these candidates."""

    __slots__ = ("_crowds", "_lead", "_rest", "pairs")

    def __init__(self, pairs: Sequence[Pair]) -> None:
        """`pairs` are in set order."""
        self.pairs = tuple(pairs)
        crowds: dict[Crowd, list[Pair]] = {}
        for pair in pairs:
            if pair[1].crowd is not None:
                crowds.setdefault(pair[1].crowd, []).append(pair)
        self._crowds = tuple(_Members(crowd, members) for crowd, members in crowds.items())
        swept = {position for members in crowds.values() for position, _ in members}
        first = min(swept, default=len(self.pairs) and self.pairs[-1][0] + 1)
        self._lead = tuple(pair for pair in pairs if pair[0] < first)
        self._rest = tuple(pair for pair in pairs if pair[0] > first and pair[0] not in swept)

    def turns(self, context: Context) -> Turns:
        return Turns(self, context)


class _Members:
    """A crowd's members among the candidates."""

    __slots__ = ("mask", "pairs", "sweep")

    def __init__(self, crowd: Crowd, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)
        self.mask = sum(1 << position for position, _ in pairs)
        self.sweep = crowd.sweep([policy.run for _, policy in pairs])


class Turns:
    """One review: the candidates to be asked one by one, in set order. `passed` is the bitmap of those that are not."""

    __slots__ = ("_before", "_context", "_plan", "_undecided", "passed")

    def __init__(self, plan: Plan, context: Context) -> None:
        self.passed = 0
        self._plan = plan
        self._context = context
        self._undecided: list[tuple[_Members, Sequence[int]]] = []
        self._before: Context | None = None

    def __iter__(self) -> Iterator[Pair]:
        # What leads the set is asked before the crowds: a sweep that is slow must not cost the first their turn.
        yield from self._plan._lead
        rest = list(self._plan._rest)
        for members in self._plan._crowds:
            left = members.sweep(self._context)
            if left is None:
                continue
            passed = members.mask
            for number in left:
                pair = members.pairs[number]
                passed ^= 1 << pair[0]
                rest.append(pair)
            self.passed |= passed
            if len(left) > 1:
                self._undecided.append((members, left))
        rest.sort(key=itemgetter(0))
        yield from rest

    def before(self) -> Context | None:
        """`Context.before`, on which the undecided have been asked together: each `run` remembers its answer."""
        if self._before is None:
            self._before = self._context.before()
        while self._undecided and self._before is not None:
            members, left = self._undecided.pop()
            members.sweep(self._before, left)
        return self._before
