"""The trace form: evaluates a checked tree and keeps the value of every sub-expression, for people who ask why.

It means what the compiled forms mean (a property test holds it to them), at a price that only somebody at a prompt
pays. Errors are values (`Failure`), as in the metered form. Knows no policy and renders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from webhook.cel import runtime
from webhook.cel.activation import Activation
from webhook.cel.check import LOCAL, Checked
from webhook.cel.context import METHODS, ROOTS, Context
from webhook.cel.env import VARIABLES
from webhook.cel.equality import hashed_member, member
from webhook.cel.error import Crash
from webhook.cel.facts import NOT_CONSTANT, Facts, hashes, operands
from webhook.cel.library.messages import optional_field
from webhook.cel.literals import made_by
from webhook.cel.metering import Failure, attempt, either, entered, gathered, truth
from webhook.cel.overload import Overload
from webhook.cel.patterns import compile_pattern
from webhook.cel.trace_loops import LOOPS
from webhook.cel.tree import (
    Bind,
    Call,
    Conditional,
    Fold,
    Has,
    Ident,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Message,
    Node,
    Select,
    SortBy,
)
from webhook.cel.typed import Search, call_of
from webhook.cel.values import ABSENT, NONE, Optional
from webhook.errors import WouldblockError

STEPS: Final = 1_000_000
"""Sub-expressions that are evaluated before a trace is given up."""
KEPT: Final = 10_000
"""Sub-expressions that are remembered; a loop beyond that is evaluated, but its elements are not kept."""


class TooLarge(WouldblockError):
    """More was evaluated than anybody reads."""


class Turn(msgspec.Struct, frozen=True, eq=False):
    """One element of a loop."""

    names: tuple[tuple[str, Any], ...]
    """The loop's variables."""
    steps: tuple[Step, ...]
    """What was evaluated for it: a predicate, then perhaps a result."""


class Step(msgspec.Struct, frozen=True, eq=False):
    """One sub-expression: its value or `Failure`, and those of the operands that were evaluated."""

    node: Node
    value: Any
    steps: tuple[Step, ...] = ()
    turns: tuple[Turn, ...] = ()
    """Of a loop: its elements as far as it went."""
    skipped: tuple[Node, ...] = ()
    """Operands that were not evaluated: something before them had decided."""
    variable: str = ""
    """Of `variables.x`: the name, whose own trace stands elsewhere."""
    constant: bool = False

    @property
    def failed(self) -> bool:
        return self.value.__class__ is Failure


