"""From a *checked* tree to Python source. Names and overloads are resolved already (`check.py`), so nothing here
looks a name up or infers a type.

A node becomes one Python *expression* wherever it can. `&&` and `||` absorb errors, which Python's `and` and `or` do
not; so what holds one is written twice: fast, as a plain expression in a `try`, and exact, as statements in a function
of their own that runs only if the fast form raised. CEL is pure, so evaluating again is legal. (Of what is nothing but
a decision, `direct.py` writes the fast form.)

`has(object.spec) && object.spec.replicas > 5 ? 'many' : 'few'` becomes (`k1` to `k5` are `'spec'`, `'replicas'`, `5`
and the two texts):

    def e1(S):
        o1 = S.object
        try:
            t1 = (
                k4
                if (
                    (k1 in o1 if o1.__class__ is dict else has(o1, k1))
                    and (t2 > k3 if (t2 := o1[k1][k2]).__class__ is int else greater(t2, k3))
                )
                else k5
            )
        except FAULTS:
            t1 = h1(S)
        return t1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from webhook.cel import runtime
from webhook.cel.activation import UNSET
from webhook.cel.check import LOCAL, Checked
from webhook.cel.dispatch import dispatcher
from webhook.cel.emit import Module, Writer
from webhook.cel.env import TYPES, VARIABLES
from webhook.cel.error import CelError, Crash
from webhook.cel.facts import NOT_CONSTANT, Facts, may_not_hash, one_by_one, operands
from webhook.cel.metering import FAILED
from webhook.cel.overload import Overload
from webhook.cel.parser import CHAIN
from webhook.cel.program import FAULTS, fault, force, settle
from webhook.cel.tariff import cost_of
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
from webhook.cel.types import DYN
from webhook.cel.values import ABSENT, NONE, Optional, TypeValue

_BLOCKS: Final = 6
"""Nesting of blocks beyond which a node moves to a function of its own: CPython allows 20, and each takes up to two."""

ROOTS: Final = {"object": "object", "oldObject": "old_object", "params": "params", "request": "request"}
METHODS: Final = {
    "namespaceObject": "namespace",
    "authorizer": "authorizer",
    "authorizer.requestResource": "authorizer",
}
_LAZY: Final = ("or", "orValue")


class Context:
    """What all functions of a module share."""

    def __init__(self, module: Module, functions: Mapping[str, tuple[Overload, ...]]) -> None:
        self.module = module
        self.functions = functions
        self.variables: dict[str, tuple[int, str]] = {}
        """Position in the memo and function, of each variable defined so far."""
        self.metered = False
        """Whether functions count what they cost (`meter.py`)."""
        self.dispatchers: dict[Any, Callable[..., Any]] = {}
        for call in (fault, settle, force):
            module.helper(call)
        module.namespace |= {
            "FAULTS": FAULTS,
            "CelError": CelError,
            "UNSET": UNSET,
            "ABSENT": ABSENT,
            "NONE": NONE,
            "Optional": Optional,
        }

    def dispatcher(self, rows: tuple[Overload, ...]) -> Callable[..., Any]:
        """The choice among the overloads that the checker left open: one is only tested, several are all tried."""
        first = rows[0]
        if len(rows) == 1 and first.on_dyn is None:
            return self.dispatchers.setdefault(first, dispatcher(rows))
        key = (first.function, first.member)
        if key not in self.dispatchers:
            self.dispatchers[key] = dispatcher([row for row in self.functions[key[0]] if row.member == key[1]])
        return self.dispatchers[key]


def generate(context: Context, checked: Checked, facts: dict[int, Facts], prefix: str, *, exact: bool = False) -> str:
    """Writes the function of one expression into the module; returns its name. `exact`: without a fast form of what
    absorbs errors."""
    body = Body(context, checked, facts, {}, exact=exact)
    name = context.module.name(prefix)
    body.finish(name, body.value(checked.tree))
    return _caught(context.module, name, prefix) if facts[checked.tree.id].crashes else name


def _caught(module: Module, inner: str, prefix: str) -> str:
    """A function that ends the server's panics, which pass through the absorbing operators of `inner`."""
    name = module.name(prefix)
    module.namespace["Crash"] = Crash
    lines = [f"def {name}(S):", "    try:", f"        return {inner}(S)"]
    module.function([*lines, "    except Crash as crash:", "        raise CelError(crash.text) from None"])
    return name


