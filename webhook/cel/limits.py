"""How many iterations the fast form may run before its cost is no longer known to stay below the server's limits.

From the bounds of expressions and variables (`bound.py`) at one size of the inputs. Knows no policy: a `Demand` says
which expressions share a budget.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import msgspec

from webhook.cel.activation import Grant, grant
from webhook.cel.bound import RUNS, Bound, at_most
from webhook.cel.poly import at, number, put
from webhook.cel.share import Shared
from webhook.cel.tariff import LIMIT
from webhook.cel.worst import VALUE

SIZES: Final = tuple(512 * factor << power for power in range(12) for factor in (2, 3))
"""Sizes of inputs, in bytes, for which grants are made: an input counts as the next larger one."""
BEYOND: Final = len(SIZES)
"""The class of inputs that are larger than all of these: nothing is granted."""

_ENDLESS: Final = 1 << 60
_NEVER: Final = float("inf")
_WEIGHTS: Final = tuple(1 << power for power in range(22, 9, -1))
"""Weights that variables' values may be assumed to have."""
_CHOICES: Final = (_ENDLESS, *(1 << power for power in range(22, 2, -1)))
"""How many iterations may be granted to an expression."""


def size_class(size: int) -> int:
    return bisect_left(SIZES, size)


class VariableLimit(msgspec.Struct, frozen=True):
    """One variable at one size."""

    grant: Grant
    granted: float
    """What it costs at most if the fast form has computed it or found its error."""
    succeeds: float
    """What it costs at most if it has a value, and so have all the variables that it may ask for."""
    whole: float
    """What it costs at most otherwise: its own limit ends it."""
    weight: float
    """Of its value."""


class Demand(msgspec.Struct, frozen=True):
    """Expressions with one budget."""

    budget: int
    run: tuple[int, ...]
    """Those that the fast form evaluates whenever the server does, by their place in the unit."""
    maybe: tuple[int, ...] = ()
    """Those that the server evaluates although nobody asks for the result."""


class VariableLimits(msgspec.Struct, frozen=True):
    """All variables of a `Shared` at one size, by their place."""

    grants: tuple[Grant, ...]
    limits: tuple[VariableLimit | None, ...]
    """None: no telling what it costs."""


def variable_limits(shared: Shared, size: int) -> VariableLimits:
    """At a size class; made when first asked for."""
    found: VariableLimits | None = shared.limits.get(size)
    if found is None or len(found.grants) != shared.size:
        limits = tuple(
            None if size == BEYOND or slot.bound is None else _variable(slot.bound, SIZES[size])
            for slot in shared.by_number
        )
        nothing = grant(0)
        found = VariableLimits(tuple(nothing if each is None else each.grant for each in limits), limits)
        shared.limits[size] = found
    return found


def _variable(bound: Bound, size: int) -> VariableLimit:
    runs = int(at(RUNS, size))
    while runs and at_most(bound.succeeds, size, runs) > LIMIT:
        runs //= 2
    return VariableLimit(
        grant=grant(runs),
        granted=at_most(bound.granted, size, runs),
        succeeds=at_most(bound.succeeds, size, runs),
        whole=min(at(bound.whole, size), LIMIT + at(bound.step, size)),
        weight=at(bound.made.weight, size),
    )


class Granted(msgspec.Struct, frozen=True):
    """What the fast form of a policy may do at one size.

    Only what it evaluates whenever the server does is granted iterations; whatever else it is asked for was reckoned
    with in full.
    """

    grants: tuple[Grant | None, ...]
    """Of each `Demand.run`, in order; None: it has to be counted, as has what leaves for want of iterations."""
    spare: int = 0
    """What those that are counted may cost together."""
    fair: bool = False
    """Whether it holds only if no validation has an error."""
    ask: tuple[int, ...] = ()
    """Variables, by their place, that must have a value: those that nobody needed have to be computed."""
    weigh: tuple[int, ...] = ()
    """Those among them whose value must not weigh more than `weight`."""
    weight: int = 0


class _Costs(Protocol):
    """How costs are read from bounds."""

    def run(self, bound: Bound, iterations: int) -> float:
        """Of an expression that the fast form evaluates with so many iterations."""

    def maybe(self, bound: Bound) -> float:
        """Of one that it may leave out."""

    def variable(self, limit: VariableLimit, *, sure: bool) -> float:
        """`sure`: the fast form has computed it if the server has."""

    def own(self, limit: VariableLimit) -> float:
        """Of a variable that the fast form has computed: below its own limit, or the server says something else."""


class _Strict:
    """Whatever happens."""

    def __init__(self, size: int) -> None:
        self._size = size

    def run(self, bound: Bound, iterations: int) -> float:
        whole = at(bound.whole, self._size)
        if iterations == _ENDLESS:
            return whole
        return min(whole, at_most(bound.granted, self._size, iterations + bound.free))

    def maybe(self, bound: Bound) -> float:
        return at(bound.whole, self._size)

    def variable(self, limit: VariableLimit, *, sure: bool) -> float:
        return limit.granted if sure else limit.whole

    def own(self, limit: VariableLimit) -> float:
        return limit.granted