class Tracer:
    """One expression, evaluated on one activation."""

    def __init__(
        self,
        context: Context,
        checked: Checked,
        facts: Mapping[int, Facts],
        activation: Activation,
        variable: Callable[[str], Any],
    ) -> None:
        """`variable` gives the value or `Failure` of a composed variable."""
        self._context = context
        self._checked = checked
        self._facts = facts
        self._activation = activation
        self._variable = variable
        self._scope: dict[str, Any] = {}
        self._count = 0

    def run(self) -> Step:
        """Raises what the inputs raise for what cannot be known, and `TooLarge`."""
        try:
            return self.step(self._checked.tree)
        except Crash as error:
            return Step(self._checked.tree, Failure(error.text))

    def step(self, node: Node) -> Step:
        """One sub-expression in the present scope."""
        self._count += 1
        if self._count > STEPS:
            raise TooLarge(f"more than {STEPS} sub-expressions were evaluated: too many to show")
        constant = self._facts[node.id].constant
        if constant is not NOT_CONSTANT:
            return Step(node, constant, constant=True)
        name = self._checked.names.get(node.id)
        if name is not None:
            return Step(node, self._named(node, name))
        made: Step = _TRACES[node.__class__](self, node)
        return made

    def _named(self, node: Node, name: str) -> Any:
        if name == LOCAL:
            assert isinstance(node, Ident)  # noqa: S101 - only plain names are local
            return self._scope[node.name]
        if name in ROOTS:
            return getattr(self._activation, ROOTS[name])
        if name in METHODS:
            return getattr(self._activation, METHODS[name])()
        return attempt(self._activation.lookup, name)

    # -- attributes

    def _select(self, node: Select) -> Step:
        if self._checked.type(node.operand) == VARIABLES:
            value = self._variable(node.field)
            if node.optional:
                value = attempt(Optional, value)
            return Step(node, value, variable=node.field)
        operand = self.step(node.operand)
        return Step(node, self._at(node, operand.value, node.field, optional=node.optional), (operand,))

    def _index(self, node: Index) -> Step:
        operand = self.step(node.operand)
        if operand.failed or (operand.value is NONE and node.id not in self._checked.raw):
            return Step(node, operand.value, (operand,), skipped=(node.key,))
        key = self.step(node.key)
        return Step(node, self._at(node, operand.value, key.value, optional=node.optional), (operand, key))

    def _at(self, node: Select | Index, operand: Any, key: Any, *, optional: bool) -> Any:
        if node.id in self._checked.raw:
            return attempt(runtime.raw_optional_index if optional else runtime.raw_index, operand, key)
        optional = optional or self._checked.type(node.operand).kind == "optional" or operand.__class__ is Optional
        typed = self._checked.typed.get(node.id)
        if isinstance(typed, Search):
            return attempt(typed.optional_at if optional else typed.at, self._activation, operand, key)
        return attempt(runtime.optional_index if optional else runtime.index, operand, key)

    def _has(self, node: Has) -> Step:
        if self._checked.type(node.operand) == VARIABLES:
            value = self._variable(node.field)
            return Step(node, value if value.__class__ is Failure else True, variable=node.field)
        operand = self.step(node.operand)
        has: Callable[..., Any] = runtime.raw_has if node.id in self._checked.raw else runtime.has
        if node.id in self._checked.bare:
            has = runtime.bare_has
        return Step(node, attempt(has, operand.value, node.field), (operand,))

    # -- calls and operators

    def _call(self, node: Call) -> Step:
        if node.function in ("or", "orValue") and node.target is not None:
            return self._lazy(node, node.target)
        arguments = operands(node, self._checked)
        rows = self._checked.overloads[node.id]
        # Beyond two operands none is evaluated after a failed one.
        steps, skipped = self._until_failed(arguments) if len(arguments) > 2 else (tuple(map(self.step, arguments)), ())
        values = [step.value for step in steps]
        if self._facts[node.id].exposed:
            _test(rows[0], values)
        failed = next((value for value in values if value.__class__ is Failure), None)
        if failed is not None:
            return Step(node, failed, steps, skipped=skipped)
        pattern = rows[0].pattern
        if pattern and steps[pattern].constant and values[pattern].__class__ is str:
            values[pattern] = compile_pattern(values[pattern])
        call = self._context.dispatcher(rows)
        typed = self._checked.typed.get(node.id)
        if typed is not None:
            call = call_of(typed, node.function, self._activation)
        elif node.function == "@in":
            call = hashed_member if hashes(node, self._checked) else member
        return Step(node, attempt(call, *values), steps)

    def _until_failed(self, nodes: tuple[Node, ...]) -> tuple[tuple[Step, ...], tuple[Node, ...]]:
        steps: list[Step] = []
        for node in nodes:
            steps.append(self.step(node))
            if steps[-1].failed:
                break
        return tuple(steps), nodes[len(steps) :]

    def _lazy(self, node: Call, target: Node) -> Step:
        """`x.or(y)` and `x.orValue(y)`."""
        held = self.step(target)
        content = attempt(runtime.content_of, held.value)
        if content is ABSENT:
            other = self.step(node.arguments[0])
            return Step(node, other.value, (held, other))
        value = content if content.__class__ is Failure or node.function == "orValue" else held.value
        return Step(node, value, (held,), skipped=node.arguments)

    def _logic(self, node: Logic) -> Step:
        decided = not node.is_and
        value: Any = None
        steps: list[Step] = []
        for term in node.terms:
            steps.append(self.step(term))
            found = truth(steps[-1].value)
            value = either(value, found, decided) if len(steps) > 1 else found
            if value is decided:
                break
        return Step(node, value, tuple(steps), skipped=node.terms[len(steps) :])

    def _conditional(self, node: Conditional) -> Step:
        condition = self.step(node.condition)
        chosen = truth(condition.value)
        if chosen.__class__ is Failure:
            return Step(node, chosen, (condition,), skipped=(node.then, node.otherwise))
        branch = self.step(node.then if chosen else node.otherwise)
        return Step(node, branch.value, (condition, branch), skipped=(node.otherwise if chosen else node.then,))

    # -- literals

    def _list(self, node: ListLiteral) -> Step:
        steps, skipped = self._until_failed(node.elements)
        if steps and steps[-1].failed:
            return Step(node, steps[-1].value, steps, skipped=skipped)
        parts = [(step.value,) if at in node.optional else step.value for at, step in enumerate(steps)]
        return Step(node, attempt(gathered, parts), steps)

    def _map(self, node: MapLiteral) -> Step:
        steps, skipped = self._until_failed(tuple(part for each in node.entries for part in (each.key, each.value)))
        if steps and steps[-1].failed:
            return Step(node, steps[-1].value, steps, skipped=skipped)
        values = [step.value for step in steps]
        parts = list(zip(values[::2], values[1::2], [each.optional for each in node.entries], strict=True))
        return Step(node, attempt(entered, parts), steps)

    def _message(self, node: Message) -> Step:
        steps: list[Step] = []
        values: list[Any] = []
        for field in node.fields:
            steps.append(self.step(field.value))
            value = steps[-1].value
            values.append(attempt(optional_field, field.name, value) if field.optional else value)
            if values[-1].__class__ is Failure:
                break
        skipped = tuple(field.value for field in node.fields[len(steps) :])
        value = values[-1] if skipped else attempt(made_by(node), *values)
        return Step(node, value, tuple(steps), skipped=skipped)

    # -- macros

    def _fold(self, node: Fold) -> Step:
        ranged = self.step(node.range)
        value, turns = self._looped(node, ranged.value)
        return Step(node, value, (ranged,), turns)

    def _looped(self, node: Fold, values: Any) -> tuple[Any, tuple[Turn, ...]]:
        over = attempt(runtime.pairs if node.second else runtime.elements, values)
        if over.__class__ is Failure:
            return over, ()
        outer, turns = dict(self._scope), []
        loop = LOOPS[node.macro](node)
        for element in over:
            names: tuple[tuple[str, Any], ...] = ((node.variable, element),)
            if node.second:
                names = ((node.variable, element[0]), (node.second, element[1]))
            self._scope.update(names)
            steps = loop.turn(self.step, element if not node.second else element[0])
            if self._count < KEPT:
                turns.append(Turn(names, steps))
            if loop.done:
                break
        self._scope = outer
        return loop.result(), tuple(turns)

    def _bind(self, node: Bind) -> Step:
        target = self.step(node.target)
        content = attempt(runtime.content, target.value)
        if content.__class__ is Failure:
            return Step(node, content, (target,), skipped=(node.body,))
        if content is ABSENT:
            return Step(node, NONE, (target,), skipped=(node.body,))
        outer = dict(self._scope)
        self._scope[node.variable] = content
        body = self.step(node.body)
        self._scope = outer
        value = body.value if node.flat else attempt(Optional, body.value)
        return Step(node, value, (target,), (Turn(((node.variable, content),), (body,)),))

    def _sort_by(self, node: SortBy) -> Step:
        target = self.step(node.target)
        keys, turns = self._looped(node.keys, target.value)
        rows = self._checked.overloads[node.id]
        if self._facts[node.id].exposed:
            _test(rows[0], [target.value, keys])
        return Step(node, attempt(self._context.dispatcher(rows), target.value, keys), (target,), turns)


def _test(row: Overload, values: list[Any]) -> None:
    """Raises `Crash` where the server panics over an operand."""
    assert row.unguarded is not None  # noqa: S101 - exposed by it
    at, test = row.unguarded
    test(values[at])


_TRACES: Final[dict[type, Any]] = {
    Select: Tracer._select,
    Has: Tracer._has,
    Index: Tracer._index,
    Call: Tracer._call,
    Logic: Tracer._logic,
    Conditional: Tracer._conditional,
    ListLiteral: Tracer._list,
    MapLiteral: Tracer._map,
    Message: Tracer._message,
    Fold: Tracer._fold,
    Bind: Tracer._bind,
    SortBy: Tracer._sort_by,
    Literal: lambda _, node: Step(node, node.value, constant=True),
}