class Body:
    """One function of the generated module."""

    def __init__(
        self, context: Context, checked: Checked, facts: dict[int, Facts], scope: dict[str, str], *, exact: bool
    ) -> None:
        self.context = context
        self.module = context.module
        self.checked = checked
        self.facts = facts
        self.scope = scope
        """CEL's local variables by name: what they are called in Python."""
        self.exact = exact
        """Whether absorbing operators are written as statements."""
        self.out = Writer()
        self.blocks = 0
        self.used: dict[str, None] = {}
        """Local variables of the enclosing function that this one needs."""
        self.own: set[str] = set()
        self.roots: dict[str, str] = {}

    def finish(self, name: str, result: str) -> None:
        parameters = ", ".join(["S", *self.used])
        head = [f"def {name}({parameters}):"]
        head += [f"    {python} = S.{attribute}" for attribute, python in self.roots.items()]
        self.module.function([*head, *self.out.lines, f"    return {result}"])

    # -- three ways to write a node

    def value(self, node: Node) -> str:
        """A Python expression for the node, to be used once; writes the statements it needs before."""
        facts = self.facts[node.id]
        if facts.pure and not facts.absorbs:
            return self.pure(node)
        if self.blocks > _BLOCKS:
            return self.outlined(node, exact=self.exact)
        if facts.pure and not self.exact:
            return self.guarded(node)
        if facts.exposed and isinstance(node, Call):
            return self.exposed(node)
        special = _STATEMENTS.get(node.__class__)
        if special is not None:
            return str(special(self, node))
        if isinstance(node, Call) and node.function in _LAZY and node.target is not None:
            return self.lazy(node)
        if isinstance(node, Index) and node.id not in self.checked.raw and self.may_be_none(node):
            return self.optional_index(node)
        result = self.out.temporary()
        arguments = operands(node, self.checked)
        inner = self.both(arguments) if self.crashes_second(node, arguments) else self.spilled(arguments)
        self.out.line(f"{result} = {self.combine(node, inner)}")
        return result

    def crashes_second(self, node: Node, arguments: tuple[Node, ...]) -> bool:
        """Whether the second of two operands may crash though the first has failed: the server evaluates both."""
        if not isinstance(node, Call) or len(arguments) != 2 or not self.facts[arguments[0].id].fails:
            return False
        return self.facts[arguments[1].id].crashes and not one_by_one(self.checked.overloads[node.id], 2)

    def both(self, arguments: tuple[Node, ...]) -> list[str]:
        """Two operands, the second evaluated first: its crash comes before an error of the first, its error after."""
        second, error = self.out.temporary(), self.out.temporary("x")
        self.out.line(f"{error} = None")
        with self.block("try:"):
            self.out.line(f"{second} = {self.value(arguments[1])}")
        with self.out.block("except FAULTS as error:"):
            self.out.line(f"{error} = fault(error)")
        first = self.out.temporary()
        self.out.line(f"{first} = {self.value(arguments[0])}")
        self.out.line(f"if {error} is not None: raise CelError({error})")
        return [first, second]

    def pure(self, node: Node) -> str:
        """The node as one Python expression."""
        facts = self.facts[node.id]
        if facts.constant is not NOT_CONSTANT:
            return self.constant(facts.constant)
        if isinstance(node, Bind):
            return self.bind_expression(node)
        if isinstance(node, Call) and node.function in ("orValue", "hasValue") and node.target is not None:
            path = calls.optional_path(self, node.target)
            if path is not None:
                found = calls.path_expression(self, self.pure(path[0]), path[1])
                if node.function == "hasValue":
                    return f"({found} is not ABSENT)"
                held = self.out.temporary()
                return f"({held} if ({held} := {found}) is not ABSENT else {self.pure(node.arguments[0])})"
        return self.combine(node, [self.pure(operand) for operand in operands(node, self.checked)])

    def guarded(self, node: Node) -> str:
        """The fast form, and the exact one for when that raises."""
        result = self.out.temporary()
        exact = self.outlined(node, exact=True)
        with self.out.block("try:"):
            self.out.line(f"{result} = {self.pure(node)}")
        with self.out.block("except FAULTS:"):
            self.out.line(f"{result} = {exact}")
        return result

    def outlined(self, node: Node, *, exact: bool) -> str:
        """A call of a new function that evaluates the node."""
        body = Body(self.context, self.checked, self.facts, dict(self.scope), exact=exact)
        name = self.module.name("h")
        body.finish(name, body.value(node))
        for used in body.used:
            self.use(used)
        return f"{name}({', '.join(['S', *body.used])})"

    def spilled(self, nodes: tuple[Node, ...]) -> list[str]:
        """Expressions for operands, evaluated in order though some need statements before them."""
        found: list[str] = []
        pending: list[int] = []
        for node in nodes:
            before = len(self.out.lines)
            text = self.value(node)
            if len(self.out.lines) > before:
                # Statements came in between: what was to be evaluated before them must be.
                for position in pending:
                    held = self.out.temporary()
                    self.out.insert(before, f"{held} = {found[position]}")
                    before += 1
                    found[position] = held
                pending = []
            if not text.isidentifier():
                pending.append(len(found))
            found.append(text)
        return found

    def condition(self, node: Node) -> str:
        """The node as a Python bool."""
        return self.as_bool(node, self.value(node))

    def as_bool(self, node: Node, text: str) -> str:
        if self.checked.type(node).kind == "bool":
            return text
        held = self.out.temporary()
        checked = f"{self.module.helper(runtime.truth)}({held})"
        return f"({held} if ({held} := {text}) is True or {held} is False else {checked})"

    # -- parts

    def constant(self, value: Any) -> str:
        if value is None or value is True or value is False:
            return str(value)
        return self.module.constant(value)

    def use(self, python: str) -> str:
        if python not in self.own:
            self.used[python] = None
        return python

    def local(self, name: str) -> str:
        """A new Python variable for a CEL variable. The caller restores the scope."""
        python = self.module.name("c")
        self.own.add(python)
        self.scope[name] = python
        return python

    def held(self, text: str) -> tuple[str, str]:
        """(the first use of an expression, which keeps its value; each later use)."""
        text = self.subscripted(text)
        if text.isidentifier():
            return text, text
        name = self.out.temporary()
        return f"({name} := {text})", name

    def root(self, name: str) -> str:
        if name in ROOTS:
            attribute = ROOTS[name]
            return self.roots.setdefault(attribute, f"o{len(self.roots) + 1}")
        if name in METHODS:
            return f"S.{METHODS[name]}()"
        if name in TYPES:
            return self.constant(TypeValue(TYPES[name].runtime().partition("(")[0]))
        return f"S.lookup({self.constant(name)})"

    def variable(self, name: str) -> str:
        position, function = self.context.variables[name]
        held = self.out.temporary()
        memo = self.roots.setdefault("memo", f"o{len(self.roots) + 1}")
        computed = f"force(S, {position}, {function}, {self.constant(name)})"
        return f"({held} if ({held} := {memo}[{position}]) is not UNSET else {computed})"

    # -- nodes as expressions, from their operands' expressions

    def combine(self, node: Node, inner: list[str]) -> str:
        name = self.checked.names.get(node.id)
        if name is not None:
            if name == LOCAL:
                return self.use(self.scope[name_of(node)])
            return self.root(name)
        facts = self.facts[node.id]
        if facts.constant is not NOT_CONSTANT:
            return self.constant(facts.constant)
        return str(_COMBINE[node.__class__](self, node, inner))

    def select(self, node: Select, inner: list[str]) -> str:
        type = self.checked.type(node.operand)
        if type == VARIABLES:
            found = self.variable(node.field)
            return f"Optional({found})" if node.optional else found
        field = self.constant(node.field)
        if node.id in self.checked.raw:
            return self.raw(node, inner[0], field)
        if node.optional or type.kind == "optional":
            return f"{self.module.helper(runtime.optional_select)}({inner[0]}, {field})"
        return f"{self.subscripted(inner[0])}[{field}]"

    def raw(self, node: Select | Index, operand: str, key: str) -> str:
        step = runtime.raw_optional_index if node.optional else runtime.raw_index
        return f"{self.module.helper(step)}({operand}, {key})"

    def subscripted(self, text: str) -> str:
        """An operand of a subscript: Python's compiler warns of `None[k1]`."""
        literals = {"None": None, "True": True, "False": False}
        return self.module.constant(literals[text]) if text in literals else text

    def has(self, node: Has, inner: list[str]) -> str:
        type = self.checked.type(node.operand)
        if type == VARIABLES:
            return f"({self.variable(node.field)}, True)[1]"
        field = self.constant(node.field)
        if node.id in self.checked.raw:
            return f"{self.module.helper(runtime.raw_has)}({inner[0]}, {field})"
        if node.id in self.checked.bare:
            return f"{self.module.helper(runtime.bare_has)}({inner[0]}, {field})"
        first, again = self.held(inner[0])
        # The condition is evaluated first, so it holds the value.
        general = f"{self.module.helper(runtime.has)}({again}, {field})"
        return f"({field} in {again} if {first}.__class__ is dict else {general})"

    def index(self, node: Index, inner: list[str]) -> str:
        if node.id in self.checked.raw:
            return self.raw(node, inner[0], inner[1])
        if node.optional or self.may_be_none(node):
            find = self.finder(node)
            if self.facts[node.key.id].constant is not NOT_CONSTANT:
                return f"{find}({inner[0]}, {inner[1]})"
            first, again = self.held(inner[0])
            return f"(NONE if {first} is NONE else {find}({again}, {inner[1]}))"
        operand, key = self.checked.type(node.operand), self.checked.type(node.key)
        if key.kind == "string" and operand.kind != "optional" and self.facts[node.key.id].constant is not NOT_CONSTANT:
            return f"{self.subscripted(inner[0])}[{inner[1]}]"
        constant = self.facts[node.key.id].constant
        general = self.module.helper(runtime.index)
        if constant.__class__ is int and constant >= 0 and operand.kind in ("dyn", "list"):
            first, again = self.held(inner[0])
            return f"({again}[{inner[1]}] if {first}.__class__ is list else {general}({again}, {inner[1]}))"
        return f"{general}({inner[0]}, {inner[1]})"

    def logic_expression(self, node: Logic, inner: list[str]) -> str:
        terms = [self.as_bool(term, text) for term, text in zip(node.terms, inner, strict=True)]
        return f"({(' and ' if node.is_and else ' or ').join(terms)})"

    def conditional_expression(self, node: Conditional, inner: list[str]) -> str:
        return f"({inner[1]} if {self.as_bool(node.condition, inner[0])} else {inner[2]})"

    def list_expression(self, node: ListLiteral, inner: list[str]) -> str:
        helper = self.module.helper(runtime.optional_element) if node.optional else ""
        parts = [f"*{helper}({text})" if at in node.optional else text for at, text in enumerate(inner)]
        return f"[{', '.join(parts)}]"

    def map_expression(self, node: MapLiteral, inner: list[str]) -> str:
        parts = []
        for at, entry in enumerate(node.entries):
            key, value = inner[2 * at], inner[2 * at + 1]
            if entry.optional:
                parts.append(f"*{self.module.helper(runtime.optional_entry)}({key}, {value})")
            elif may_not_hash(entry.key, self.checked):
                parts.append(f"{self.module.helper(runtime.entry)}({key}, {value})")
            else:
                parts.append(f"({key}, {value})")
        make = runtime.new_optional_map if any(entry.optional for entry in node.entries) else runtime.new_map
        return f"{self.module.helper(make)}([{', '.join(parts)}])"

    def bind_expression(self, node: Bind) -> str:
        before = dict(self.scope)
        content = self.content(node, self.pure(node.target))
        python = self.local(node.variable)
        body = self.pure(node.body)
        self.scope = before
        made = body if node.flat else f"Optional({body})"
        return f"({made} if ({python} := {content}) is not ABSENT else NONE)"

    def content(self, node: Bind, target: str) -> str:
        if self.checked.type(node.target).kind == "optional":
            return f"{target}.value"
        return f"{self.module.helper(runtime.content)}({target})"

    # -- nodes as statements

    def logic(self, node: Logic) -> str:
        """`while True` is left by `break` as soon as a term decides; an error waits until none has."""
        result, error = self.out.temporary(), self.out.temporary("x")
        decided = "False" if node.is_and else "True"
        absorbing = self.facts[node.id].fails
        if absorbing:
            self.out.line(f"{error} = None")
        with self.block("while True:"):
            for term in node.terms:
                fails = self.facts[term.id].fails or self.checked.type(term).kind != "bool"
                if fails:
                    with self.block("try:"):
                        self.decide(term, result, decided)
                    with self.out.block("except FAULTS as error:"):
                        self.out.line(f"{error} = {error} or fault(error)")
                else:
                    self.decide(term, result, decided)
            if absorbing:
                self.out.line(f"if {error} is not None: raise CelError({error})")
            self.out.line(f"{result} = {'True' if node.is_and else 'False'}")
            self.out.line("break")
        return result

    def decide(self, term: Node, result: str, decided: str) -> None:
        long = isinstance(term, Logic) and len(term.terms) == CHAIN
        condition = self.outlined(term, exact=self.exact) if long else self.condition(term)
        with self.out.block(f"if {'not ' if decided == 'False' else ''}{condition}:"):
            self.out.line(f"{result} = {decided}")
            self.out.line("break")

    def block(self, header: str) -> Any:
        return _Counted(self, header)

    def conditional(self, node: Conditional) -> str:
        result = self.out.temporary()
        condition = self.condition(node.condition)
        for header, branch in ((f"if {condition}:", node.then), ("else:", node.otherwise)):
            with self.block(header):
                self.out.line(f"{result} = {self.value(branch)}")
        return result

    def optional_index(self, node: Index) -> str:
        """`x[key]` of an optional: the key only if there is something."""
        result = self.out.temporary()
        self.out.line(f"{result} = {self.value(node.operand)}")
        with self.block(f"if {result} is not NONE:"):
            self.out.line(f"{result} = {self.finder(node)}({result}, {self.value(node.key)})")
        return result

    def may_be_none(self, node: Index) -> bool:
        """Whether the operand may be an optional without a value, in whose place no key is evaluated: no JSON is, and
        what an expression gives may be."""
        held = self.checked.type(node.operand)
        start = node.operand
        while isinstance(start, Select | Index) and start.id not in self.checked.names:
            start = start.operand
        return held.kind == "optional" or (held == DYN and not isinstance(start, Ident | Select))

    def finder(self, node: Index) -> str:
        optional = node.optional or self.checked.type(node.operand).kind == "optional"
        return self.module.helper(runtime.optional_index if optional else runtime.index)

    def lazy(self, node: Call) -> str:
        """`x.or(y)` and `x.orValue(y)`: y only if x is none."""
        assert node.target is not None  # noqa: S101 - receiver style only
        result = self.out.temporary()
        self.out.line(f"{result} = {self.value(node.target)}")
        content = self.out.temporary()
        self.out.line(f"{content} = {self.module.helper(runtime.content_of)}({result})")
        with self.block(f"if {content} is ABSENT:"):
            self.out.line(f"{result} = {self.value(node.arguments[0])}")
        if node.function == "orValue":
            with self.out.block("else:"):
                self.out.line(f"{result} = {content}")
        return result

    def bind(self, node: Bind) -> str:
        result = self.out.temporary()
        before = dict(self.scope)
        content = self.content(node, self.value(node.target))
        python = self.local(node.variable)
        self.out.line(f"{python} = {content}")
        with self.out.block(f"if {python} is ABSENT:"):
            self.out.line(f"{result} = NONE")
        with self.block("else:"):
            body = self.value(node.body)
            self.out.line(f"{result} = {body if node.flat else f'Optional({body})'}")
        self.scope = before
        return result

    def exposed(self, node: Call) -> str:
        """A call over whose operand the server panics if that has failed or is of another type. The server evaluates
        all operands first, so that one comes first here."""
        unguarded = self.checked.overloads[node.id][0].unguarded
        assert unguarded is not None  # noqa: S101 - exposed by it
        at, test = unguarded[0], self.module.helper(unguarded[1])
        arguments = operands(node, self.checked)
        held = self.out.temporary()
        with self.guarding(test):
            self.out.line(f"{held} = {self.value(arguments[at])}")
        self.out.line(f"{test}({held})")
        inner = self.spilled(tuple(each for position, each in enumerate(arguments) if position != at))
        result = self.out.temporary()
        self.out.line(f"{result} = {self.combine(node, [*inner[:at], held, *inner[at:]])}")
        return result

    @contextmanager
    def guarding(self, test: str) -> Iterator[None]:
        """Statements of which a failure is for `test` to tell."""
        with self.block("try:"):
            yield
        with self.out.block("except FAULTS:"):
            self.out.line(f"{test}({self.constant(FAILED)})")

    def sort_by(self, node: SortBy) -> str:
        rows = self.checked.overloads[node.id]
        if self.facts[node.id].exposed:
            assert rows[0].unguarded is not None  # noqa: S101 - exposed by it
            values, keys = self.out.temporary(), self.out.temporary()
            with self.guarding(self.module.helper(rows[0].unguarded[1])):
                self.out.line(f"{values} = {self.value(node.target)}")
                self.out.line(f"{keys} = {loops.fold_over(self, node.keys, values)}")
        else:
            values = self.out.temporary()
            self.out.line(f"{values} = {self.value(node.target)}")
            keys = loops.fold_over(self, node.keys, values)
        if cost_of("@sortByAssociatedKeys", rows) is not None:
            return calls.spent(self, rows, [values, keys])
        return f"{self.module.helper(self.context.dispatcher(rows))}({values}, {keys})"


class _Counted:
    """A block of the writer that counts towards CPython's limit."""

    def __init__(self, body: Body, header: str) -> None:
        self.body = body
        self.inner = body.out.block(header)

    def __enter__(self) -> None:
        self.body.blocks += 1
        self.inner.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.body.blocks -= 1
        self.inner.__exit__(None, None, None)


def name_of(node: Node) -> str:
    """The name of a local variable's node."""
    assert isinstance(node, Ident)  # noqa: S101 - only plain names are local
    return node.name


from webhook.cel import calls, loops  # noqa: E402 - the other parts of this module

_COMBINE: Final[dict[type, Any]] = {
    Select: Body.select,
    Has: Body.has,
    Index: Body.index,
    Call: calls.call,
    Logic: Body.logic_expression,
    Conditional: Body.conditional_expression,
    ListLiteral: Body.list_expression,
    MapLiteral: Body.map_expression,
    Literal: lambda body, node, _: body.constant(node.value),
}
_STATEMENTS: Final[dict[type, Any]] = {
    Logic: Body.logic,
    Conditional: Body.conditional,
    Bind: Body.bind,
    Fold: loops.fold,
    SortBy: Body.sort_by,
}
