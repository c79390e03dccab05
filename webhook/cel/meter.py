"""The metered form: generated code that counts cost as the API server does, unit for unit.

Slower than the fast form and of the same meaning: each node is a statement, and errors are values (`Failure`), because
after an error the server's interpreter goes on evaluating, and charging, what the fast form may skip. Used where the
cost is asked for.

The names and steps of an attribute (`object.spec.x` is one) cost 1 each; as a branch of `c ? a : b` an attribute's own
unit is not charged (`cel-go interpreter/{attributes,runtimecost}.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from webhook.cel import meter_loops, meter_steps, runtime
from webhook.cel.check import Checked
from webhook.cel.context import Context
from webhook.cel.emit import COMMON, Writer
from webhook.cel.equality import hashed_member, member
from webhook.cel.facts import NOT_CONSTANT, Facts, children, hashes, in_list, may_not_hash, one_by_one, operands
from webhook.cel.library.messages import optional_field
from webhook.cel.literals import held_key, made_by
from webhook.cel.metering import (
    Failure,
    attempt,
    charged,
    charged_in_order,
    either,
    entered,
    gathered,
    one_unit,
    truth,
)
from webhook.cel.overload import Overload
from webhook.cel.patterns import compile_pattern
from webhook.cel.tariff import LIST, MAP, MESSAGE, cost_of
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
from webhook.cel.typed import call_of

_DEPTH: Final = 5


def generate_metered(context: Context, checked: Checked, facts: dict[int, Facts], prefix: str) -> str:
    """Writes the metered function of one expression into the module; returns its name. The function returns a value or
    `Failure`, and adds what it cost to the activation."""
    body = Meter(context, checked, facts, {})
    name = context.module.name(prefix)
    body.finish(name, body.emit(checked.tree))
    return name


class Meter:
    def __init__(self, context: Context, checked: Checked, facts: dict[int, Facts], scope: dict[str, str]) -> None:
        self.context = context
        self.module = context.module
        self.checked = checked
        self.facts = facts
        self.scope = scope
        self.out = Writer()
        self.depth = 0
        self.used: dict[str, None] = {}
        self.own: set[str] = set()
        self.pending = 0
        """Units not yet written: added up over straight-line code."""

    def finish(self, name: str, result: str) -> None:
        self.settle()
        head = f"def {name}({', '.join(['S', *self.used])}):"
        self.module.function([head, *self.out.lines, f"    return {result}"])

    def charge(self, units: int) -> None:
        self.pending += units

    def settle(self) -> None:
        """Writes the pending units: before anything that may not run, or that looks at the cost."""
        if self.pending:
            self.out.line(f"S.cost += {self.pending}")
            self.pending = 0

    def block(self, header: str) -> AbstractContextManager[None]:
        self.settle()
        return _Block(self, header)

    def helper(self, call: Any) -> str:
        return self.module.helper(call)

    def assign(self, text: str, prefix: str = "t") -> str:
        name = self.out.temporary(prefix)
        self.out.line(f"{name} = {text}")
        return name

    def emit(self, node: Node, *, branch: bool = False) -> str:
        """Statements that evaluate the node; the name of its value. `branch`: as an attribute in a conditional."""
        facts = self.facts[node.id]
        if facts.constant is not NOT_CONSTANT:
            value = facts.constant
            return str(value) if value is None or value is True or value is False else self.module.constant(value)
        if self.depth > _DEPTH and not isinstance(node, Ident | Select):
            return self.assign(self.outlined(node, branch=branch))
        if isinstance(node, Ident | Select | Index):
            return meter_steps.attribute(self, node, branch=branch)
        return str(_EMIT[node.__class__](self, node))

    def outlined(self, node: Node, *, branch: bool = False) -> str:
        inner = Meter(self.context, self.checked, self.facts, dict(self.scope))
        name = self.module.name("m")
        inner.finish(name, inner.emit(node, branch=branch))
        for used in inner.used:
            self.use(used)
        self.settle()
        return f"{name}({', '.join(['S', *inner.used])})"

    def use(self, python: str) -> str:
        if python not in self.own:
            self.used[python] = None
        return python

    def local(self, name: str) -> str:
        python = self.module.name("c")
        self.own.add(python)
        self.scope[name] = python
        return python

    # -- calls

    def call(self, node: Call) -> str:
        if node.function in ("or", "orValue") and node.target is not None:
            return self.lazy(node)
        arguments = operands(node, self.checked)
        rows = self.checked.overloads[node.id]
        if node.function == "@in" and in_list(node, self.checked) and self.is_set(arguments[1]):
            value = self.emit(arguments[0])
            constant = self.module.constant(self.facts[arguments[1].id].constant)
            self.guard(node, rows[0], [value, constant])
            look = self.helper(hashed_member if hashes(node, self.checked) else member)
            return self.assign(f"{self.helper(attempt)}({look}, {value}, {constant})")
        in_order = one_by_one(rows, len(arguments))
        names = self.sequence(arguments) if in_order else [self.emit(argument) for argument in arguments]
        pattern = rows[0].pattern
        if pattern and self.facts[arguments[pattern].id].constant.__class__ is str:
            names[pattern] = self.module.constant(compile_pattern(self.facts[arguments[pattern].id].constant))
        function = self.helper(self.context.dispatcher(rows))
        typed = self.checked.typed.get(node.id)
        if typed is not None:
            of = self.module.constant(typed), self.module.constant(node.function)
            function = f"{self.helper(call_of)}({', '.join(of)}, S)"
        elif node.function == "@in" and hashes(node, self.checked):
            function = self.helper(hashed_member)
        self.guard(node, rows[0], names)
        cost = cost_of(rows[0].function, rows)
        if cost is None and in_order:
            cost = one_unit
        if cost is None:
            self.charge(1)
            return self.assign(f"{self.helper(attempt)}({', '.join([function, *names])})")
        self.settle()
        price = self.module.constant(cost)
        charge = self.helper(charged_in_order if in_order else charged)
        return self.assign(f"{charge}({', '.join(['S', price, function, *names])})")

    def guard(self, node: Node, row: Overload, names: list[str]) -> None:
        """The server's panic over an operand, before the call is charged."""
        if self.facts[node.id].crashes:
            self.settle()
        if self.facts[node.id].exposed:
            assert row.unguarded is not None  # noqa: S101 - exposed by it
            at, test = row.unguarded
            self.out.line(f"{self.helper(test)}({names[at]})")

    def is_set(self, node: Node) -> bool:
        """Whether the server looks a value up in a set made of a constant list."""
        constant = self.facts[node.id].constant
        primitive = (str, int, float, bool)
        return constant.__class__ is list and all(isinstance(value, primitive) for value in constant)

    def sequence(
        self, nodes: tuple[Node, ...], entries: MapLiteral | None = None, optional: Mapping[int, str] | None = None
    ) -> list[str]:
        """Values of nodes of which none is evaluated after a failed one. They may be the keys and values of `entries`:
        a key is put into the map as soon as it has its value, and may be none that can be hashed. Of a message's
        `optional` fields, by their position, each is opened as soon as it is there."""
        names = [self.assign("None") for _ in nodes]
        failed = self.out.temporary("f")
        self.out.line(f"{failed} = None")
        with self.block("while True:"):
            for at, (name, node) in enumerate(zip(names, nodes, strict=True)):
                value = self.emit(node)
                self.settle()
                if optional and at in optional:
                    field = self.module.constant(optional[at])
                    value = f"{self.helper(attempt)}({self.helper(optional_field)}, {field}, {value})"
                self.out.line(f"{name} = {value}")
                self.out.line(f"if {name}.__class__ is Failure: break")
                if entries is not None and at % 2 and may_not_hash(nodes[at - 1], self.checked):
                    self.out.line(f"{self.helper(runtime.entry)}({names[at - 1]}, {name})")
            self.out.line("break")
        return names

    def lazy(self, node: Call) -> str:
        assert node.target is not None  # noqa: S101 - receiver style only
        value = self.emit(node.target)
        self.settle()
        content = self.assign(f"{self.helper(attempt)}({self.helper(runtime.content_of)}, {value})")
        result = self.assign(value if node.function == "or" else content)
        with self.block(f"if {content} is ABSENT:"):
            other = self.emit(node.arguments[0])
            self.settle()
            self.out.line(f"{result} = {other}")
        with self.block(f"elif {content}.__class__ is Failure:"):
            self.out.line(f"{result} = {content}")
        return result

    def logic(self, node: Logic) -> str:
        decided = not node.is_and
        self.settle()
        result = self.out.temporary()
        with self.block("while True:"):
            for at, term in enumerate(node.terms):
                value = f"{self.helper(truth)}({self.emit(term)})"
                self.settle()
                self.out.line(f"{result} = {f'{self.helper(either)}({result}, {value}, {decided})' if at else value}")
                self.out.line(f"if {result} is {decided}: break")
            self.out.line("break")
        return result

    def conditional(self, node: Conditional) -> str:
        result = self.assign(f"{self.helper(truth)}({self.emit(node.condition)})")
        with self.block(f"if {result} is True:"):
            value = self.emit(node.then, branch=True)
            self.settle()
            self.out.line(f"{result} = {value}")
        with self.block(f"elif {result} is False:"):
            value = self.emit(node.otherwise, branch=True)
            self.settle()
            self.out.line(f"{result} = {value}")
        return result

    # -- literals

    def list_literal(self, node: ListLiteral) -> str:
        names = self.sequence(node.elements)
        if not self.free(node):
            self.charge(LIST)
        return self.literal(
            names, [f"({name},)" if at in node.optional else name for at, name in enumerate(names)], gathered
        )

    def free(self, node: Node) -> bool:
        """Whether the server makes it when it compiles: also of constants that are no optionals and should be, which
        gives an error each time."""
        return self.facts[node.id].constant is not NOT_CONSTANT or (
            isinstance(node, ListLiteral | MapLiteral) and all(map(self.free, children(node)))
        )

    def map_literal(self, node: MapLiteral) -> str:
        names = self.sequence(tuple(part for entry in node.entries for part in (entry.key, entry.value)), node)
        parts = []
        for at, entry in enumerate(node.entries):
            held = held_key(entry, self.facts)
            key = names[2 * at] if held is None else self.module.constant(held)
            parts.append(f"({key}, {names[2 * at + 1]}, {entry.optional})")
        made = self.literal(names, parts, entered)
        if not self.free(node):
            self.charge(MAP)  # not before it is made: a key that cannot be hashed ends all
        return made

    def message(self, node: Message) -> str:
        optional = {at: field.name for at, field in enumerate(node.fields) if field.optional}
        names = self.sequence(tuple(field.value for field in node.fields), optional=optional)
        self.charge(MESSAGE)
        self.settle()
        make = self.module.constant(made_by(node))
        return self.assign(f"{self.helper(attempt)}({', '.join([make, *names])})")

    def literal(self, names: list[str], parts: list[str], make: Any) -> str:
        self.settle()
        result = self.assign(f"next((part for part in [{', '.join(names)}] if part.__class__ is Failure), None)")
        with self.block(f"if {result} is None:"):
            self.out.line(f"{result} = {self.helper(attempt)}({self.helper(make)}, [{', '.join(parts)}])")
        return result


class _Block:
    def __init__(self, meter: Meter, header: str) -> None:
        self.meter = meter
        self.inner = meter.out.block(header)

    def __enter__(self) -> None:
        self.meter.depth += 1
        self.inner.__enter__()

    def __exit__(self, *_: Any) -> None:
        self.meter.settle()
        self.meter.depth -= 1
        self.inner.__exit__(None, None, None)


_EMIT: Final[dict[type, Any]] = {
    Has: meter_steps.has,
    Call: Meter.call,
    Logic: Meter.logic,
    Conditional: Meter.conditional,
    ListLiteral: Meter.list_literal,
    MapLiteral: Meter.map_literal,
    Fold: meter_loops.fold,
    Bind: meter_loops.bind,
    SortBy: meter_loops.sort_by,
    Message: Meter.message,
    Literal: lambda meter, node: meter.module.constant(node.value),
}
COMMON["Failure"] = Failure