class _Fair:
    """If there are no errors, all variables are computed, and their values are no heavier than `weight`."""

    def __init__(self, size: int, weight: int) -> None:
        self._size = size
        self._weight = number(weight)

    def run(self, bound: Bound, iterations: int) -> float:
        return at_most(bound.succeeds, self._size, iterations + bound.free)

    def maybe(self, bound: Bound) -> float:
        return at(put(bound.valued, VALUE, self._weight), self._size)

    def variable(self, limit: VariableLimit, *, sure: bool) -> float:
        return limit.succeeds

    def own(self, limit: VariableLimit) -> float:
        return limit.succeeds


def granted(bounds: Sequence[Bound | None], demands: Sequence[Demand], shared: Shared, size: int) -> Granted | None:
    """What the expressions may use together at a size class; None: the metered form is to evaluate them."""
    optional = [bounds[each] for demand in demands for each in demand.maybe]
    if size == BEYOND or None in optional:
        return None
    variables: dict[int, bool] = {}
    for bound in bounds:
        if bound is not None:
            _ask(bound, shared, variables, sure=True)
    limits = variable_limits(shared, size).limits
    if any(limits[place] is None for place in variables):
        return None
    found = _iterations(bounds, demands, shared, size, _Strict(SIZES[size]))
    if found is not None:
        return Granted(*found)
    for weight in _WEIGHTS:
        found = _iterations(bounds, demands, shared, size, _Fair(SIZES[size], weight))
        if found is not None:
            built = {place for bound in optional if bound is not None for place in bound.uses}
            heavy = tuple(sorted(place for place in built if _limit(limits, place).weight > weight))
            return Granted(*found, fair=True, ask=tuple(sorted(variables)), weigh=heavy, weight=weight)
    return None


def _iterations(
    bounds: Sequence[Bound | None], demands: Sequence[Demand], shared: Shared, size: int, costs: _Costs
) -> tuple[tuple[Grant | None, ...], int] | None:
    """Iterations that keep every expression within its limit and every demand within its budget, and what is left for
    expressions that get none."""
    limits = variable_limits(shared, size).limits
    found: list[Grant | None] = []
    spare = _ENDLESS
    for demand in demands:
        run = [bounds[each] for each in demand.run]
        maybe = [bound for each in demand.maybe if (bound := bounds[each]) is not None]
        optional = [costs.maybe(bound) for bound in maybe]
        left = demand.budget - sum(optional)
        for group, runs in ((run, True), (maybe, False)):
            asked: dict[int, bool] = {}
            for bound in group:
                if bound is not None:
                    _ask(bound, shared, asked, sure=runs)
            for place, sure in asked.items():
                limit = _limit(limits, place)
                if costs.own(limit) > LIMIT:
                    return None
                left -= costs.variable(limit, sure=sure)
        if left < 0 or any(cost > LIMIT for cost in optional):
            return None
        if run:
            shares, left = _shares(run, left, costs)
            if 2 * shares.count(None) > len(shares) or left < 0:
                return None
            found.extend(None if share is None else grant(share) for share in shares)
            spare = min(spare, int(left))
    return tuple(found), spare


def _shares(bounds: Sequence[Bound | None], budget: float, costs: _Costs) -> tuple[list[int | None], float]:
    """Iterations of each expression, and what is left of a budget, negative if it is not enough. As many as its own
    limit allows, None if that is too few; where that is too much for the budget, first as many for all of them as fit,
    then more for those that cost little."""

    @cache
    def price(at: int, choice: int) -> float:
        bound = bounds[at]
        return _NEVER if bound is None else costs.run(bound, _CHOICES[choice])

    widest = {
        each: choice
        for each in range(len(bounds))
        if (choice := next((at for at in range(len(_CHOICES)) if price(each, at) <= LIMIT), None)) is not None
    }
    found: dict[int, int] = {}
    left = budget
    narrow = 0
    for narrow in range(len(_CHOICES)):
        found = {each: max(narrow, first) for each, first in widest.items()}
        left = budget - sum(price(*each) for each in found.items())
        if left >= 0:
            break
    for wide in reversed(range(narrow)):
        for each in sorted(found, key=lambda each: price(each, found[each])):
            wanted = max(wide, widest[each])
            more = price(each, wanted) - price(each, found[each])
            if more <= left:
                left -= more
                found[each] = wanted
    return [_CHOICES[found[each]] if each in found else None for each in range(len(bounds))], left


def _limit(limits: Sequence[VariableLimit | None], place: int) -> VariableLimit:
    found = limits[place]
    assert found is not None  # noqa: S101 - looked at before
    return found


def _ask(bound: Bound, shared: Shared, asked: dict[int, bool], *, sure: bool) -> None:
    """Adds the variables that an expression asks for, with theirs, and whether the fast form computes each of them
    whenever the server does."""
    for place, skipped in bound.uses.items():
        here = sure and not skipped
        known = asked.get(place)
        if known is None or (known and not here):
            asked[place] = here
            inner = shared.by_number[place].bound
            if inner is not None:
                _ask(inner, shared, asked, sure=here)
