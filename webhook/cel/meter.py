"""The metered form: generated code that counts cost as the API server does, unit for unit.

Slower than the fast form and of the same meaning: each node is a statement, and errors are values (`Failure`), because
after an error the server's interpreter goes on evaluating, and charging, what the fast form may skip. Used where the
cost is asked for.

The names and steps of an attribute (`object.spec.x` is one) cost 1 each; as a branch of `c ? a : b` an attribute's own
unit is not charged (`cel-go interpreter/{attributes,runtimecost}.go`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

from webhook.cel import runtime
from webhook.cel.check import LOCAL, Checked
from webhook.cel.codegen import METHODS, ROOTS, Context
from webhook.cel.emit import Writer
from webhook.cel.env import TYPES, VARIABLES
from webhook.cel.equality import hashed_member, member
from webhook.cel.facts import NOT_CONSTANT, Facts, children, hashes, in_list, may_not_hash, one_by_one, operands
from webhook.cel.metering import (
    Failure,
    attempt,
    bare_presence,
    charged,
    charged_in_order,
    either,
    entered,
    extended,
    gathered,
    insert,
    one_unit,
    over,
    presence,
    raw_presence,
    raw_step,
    step,
    truth,
    variable,
)
from webhook.cel.overload import Overload
from webhook.cel.patterns import compile_pattern
from webhook.cel.tariff import LIST, MAP, cost_of
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
    Node,
    Select,
    SortBy,
)
from webhook.cel.values import ABSENT, NONE, Map, Optional, TypeValue

_DEPTH: Final = 5


def generate_metered(context: Context, checked: Checked, facts: dict[int, Facts], prefix: str) -> str:
    """Writes the metered function of one expression into the module; returns its name. The function returns a value or
    `Failure`, and adds what it cost to the activation."""
    body = _Meter(context, checked, facts, {})
    name = context.module.name(prefix)
    body.finish(name, body.emit(checked.tree))
    return name


class _Meter:
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
            return self.attribute(node, branch=branch)
        return str(_EMIT[node.__class__](self, node))

    def outlined(self, node: Node, *, branch: bool = False) -> str:
        inner = _Meter(self.context, self.checked, self.facts, dict(self.scope))
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

    # -- attributes

    def attribute(self, node: Ident | Select | Index, *, branch: bool) -> str:
        name = self.checked.names.get(node.id)
        if name is not None:
            return self.root(node, name, branch=branch)
        if isinstance(node, Select) and self.checked.type(node.operand) == VARIABLES:
            self.charge(1 + (not branch))
            self.settle()
            position, function = self.context.variables[node.field]
            call = f"{self.helper(variable)}(S, {position}, {function}, {self.module.constant(node.field)})"
            found = self.assign(call)
            if node.optional:
                self.out.line(f"S.cost -= {found}.__class__ is Failure")
                return self.assign(f"{self.helper(attempt)}(Optional, {found})")
            return found
        assert not isinstance(node, Ident)  # noqa: S101 - every name stands for something
        operand = self.operand(node.operand, branch=branch)
        raw = node.id in self.checked.raw
        optional = node.optional or (self.checked.type(node.operand).kind == "optional" and not raw)
        take = self.helper(raw_step if raw else step)
        self.settle()
        if isinstance(node, Select):
            key = self.module.constant(node.field)
            return self.assign(f"{take}(S, {operand}, {key}, {optional})")
        if self.facts[node.key.id].constant is not NOT_CONSTANT:
            key = self.emit(node.key)
            return self.assign(f"{take}(S, {operand}, {key}, {optional})")
        result = self.assign(operand)
        with self.block(f"if {result}.__class__ is not Failure{'' if raw else f' and {result} is not NONE'}:"):
            # A computed key is an attribute of its own, which costs its units in place of the step's.
            key = self.emit(node.key, branch=True)
            self.settle()
            self.out.line(f"{result} = {take}(S, {result}, {key}, {optional})")
        return result

    def operand(self, node: Node, *, branch: bool) -> str:
        """What an attribute starts with: a name, another attribute, or any expression, which makes one."""
        if isinstance(node, Ident | Select | Index) and self.facts[node.id].constant is NOT_CONSTANT:
            return self.attribute(node, branch=branch)
        value = self.emit(node)
        if not (branch or isinstance(node, Conditional | Bind)):
            self.charge(1)
        return value

    def root(self, node: Node, name: str, *, branch: bool) -> str:
        if name in TYPES and name not in ROOTS:
            return self.module.constant(TypeValue(TYPES[name].runtime().partition("(")[0]))
        if not branch:
            self.charge(1)
        if name == LOCAL:
            assert isinstance(node, Ident)  # noqa: S101 - only plain names are local
            return self.use(self.scope[node.name])
        if name in ROOTS:
            return self.assign(f"S.{ROOTS[name]}")
        self.settle()
        if name in METHODS:
            return self.assign(f"S.{METHODS[name]}()")
        return self.assign(f"{self.helper(attempt)}(S.lookup, {self.module.constant(name)})")

    def has(self, node: Has) -> str:
        if self.checked.type(node.operand) == VARIABLES:
            self.charge(1)
            position, function = self.context.variables[node.field]
            self.settle()
            forced = self.assign(
                f"{self.helper(variable)}(S, {position}, {function}, {self.module.constant(node.field)})"
            )
            return self.assign(f"{forced} if {forced}.__class__ is Failure else True")
        operand = self.operand(node.operand, branch=True)
        self.settle()
        field = self.module.constant(node.field)
        test = raw_presence if node.id in self.checked.raw else presence
        if node.id in self.checked.bare:
            test = bare_presence
        return self.assign(f"{self.helper(test)}(S, {operand}, {field})")

    # -- calls

    def call(self, node: Call) -> str:
        if node.function in ("or", "orValue") and node.target is not None:
            return self.lazy(node)
        arguments = operands(node, self.checked)
        rows = self.checked.overloads[node.id]
        if node.function == "@in" and in_list(node, self.checked) and self.is_set(arguments[1]):
            value = self.emit(arguments[0])
            constant = self.module.constant(self.facts[arguments[1].id].constant)
            return self.assign(f"{self.helper(attempt)}({self.helper(member)}, {value}, {constant})")
        in_order = one_by_one(rows, len(arguments))
        names = self.sequence(arguments) if in_order else [self.emit(argument) for argument in arguments]
        pattern = rows[0].pattern
        if pattern and self.facts[arguments[pattern].id].constant.__class__ is str:
            names[pattern] = self.module.constant(compile_pattern(self.facts[arguments[pattern].id].constant))
        function = self.context.dispatcher(rows)
        if node.function == "@in" and hashes(node, self.checked):
            function = hashed_member
        self.guard(node, rows[0], names)
        cost = cost_of(rows[0].function, rows)
        if cost is None and in_order:
            cost = one_unit
        if cost is None:
            self.charge(1)
            return self.assign(f"{self.helper(attempt)}({', '.join([self.helper(function), *names])})")
        self.settle()
        price = self.module.constant(cost)
        charge = self.helper(charged_in_order if in_order else charged)
        return self.assign(f"{charge}({', '.join(['S', price, self.helper(function), *names])})")

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

    def sequence(self, nodes: tuple[Node, ...], entries: MapLiteral | None = None) -> list[str]:
        """Values of nodes of which none is evaluated after a failed one. They may be the keys and values of `entries`:
        a key is put into the map as soon as it has its value, and may be none that can be hashed."""
        names = [self.assign("None") for _ in nodes]
        failed = self.out.temporary("x")
        self.out.line(f"{failed} = None")
        with self.block("while True:"):
            for at, (name, node) in enumerate(zip(names, nodes, strict=True)):
                value = self.emit(node)
                self.settle()
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
        parts = [f"({names[2 * at]}, {names[2 * at + 1]}, {entry.optional})" for at, entry in enumerate(node.entries)]
        made = self.literal(names, parts, entered)
        if not self.free(node):
            self.charge(MAP)  # not before it is made: a key that cannot be hashed ends all
        return made

    def literal(self, names: list[str], parts: list[str], make: Any) -> str:
        self.settle()
        result = self.assign(f"next((part for part in [{', '.join(names)}] if part.__class__ is Failure), None)")
        with self.block(f"if {result} is None:"):
            self.out.line(f"{result} = {self.helper(attempt)}({self.helper(make)}, [{', '.join(parts)}])")
        return result

    # -- macros

    def fold(self, node: Fold) -> str:
        return self.fold_over(node, self.emit(node.range))

    def fold_over(self, node: Fold, values: str) -> str:
        ranged = runtime.pairs if node.second else runtime.elements
        over_values = self.assign(f"{self.helper(attempt)}({self.helper(ranged)}, {values})")
        result = self.assign(over_values)
        with self.block(f"if {over_values}.__class__ is not Failure:"):
            before = dict(self.scope)
            names = self.local(node.variable) + (f", {self.local(node.second)}" if node.second else "")
            _FOLDS[node.macro](self, node, f"for {names} in {over_values}:", result)
            self.charge(1)  # the result's name
            self.scope = before
        return result

    def head(self, units: int) -> None:
        """The loop's condition and its look at limit and clock."""
        self.charge(units)
        self.settle()
        self.out.line("S.left -= 1")
        self.out.line("if S.left < 0: S.pause(())")
        self.out.line(f"if S.cost > S.limit: {self.helper(over)}(S)")

    def quantifier(self, node: Fold, header: str, result: str) -> None:
        is_all = node.macro == "all"
        assert node.predicate is not None  # noqa: S101 - it always has one
        self.out.line(f"{result} = {is_all}")
        with self.block(header):
            self.head(2 if is_all else 3)
            self.out.line(f"if {result} is {not is_all}: break")
            self.charge(1)
            value = self.emit(node.predicate)
            self.settle()
            self.out.line(f"{result} = {self.helper(either)}({result}, {self.helper(truth)}({value}), {not is_all})")

    def exists_one(self, node: Fold, header: str, result: str) -> None:
        assert node.predicate is not None  # noqa: S101 - it always has one
        self.out.line(f"{result} = 0")
        with self.block(header):
            self.head(0)
            chosen = self.assign(f"{self.helper(truth)}({self.emit(node.predicate)})")
            with self.block(f"if {chosen} is True:"):
                self.charge(2)
                self.settle()
                self.out.line(f"if {result}.__class__ is int: {result} += 1")
            with self.block(f"elif {chosen}.__class__ is Failure:"):
                self.out.line(f"{result} = {chosen}")
        self.charge(1)
        self.settle()
        self.out.line(f"if {result}.__class__ is int: {result} = {result} == 1")

    def collect(self, node: Fold, header: str, result: str) -> None:
        makes_list = node.macro in ("map", "filter", "transformList")
        self.out.line(f"{result} = {'[]' if makes_list else self.helper(Map) + '()'}")
        with self.block(header):
            self.head(0)
            if node.predicate is None:
                self.add(node, result, makes_list)
            else:
                chosen = self.assign(f"{self.helper(truth)}({self.emit(node.predicate)})")
                with self.block(f"if {chosen} is True:"):
                    self.add(node, result, makes_list)
                with self.block(f"elif {chosen}.__class__ is Failure:"):
                    self.out.line(f"{result} = {chosen}")
        if not makes_list:
            self.out.line(f"{result} = {self.helper(attempt)}({self.helper(runtime.finish_map)}, {result})")

    def add(self, node: Fold, result: str, makes_list: bool) -> None:
        """`accumulator + [value]`, or an insertion."""
        if node.macro == "transformMap":
            self.insert(node, result)
            return
        # A list of a constant is a constant.
        constant = node.body is not None and self.facts[node.body.id].constant is not NOT_CONSTANT
        self.charge(1)
        if node.body is not None:
            value = self.emit(node.body)
        else:
            self.charge(1)
            value = self.scope[node.variable]
        self.charge((LIST if makes_list and not constant else 0) + 1)
        self.settle()
        made = self.helper(extended if makes_list else insert)
        self.out.line(f"{result} = {self.helper(attempt)}({made}, {result}, {value})")

    def insert(self, node: Fold, result: str) -> None:
        """`cel.@mapInsert(accumulator, key, value)`, of which a failed accumulator lets nothing be evaluated."""
        assert node.body is not None  # noqa: S101 - it always has one
        self.charge(1)
        with self.block(f"if {result}.__class__ is not Failure:"):
            self.charge(1)
            value = self.emit(node.body)
            self.settle()
            price, call = self.module.constant(one_unit), self.helper(insert)
            self.out.line(
                f"{result} = {self.helper(charged)}(S, {price}, {call}, {result}, {self.scope[node.variable]}, {value})"
            )

    def bind(self, node: Bind) -> str:
        # The server evaluates the target twice: for `hasValue` and for `value`.
        target = self.outlined(node.target)
        first = self.assign(target)
        self.charge(1)
        self.settle()
        content = self.assign(f"{self.helper(attempt)}({self.helper(runtime.content)}, {first})")
        result = self.assign(content)
        with self.block(f"if {content} is ABSENT:"):
            self.charge(1)
            self.settle()
            self.out.line(f"{result} = NONE")
        with self.block(f"elif {content}.__class__ is not Failure:"):
            before = dict(self.scope)
            if _mentions(node.body, node.variable):
                # `value` is computed when the variable is first looked at. Chains of them are evaluated 2ⁿ times.
                self.head(0)
                self.out.line(target)
                self.charge(1)
            python = self.local(node.variable)
            self.out.line(f"{python} = {content}")
            value = self.emit(node.body)
            if not node.flat:
                self.charge(1)
                self.settle()
                value = f"{self.helper(attempt)}(Optional, {value})"
            self.settle()
            self.out.line(f"{result} = {value}")
            self.scope = before
        return result

    def sort_by(self, node: SortBy) -> str:
        values = self.emit(node.target)
        self.charge(1)
        keys = self.fold_over(node.keys, values)
        self.charge(1)
        self.settle()
        function = self.context.dispatcher(self.checked.overloads[node.id])
        self.guard(node, self.checked.overloads[node.id][0], [values, keys])
        cost = self.module.constant(cost_of("@sortByAssociatedKeys", self.checked.overloads[node.id]) or one_unit)
        return self.assign(f"{self.helper(charged)}(S, {cost}, {self.helper(function)}, {values}, {keys})")


def _mentions(node: Node, name: str) -> bool:
    return (isinstance(node, Ident) and node.name == name) or any(_mentions(child, name) for child in children(node))


class _Block:
    def __init__(self, meter: _Meter, header: str) -> None:
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
    Has: _Meter.has,
    Call: _Meter.call,
    Logic: _Meter.logic,
    Conditional: _Meter.conditional,
    ListLiteral: _Meter.list_literal,
    MapLiteral: _Meter.map_literal,
    Fold: _Meter.fold,
    Bind: _Meter.bind,
    SortBy: _Meter.sort_by,
    Literal: lambda meter, node: meter.module.constant(node.value),
}
_FOLDS: Final[dict[str, Any]] = {
    "all": _Meter.quantifier,
    "exists": _Meter.quantifier,
    "existsOne": _Meter.exists_one,
    **dict.fromkeys(("map", "filter", "transformList", "transformMap", "transformMapEntry"), _Meter.collect),
}
NAMES: Final = {"Failure": Failure, "ABSENT": ABSENT, "NONE": NONE, "Optional": Optional}
