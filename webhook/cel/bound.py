"""What an expression may cost at most, as a function of the size of its inputs.

The fast form does not count, so somebody must know beforehand that it stays below the server's limits. Two bounds:

* `whole`: whatever runs. Elements of a list weigh no more than the list, so a loop's cost per unit of weight adds up to
  a multiple of the list's weight, however loops are nested; what is paid per element is paid at most once for each two
  bytes.
* `granted`: as long as the fast form has not run more iterations than it was granted (`activation.grant`). What is paid
  per element is paid that often, and what is made per element is made that often. Loops that the fast form may skip
  because of an error, where the server goes on and charges, count as in `whole`.

A test compares each metered cost with its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from webhook.cel.ceiling import Extent
from webhook.cel.check import Checked
from webhook.cel.facts import Facts, children
from webhook.cel.poly import (
    INPUT,
    ZERO,
    Monomial,
    Poly,
    Unbounded,
    at,
    larger,
    number,
    plus,
    scaled,
    symbol,
    times,
)
from webhook.cel.tree import Fold, Node
from webhook.cel.worst import Walker, counts


class Bound(msgspec.Struct, frozen=True):
    """Of one expression or variable, without the variables that it asks for."""

    whole: Poly
    step: Poly
    """What one call of it may cost: how far beyond a limit it is found to be exceeded."""
    valued: Poly
    """`whole`, by the weight of the variables' values (`VALUE`)."""
    granted: tuple[Poly, ...]
    """The parts that are paid once, with the square root of the iterations, once an iteration, and so on by halves."""
    succeeds: tuple[Poly, ...]
    """The same, if it gives a value, and all variables that it asks for do."""
    uses: Mapping[int, bool]
    """The variables, by their place in the memory, and whether the fast form may fail before it asks for one that the
    server still evaluates."""
    extent: Extent
    """Of the value, whatever runs."""
    made: Extent
    """Of the value, if the fast form made it within `RUNS`."""
    free: int = 0
    """Iterations that the fast form may run beside those that it is granted."""


Variables = Mapping[str, tuple[int, Bound | None]]
"""Place and bound of each variable."""

RUNS: Final = plus(number(128), scaled(symbol(INPUT), 1 / 32))
"""Iterations that a variable may be granted at most."""


def bound(
    checked: Checked, facts: dict[int, Facts], variables: Variables, *, always: bool | None = None, uncounted: int = 0
) -> Bound | None:
    """None where the size of the inputs sets no bound.

    `always`: whether the fast form evaluates it whenever the server does; if that is known, the bounds for the other
    case are `whole`, which costs less to find out. `uncounted`: iterations of one loop that nobody counts.
    """
    try:
        every = Walker(checked, facts, variables)
        whole, found = every.visit(checked.tree)
        valued = whole
        if every.uses and not always:
            valued, _ = Walker(checked, facts, variables, valued=True).visit(checked.tree)
        if always is False or (not every.uses and not every.loops):
            return Bound(whole, every.step, valued, (whole,), (whole,), every.uses, found, found)
        walker = Walker(checked, facts, variables, granted=True)
        cost, made = walker.visit(checked.tree)
        surely, _ = Walker(checked, facts, variables, granted=True, succeeds=True).visit(checked.tree)
    except (Unbounded, RecursionError):
        return None
    made = Extent(_run(made.weight), _run(made.count), None if made.most is None else _run(made.most))
    return Bound(
        whole=whole,
        step=every.step,
        valued=valued,
        granted=_by_iterations(cost),
        succeeds=_by_iterations(surely),
        uses=walker.uses,
        extent=found,
        made=made,
        free=uncounted * _loops(checked.tree),
    )


def _loops(node: Node) -> int:
    return isinstance(node, Fold) + sum(map(_loops, children(node)))


def at_most(parts: Sequence[Poly], size: int, iterations: int) -> float:
    """The cost at a size of the inputs, with so many iterations granted."""
    return sum(at(part, size) * math.pow(iterations, halves / 2) for halves, part in enumerate(parts))


def _by_iterations(cost: Poly) -> tuple[Poly, ...]:
    """The terms by the power, in halves, of the counts of iterations that they have. All loops share what is granted,
    so of the terms that have one count the largest counts for all."""
    parts: dict[int, Poly] = {0: ZERO}
    single: dict[int, dict[Monomial, float]] = {}
    for monomial, factor in cost.items():
        loops = counts(monomial)
        rest: Poly = {tuple(name for name in monomial if not name % 2): factor}
        if len(loops) == 2 and loops[0] == loops[1]:
            single[loops[0]] = dict(plus(single.get(loops[0], ZERO), rest))
        else:
            parts[len(loops)] = plus(parts.get(len(loops), ZERO), rest)
    most = ZERO
    for each in single.values():
        most = larger(most, each)
    parts[2] = plus(parts.get(2, ZERO), most)
    return tuple(parts.get(halves, ZERO) for halves in range(max(parts) + 1))


def _run(poly: Poly) -> Poly:
    """With as many iterations as a variable may be granted."""
    total, runs = ZERO, number(1)
    for halves, part in enumerate(_by_iterations(poly)):
        if halves % 2:
            runs = times(runs, RUNS)
        total = plus(total, times(part, runs))
    return total
