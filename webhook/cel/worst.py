"""What each node of an expression costs at most, and how large its value may be at most: `bound.py` walks an expression
once for each thing that may be assumed.

Follows `meter.py` step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from webhook.cel import ceiling
from webhook.cel.activation import SPENT
from webhook.cel.ceiling import INPUTS, SCALAR, SCALARS, Argument, Extent, either, extent
from webhook.cel.check import LOCAL, Checked
from webhook.cel.env import TYPES, VARIABLES
from webhook.cel.facts import NOT_CONSTANT, Facts, operands
from webhook.cel.poly import (
    INPUT,
    ZERO,
    Monomial,
    Poly,
    Unbounded,
    larger,
    number,
    plus,
    put,
    root,
    scaled,
    smaller,
    symbol,
    times,
)
from webhook.cel.tariff import LIST, MAP, MESSAGE, cost_of, steep
from webhook.cel.tree import (
    Bind,
    Call,
    Conditional,
    Fold,
    Has,
    Ident,
    Index,
    ListLiteral,
    Logic,
    MapLiteral,
    Message,
    Node,
    Select,
    SortBy,
)
from webhook.cel.types import NULL

if TYPE_CHECKING:
    from webhook.cel.bound import Variables

VALUE: Final = -2
"""The symbol of the weight that variables' values are known to have at most."""
_HEAD: Final = 20
"""Units that a macro charges for each element, and more: the loop's own steps and what it makes of the result."""


def counts(monomial: Monomial) -> tuple[int, ...]:
    """The symbols in it that are counts of iterations."""
    return tuple(name for name in monomial if name % 2)


