"""From a *checked* tree to Python source. Names and overloads are resolved already (`check.py`), so nothing here
looks a name up or infers a type.

A node becomes one Python *expression* wherever it can. `&&` and `||` absorb errors, which Python's `and` and `or` do
not; so what holds one is written twice: fast, as a plain expression in a `try`, and exact, as statements in a function
of their own that runs only if the fast form raised. CEL is pure, so evaluating again is legal. (Of what is nothing but
a decision, `direct.py` writes the fast form.)

`has(object.spec) && object.spec.replicas > 5 ? 'many' : 'few'` becomes (`k1` to `k5` are `'spec'`, `'replicas'`, `5`
and the two texts):

    def e1(S, k4=k4, k1=k1, k3=k3, k2=k2, k5=k5, h1=h1):
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

from typing import Any, Final

from webhook.cel import calls, choices, crashes, literals, loops, runtime, steps
from webhook.cel.check import LOCAL, Checked
from webhook.cel.context import METHODS, ROOTS, Context
from webhook.cel.emit import Writer
from webhook.cel.env import TYPES
from webhook.cel.facts import NOT_CONSTANT, Facts, crashes_second, operands
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
from webhook.cel.values import TypeValue

_BLOCKS: Final = 6
"""Nesting of blocks beyond which a node moves to a function of its own: CPython allows 20, and each takes up to two."""

_LAZY: Final = ("or", "orValue")


def generate(context: Context, checked: Checked, facts: dict[int, Facts], prefix: str, *, exact: bool = False) -> str:
    """Writes the function of one expression into the module; returns its name. `exact`: without a fast form of what
    absorbs errors."""
    body = Body(context, checked, facts, {}, exact=exact)
    name = context.module.name(prefix)
    body.finish(name, body.value(checked.tree))
    return crashes.caught(context.module, name, prefix) if facts[checked.tree.id].crashes else name


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

    def opening(self, name: str) -> list[str]:
        """The function's head, and the lines that stand before all others."""
        parameters = ", ".join(["S", *self.used])
        return [f"def {name}({parameters}):", *(f"    {held} = S.{each}" for each, held in self.roots.items())]

    def finish(self, name: str, result: str) -> None:
        self.module.function([*self.opening(name), *self.out.lines, f"    return {result}"])

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
            return crashes.exposed(self, node)
        special = _STATEMENTS.get(node.__class__)
        if special is not None:
            return str(special(self, node))
        if isinstance(node, Call) and node.function in _LAZY and node.target is not None:
            return choices.lazy(self, node)
        if isinstance(node, Index) and node.id not in self.checked.raw and steps.may_be_none(self, node):
            return steps.optional_index(self, node)
        result = self.out.temporary()
        arguments = operands(node, self.checked)
        both = crashes_second(node, [self.facts[each.id] for each in arguments], self.checked)
        inner = crashes.both(self, arguments) if both else self.spilled(arguments)
        self.out.line(f"{result} = {self.combine(node, inner)}")
        return result

    def pure(self, node: Node) -> str:
        """The node as one Python expression."""
        facts = self.facts[node.id]
        if facts.constant is not NOT_CONSTANT:
            return self.constant(facts.constant)
        if isinstance(node, Bind):
            return choices.bind_expression(self, node)
        if isinstance(node, Call) and node.function in ("orValue", "hasValue") and node.target is not None:
            found = self.content(node.target)
            if found is not None:
                if node.function == "hasValue":
                    return f"({found} is not ABSENT)"
                return self.first(found, self.pure(node.arguments[0]))
        asked = calls.type_test(self, node)
        if asked is not None:
            return asked[1].format(self.pure(asked[0]))
        return self.combine(node, [self.pure(operand) for operand in operands(node, self.checked)])

    def content(self, node: Node) -> str | None:
        """What an optional holds, or `ABSENT`, without the optional itself; `None` for what is not made of paths."""
        path = steps.optional_path(self, node)
        if path is not None:
            return steps.path_expression(self, self.pure(path[0]), path[1])
        if isinstance(node, Call) and node.function == "or" and node.target is not None:
            one, other = self.content(node.target), self.content(node.arguments[0])
            if one is not None and other is not None:
                return self.first(one, other)
        return None

    def first(self, found: str, otherwise: str) -> str:
        """An expression that may be `ABSENT`, and another one for where it is."""
        held = self.out.temporary()
        return f"({held} if ({held} := {found}) is not ABSENT else {otherwise})"

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
            return self.head(ROOTS[name])
        if name in METHODS:
            return f"S.{METHODS[name]}()"
        if name in TYPES:
            return self.constant(TypeValue(TYPES[name].outer))
        return f"S.lookup({self.constant(name)})"

    def head(self, attribute: str) -> str:
        """The name of a local that holds something of the activation from the function's first line on."""
        return self.roots.setdefault(attribute, f"o{len(self.roots) + 1}")

    def variable(self, name: str, memo: str = "") -> str:
        position, function = self.context.variables[name]
        held = self.out.temporary()
        memo = memo or self.head("memo")
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

    def subscripted(self, text: str) -> str:
        """An operand of a subscript: Python's compiler warns of `None[k1]`."""
        written = {"None": None, "True": True, "False": False}
        return self.module.constant(written[text]) if text in written else text

    def block(self, header: str) -> Any:
        return _Counted(self, header)


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


_COMBINE: Final[dict[type, Any]] = {
    Select: steps.select,
    Has: steps.has,
    Index: steps.index,
    Call: calls.call,
    Logic: choices.logic_expression,
    Conditional: choices.conditional_expression,
    ListLiteral: literals.make_list,
    MapLiteral: literals.make_map,
    Message: literals.make_message,
    Literal: lambda body, node, _: body.constant(node.value),
}
_STATEMENTS: Final[dict[type, Any]] = {
    Logic: choices.logic,
    Conditional: choices.conditional,
    Bind: choices.bind,
    Fold: loops.fold,
    SortBy: loops.sort_by,
}