class Walker:
    """Gives cost and extent of each node. A loop with the number n has two symbols: 2n is the weight of its element,
    2n + 1 how many of its iterations run. Inner loops have higher numbers."""

    def __init__(
        self,
        checked: Checked,
        facts: dict[int, Facts],
        variables: Variables,
        *,
        granted: bool = False,
        succeeds: bool = False,
        valued: bool = False,
    ) -> None:
        self.checked = checked
        self.facts = facts
        self.variables = variables
        self.granted = granted
        """Whether iterations are counted, here and now."""
        self.succeeds = succeeds
        """Whether no error is to be thought of, but for those that an operator absorbs."""
        self.valued = valued
        self.absorbing = 0
        """How many operators around this node may absorb its error."""
        self.scope: dict[str, Extent] = {}
        self.ranges: dict[int, Poly] = {}
        """The symbol of a loop's element → the weight of what the loop runs over."""
        self.uses: dict[int, bool] = {}
        self.step = number(1)
        self.loops = 0
        self.seen: dict[tuple[int, bool], tuple[Poly, Extent]] = {}

    def visit(self, node: Node) -> tuple[Poly, Extent]:
        key = (node.id, self.granted)
        found = self.seen.get(key)
        if found is None:
            found = self.seen[key] = self.fresh(node)
        return found

    def fresh(self, node: Node) -> tuple[Poly, Extent]:
        constant = self.facts[node.id].constant
        if constant is not NOT_CONSTANT:
            return ZERO, ceiling.of_constant(constant)
        name = self.checked.names.get(node.id)
        if name == LOCAL:
            assert isinstance(node, Ident)  # noqa: S101 - only plain names are local
            return number(1), self.scope[node.name]
        if name is not None:
            return number(1), SCALAR if name in TYPES else INPUTS
        visit = _VISITS.get(node.__class__)
        if visit is None:
            raise Unbounded
        cost, found = visit(self, node)
        kind = self.checked.type(node).kind
        if kind in SCALARS:
            found = extent(number(SCALARS[kind]), most=found.most)
        return cost, found

    def anyway(self, node: Node) -> tuple[Poly, Extent]:
        """Whether or not the fast form comes to this node."""
        before, self.granted = self.granted, False
        found = self.visit(node)
        self.granted = before
        return found

    def skippable(self, node: Node) -> tuple[Poly, Extent]:
        """A node that the fast form may not come to, though the server does. But if there is a value, it came to it."""
        if not self.granted or (self.succeeds and not self.absorbing):
            return self.visit(node)
        return self.anyway(node)[0], self.visit(node)[1]

    # -- attributes

    def variable(self, name: str) -> tuple[Poly, Extent]:
        place, found = self.variables[name]
        if found is None:
            raise Unbounded
        self.uses[place] = self.uses.get(place, False) or not self.granted
        if self.valued:
            return number(2), extent(symbol(VALUE))
        return number(2), found.made if self.granted or self.succeeds else found.extent

    def select(self, node: Select) -> tuple[Poly, Extent]:
        if self.checked.type(node.operand) == VARIABLES:
            return self.variable(node.field)
        cost, found = self.visit(node.operand)
        return plus(cost, number(2)), extent(found.weight)

    def has(self, node: Has) -> tuple[Poly, Extent]:
        if self.checked.type(node.operand) == VARIABLES:
            return self.variable(node.field)[0], SCALAR
        cost, _ = self.visit(node.operand)
        return plus(cost, number(2)), SCALAR

    def index(self, node: Index) -> tuple[Poly, Extent]:
        cost, found = self.visit(node.operand)
        key, _ = self.visit(node.key)
        return plus(cost, key, number(3)), extent(found.weight)

    # -- calls and operators

    def call(self, node: Call) -> tuple[Poly, Extent]:
        nodes = operands(node, self.checked)
        costs: list[Poly] = []
        given: list[Argument] = []
        for turn, operand in enumerate(nodes):
            # Of two arguments the server evaluates, and charges, the second even if the first has failed.
            skips = turn == 1 and len(nodes) == 2 and self.facts[nodes[0].id].fails
            cost, argument = self.argument(operand, skippable=skips)
            costs.append(cost)
            given.append(argument)
        if node.function in ("or", "orValue"):
            return plus(*costs, number(2)), either(given[0].extent, given[-1].extent)
        rows = self.checked.overloads[node.id]
        function = rows[0].function  # with its namespace
        found = ceiling.result(function, self.checked.type(node), given)
        units = ceiling.cost(function, rows, given, found, self.lesser)
        if self.granted and len(nodes) == 2 and self.facts[nodes[0].id].fails and (self.absorbing or not self.succeeds):
            failed = [
                Argument(ceiling.FAILED, NULL),
                msgspec.structs.replace(given[1], extent=self.anyway(nodes[1])[1]),
            ]
            units = larger(units, ceiling.cost(function, rows, failed, ceiling.FAILED, self.lesser))
        constant = [self.facts[operand.id].constant is not NOT_CONSTANT for operand in nodes]
        own = self.spent(units, given) if steep(rows, constant) else self.paid(units)
        return plus(*costs, own), found

    def lesser(self, one: Poly, other: Poly) -> Poly:
        """Of the elements of two loops of which neither is made of the other's, the lesser is no larger than the
        square root of their product; and roots add up to far less than the elements do, once for each other one."""
        outer, inner = sorted((_element(one), _element(other)))
        if outer <= INPUT or outer == inner or self.holds(outer, inner):
            return smaller(one, other)
        rest = number(max(one.get((), 0.0), other.get((), 0.0)))
        factor = one.get((outer, outer), 0.0) + other.get((outer, outer), 0.0)
        factor *= one.get((inner, inner), 0.0) + other.get((inner, inner), 0.0)
        return plus(rest, {(outer, inner): math.sqrt(factor)})

    def holds(self, outer: int, inner: int) -> bool:
        """Whether the elements of the inner loop are parts of an element of the outer one."""
        above = {name for monomial in self.ranges[inner] for name in monomial if name > INPUT and not name % 2}
        return outer in above or any(self.holds(outer, each) for each in above)

    def paid(self, units: Poly) -> Poly:
        self.step = larger(self.step, units)
        return units

    def spent(self, units: Poly, given: Sequence[Argument]) -> Poly:
        """A call that the fast form counts as iterations (`Activation.spend`), unless an argument has failed: then its
        size is 1."""
        self.step = larger(self.step, units)
        self.loops += 1
        if not self.granted:
            return units
        sizes = plus(number(16), *(each.size for each in given))
        return plus(scaled(sizes, 2.2), number(SPENT), scaled(symbol(2 * self.loops + 1), SPENT))

    def argument(self, node: Node, *, skippable: bool) -> tuple[Poly, Argument]:
        constant = self.facts[node.id].constant
        type = self.checked.type(node)
        if constant is NOT_CONSTANT and isinstance(node, ListLiteral) and not node.optional and not skippable:
            parts = [self.argument(each, skippable=False) for each in node.elements]
            inner = tuple(argument for _, argument in parts)
            cost = plus(*(each for each, _ in parts), number(LIST))
            return cost, Argument(_listed([each.extent for each in inner]), type, inner=inner)
        cost, found = self.skippable(node) if skippable else self.visit(node)
        if constant is NOT_CONSTANT:
            return cost, Argument(found, type)
        elements = constant if constant.__class__ is list else ()
        inner = tuple(Argument(ceiling.of_constant(each), type) for each in elements)
        return cost, Argument(found, type, constant, inner)

    def logic(self, node: Logic) -> tuple[Poly, Extent]:
        self.absorbing += 1
        cost = plus(*(self.visit(term)[0] for term in node.terms))
        self.absorbing -= 1
        return cost, SCALAR

    def conditional(self, node: Conditional) -> tuple[Poly, Extent]:
        condition, _ = self.visit(node.condition)
        then, one = self.visit(node.then)
        otherwise, other = self.visit(node.otherwise)
        return plus(condition, larger(then, otherwise)), either(one, other)

    # -- literals

    def list_literal(self, node: ListLiteral) -> tuple[Poly, Extent]:
        parts = [self.visit(element) for element in node.elements]
        return plus(*(cost for cost, _ in parts), number(LIST)), _listed([each for _, each in parts])

    def map_literal(self, node: MapLiteral) -> tuple[Poly, Extent]:
        parts = [self.visit(part) for entry in node.entries for part in (entry.key, entry.value)]
        found = Extent(_listed([each for _, each in parts]).weight, number(len(node.entries)))
        return plus(*(cost for cost, _ in parts), number(MAP)), found

    def message(self, node: Message) -> tuple[Poly, Extent]:
        parts = [self.visit(field.value) for field in node.fields]
        # Bytes become base64, and numbers texts.
        weight = plus(scaled(_listed([each for _, each in parts]).weight, 4), number(64))
        return plus(*(cost for cost, _ in parts), number(MESSAGE)), extent(weight)

    # -- macros

    def fold(self, node: Fold) -> tuple[Poly, Extent]:
        cost, over = self.visit(node.range)
        self.loops += 1
        loop = self.loops
        self.ranges[2 * loop] = over.weight
        before = dict(self.scope)
        self.scope |= self.elements(node, over, extent(symbol(2 * loop), most=over.most))
        body, value = number(_HEAD), SCALAR
        if node.predicate is not None:
            absorbs = node.macro in ("all", "exists")
            self.absorbing += absorbs
            body = plus(body, self.visit(node.predicate)[0])
            self.absorbing -= absorbs
        if node.body is not None:
            # After an error the fast form makes no more results; the server goes on.
            fails = any(self.facts[part.id].fails for part in (node.predicate, node.body) if part is not None)
            made, value = self.skippable(node.body) if fails else self.visit(node.body)
            body = plus(body, made)
        often = self.iterations(loop, over)
        found = self.folded(node, loop, over, value, often)
        self.scope = before
        return plus(cost, number(2), _added(body, loop, over, often)), found

    def iterations(self, loop: int, over: Extent) -> Poly:
        """How often a loop runs."""
        if not self.granted or all(not monomial for monomial in over.count):
            return over.count
        return symbol(2 * loop + 1)

    def elements(self, node: Fold, over: Extent, element: Extent) -> dict[str, Extent]:
        if not node.second:
            return {node.variable: element}
        first = either(element, extent(number(20)))
        if self.checked.type(node.range).kind == "list":
            first = extent(number(20), most=over.count)
        return {node.variable: first, node.second: element}

    def folded(self, node: Fold, loop: int, over: Extent, value: Extent, often: Poly) -> Extent:
        if node.macro in ("all", "exists", "existsOne"):
            return SCALAR
        if node.body is None:
            return Extent(over.weight, often)
        each = plus(value.weight, number(2))
        if node.macro == "transformMap":
            each = plus(each, self.scope[node.variable].weight)
        weight = plus(_added(each, loop, over, often), number(2))
        count = _added(value.count, loop, over, often) if node.macro == "transformMapEntry" else often
        return Extent(weight, count)

    def bind(self, node: Bind) -> tuple[Poly, Extent]:
        cost, target = self.visit(node.target)
        before = dict(self.scope)
        self.scope[node.variable] = target
        body, found = self.visit(node.body)
        self.scope = before
        # The server evaluates the target twice, and the fast form once.
        return plus(scaled(cost, 2), body, number(4)), found

    def sort_by(self, node: SortBy) -> tuple[Poly, Extent]:
        keys, _ = self.visit(node.keys)
        _, target = self.visit(node.target)
        rows = self.checked.overloads[node.id]
        if cost_of("@sortByAssociatedKeys", rows) is None:
            return plus(keys, number(4)), target
        units = plus(number(16), scaled(times(target.count, target.count), 2.1))
        return plus(keys, number(4), self.spent(units, [])), target


def _added(each: Poly, loop: int, over: Extent, often: Poly) -> Poly:
    """The sum of something over a loop's iterations. What grows with an element's weight adds up to what the list's
    weight makes of it; what is counted by an inner loop is granted all together, in whichever iteration of this one it
    runs; the rest is there once an iteration. By Hölder's inequality that holds for products, too, if their exponents
    add up to 1 or more; a single square root is the product of two, of which one is there once an iteration."""
    element = 2 * loop
    parts: tuple[dict[Monomial, float], ...] = ({}, {}, {})
    for monomial, factor in each.items():
        halves = sum(name == element or (name % 2 == 1 and name > element) for name in monomial)
        parts[min(halves, 2)][monomial] = factor
    once, roots, together = parts
    half = times(roots, root(often)) if roots else ZERO
    return plus(times(once, often), put(plus(half, together), element, over.weight))


def _element(poly: Poly) -> int:
    """The symbol of the element of which it is a multiple, but for a constant; 0 for none."""
    names = {monomial for monomial in poly if monomial}
    if len(names) != 1:
        return INPUT
    (monomial,) = names
    is_element = len(monomial) == 2 and monomial[0] == monomial[1] and not monomial[0] % 2
    return monomial[0] if is_element else INPUT


def _listed(parts: list[Extent]) -> Extent:
    weight = plus(number(2 + 2 * len(parts)), *(each.weight for each in parts))
    return Extent(weight, number(len(parts)))


_VISITS: Final[dict[type, Any]] = {
    Select: Walker.select,
    Has: Walker.has,
    Index: Walker.index,
    Call: Walker.call,
    Logic: Walker.logic,
    Conditional: Walker.conditional,
    ListLiteral: Walker.list_literal,
    MapLiteral: Walker.map_literal,
    Message: Walker.message,
    Fold: Walker.fold,
    Bind: Walker.bind,
    SortBy: Walker.sort_by,
}
