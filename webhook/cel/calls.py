"""Calls and operators as Python expressions: inline where the operands' types are known or quickly tested, else a
helper that looks at run time. The overload table says how; only what no row can say stands here.

Each function gets the node's operands as expressions, each to be used once and in order, and returns an expression
that delimits itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from webhook.cel import equality, runtime
from webhook.cel.dispatch import surely
from webhook.cel.env import TYPES
from webhook.cel.facts import NOT_CONSTANT, hashes, operands, sure_row
from webhook.cel.overload import Overload
from webhook.cel.patterns import compile_pattern
from webhook.cel.tariff import cost_of, steep
from webhook.cel.tree import Call, Node
from webhook.cel.typed import Comparison, NonZero, Search
from webhook.cel.values import type_name

if TYPE_CHECKING:
    from webhook.cel.codegen import Body

_PRIMITIVE: Final = ("null", "bool", "int", "uint", "double", "string", "bytes")
_EXACT: Final = 2**53
"""Below it, comparing a number with a constant exactly and as doubles is the same."""
_ORDER: Final = ("_<_", "_<=_", "_>_", "_>=_")
_TESTS: Final = {"string": "str", "int": "int", "bool": "bool", "double": "float", "bytes": "bytes", "list": "list"}
"""Types that one look at the class of a value can tell."""


def call(body: Body, node: Call, inner: list[str]) -> str:
    special = _SPECIAL.get(node.function)
    if special is not None:
        return str(special(body, node, inner))
    typed = body.checked.typed.get(node.id)
    if isinstance(typed, NonZero):
        return f"{body.module.helper(typed.of)}(S, {inner[0]})"
    arguments = operands(node, body.checked)
    rows = body.checked.overloads[node.id]
    inner, prepared = _prepared(body, rows[0], arguments, inner)
    if steep(rows, [body.facts[argument.id].constant is not NOT_CONSTANT for argument in arguments]):
        return spent(body, rows, inner)
    row = sure_row(node, body.checked)
    if row is not None:
        return _direct(body, row, inner, prepared)
    general = body.module.helper(body.context.dispatcher(rows))
    return _likely(body, rows, arguments, inner, prepared, general) or f"{general}({', '.join(inner)})"


def spent(body: Body, rows: tuple[Overload, ...], inner: list[str]) -> str:
    """A call that counts as what it costs."""
    price = body.module.constant(cost_of(rows[0].function, rows))
    return f"S.spend({price}, {body.module.helper(body.context.dispatcher(rows))}, {', '.join(inner)})"


def _prepared(body: Body, row: Overload, arguments: tuple[Node, ...], inner: list[str]) -> tuple[list[str], bool]:
    """The operands with a constant pattern compiled, and whether one was."""
    at = row.pattern
    if not at:
        return inner, False
    text = body.facts[arguments[at].id].constant
    if text.__class__ is not str:
        return inner, False
    return [*inner[:at], body.module.constant(compile_pattern(text)), *inner[at + 1 :]], True


def _direct(body: Body, row: Overload, inner: list[str], prepared: bool) -> str:
    """The row's own code."""
    template = row.prepared if prepared else row.template
    if template:
        return template.format(*inner)
    return f"{body.module.helper(row.call)}({', '.join(inner)})"


def _likely(
    body: Body, rows: tuple[Overload, ...], arguments: tuple[Node, ...], inner: list[str], prepared: bool, general: str
) -> str:
    """The likeliest row inline behind a look at one operand's class, the rest by `general`; empty if no row fits that.

    Only where the other operands can be named: they stand in both branches.
    """
    found = _likely_row(body, rows, arguments)
    if found is None:
        return ""
    row, at, test = found
    if not all(text.isidentifier() for other, text in enumerate(inner) if other != at):
        return ""
    first, again = body.held(inner[at])
    named = [*inner[:at], again, *inner[at + 1 :]]
    direct = _direct(body, row, named, prepared)
    return f"({direct} if {first}.__class__ is {test} else {general}({', '.join(named)}))"


def _likely_row(
    body: Body, rows: tuple[Overload, ...], arguments: tuple[Node, ...]
) -> tuple[Overload, int, str] | None:
    """(a row of which a single operand is uncertain, which one, the class that it should have)."""
    found = [body.checked.type(argument) for argument in arguments]
    for row in rows:
        unsure = [at for at, wanted in enumerate(row.arguments) if not surely(found[at], wanted)]
        if len(unsure) != 1 or not (len(rows) == 1 or row.likely):
            continue
        at = unsure[0]
        test = _TESTS.get(row.arguments[at].kind)
        open_list = test != "list" or row.arguments[at].arguments[0].kind in ("parameter", "dyn")
        if test is not None and open_list:
            return row, at, test
    return None


def likely(body: Body, node: Call, inner: list[str]) -> tuple[int, str, str] | None:
    """(which operand, its class, the call if it is of that class) where that is all that is uncertain. `inner` are
    names."""
    arguments = operands(node, body.checked)
    rows = body.checked.overloads[node.id]
    if node.function in _ORDER:
        kinds = [body.checked.type(argument).kind for argument in arguments]
        at = kinds.index("dyn") if "dyn" in kinds else 0
        if kinds[1 - at] not in ("int", "string") or sure_row(node, body.checked) is not None:
            return None
        return at, _TESTS[kinds[1 - at]], f"({inner[0]} {node.function.strip('_')} {inner[1]})"
    constant = [body.facts[argument.id].constant is not NOT_CONSTANT for argument in arguments]
    if node.function in _SPECIAL or steep(rows, constant) or sure_row(node, body.checked) is not None:
        return None
    found = _likely_row(body, rows, arguments)
    if found is None:
        return None
    row, at, test = found
    if row.function == "contains":  # not that of sets
        return at, test, f"({inner[1]} in {inner[0]})"
    prepared, is_prepared = _prepared(body, row, arguments, inner)
    return at, test, _direct(body, row, prepared, is_prepared)


def _ordering(body: Body, node: Call, inner: list[str]) -> str:
    """`< <= > >=`: inline for two values of one class."""
    one, other = node.arguments
    kinds = (body.checked.type(one).kind, body.checked.type(other).kind)
    rows = body.checked.overloads[node.id]
    row = sure_row(node, body.checked)
    if row is not None:
        return _direct(body, row, inner, False)
    general = body.module.helper(body.context.dispatcher(rows))
    symbol = node.function.strip("_")
    for at, kind in enumerate(kinds):
        if kind in ("int", "string") and kinds[1 - at] == "dyn" and inner[at].isidentifier():
            first, again = body.held(inner[1 - at])
            named = [again, inner[at]] if at else [inner[at], again]
            return (
                f"({named[0]} {symbol} {named[1]} if {first}.__class__ is {_TESTS[kind]} "
                f"else {general}({named[0]}, {named[1]}))"
            )
    assert rows  # noqa: S101 - the checker found one
    return f"{general}({', '.join(inner)})"


def _equality(body: Body, node: Call, inner: list[str]) -> str:
    """`==` and `!=` by static types; `equals` for what they do not tell."""
    positive = node.function == "_==_"
    kinds = [body.checked.type(argument).kind for argument in node.arguments]
    one, other = inner
    typed = body.checked.typed.get(node.id)
    if isinstance(typed, Comparison):
        return _typed_equality(body, typed, kinds, inner, positive=positive)
    symbol, identical = ("==", "is") if positive else ("!=", "is not")
    if "null" in kinds or ("bool" in kinds and "dyn" in kinds):
        return f"({one} {identical} {other})"
    if "string" in kinds or (kinds[0] == kinds[1] and kinds[0] in _PRIMITIVE):
        return f"({one} {symbol} {other})"
    for at, argument in enumerate(node.arguments):
        constant = body.facts[argument.id].constant
        exact = constant.__class__ in (int, float) and abs(constant) < _EXACT
        # 0 and 1 are equal to false and true in Python.
        if exact and constant not in (0, 1) and "dyn" in kinds:
            return f"({inner[1 - at]} {symbol} {inner[at]})"
    general = body.module.helper(equality.equals if positive else equality.differs)
    if kinds == ["dyn", "dyn"]:  # mostly texts
        first, again = body.held(one)
        if other.isidentifier():
            return f"({again} {symbol} {other} if {first}.__class__ is str else {general}({again}, {other}))"
    return f"{general}({one}, {other})"


def _typed_equality(body: Body, typed: Comparison, kinds: list[str], inner: list[str], *, positive: bool) -> str:
    """What is no list, map or struct is compared as usual: only where it differs it is looked at again."""
    compare = body.module.helper(typed.equals if positive else typed.differs)
    one, other = inner
    cls = _TESTS.get(kinds[1], "str" if kinds[1] == "dyn" else "")
    if not positive or not cls or cls == "list":
        return f"{compare}(S, {one}, {other})"
    first, again = body.held(one)
    if kinds[1] == "dyn":
        if not other.isidentifier():
            return f"{compare}(S, {one}, {other})"
        return f"({again} == {other} if {first}.__class__ is str else {compare}(S, {again}, {other}))"
    if kinds[1] not in ("string", "bool"):
        return f"{compare}(S, {one}, {other})"
    right, right_again = body.held(other)
    symbol = "is" if kinds[1] == "bool" else "=="
    return f"({first} {symbol} {right} or ({again}.__class__ is not {cls} and {compare}(S, {again}, {right_again})))"


def type_test(body: Body, node: Node) -> tuple[Node, str] | None:
    """(x, a template for what x is written as) of `type(x) == string` and the like, for which no type is made; `None`
    for anything else."""
    if not isinstance(node, Call) or node.function not in ("_==_", "_!=_"):
        return None
    positive = node.function == "_==_"
    for asked, type in (node.arguments, node.arguments[::-1]):
        known = TYPES.get(body.checked.names.get(type.id, ""))
        if isinstance(asked, Call) and asked.function == "type" and known is not None:
            name = known.outer
            if name in ("string", "bool"):
                return asked.arguments[0], f"({{}}.__class__ {'is' if positive else 'is not'} {_TESTS[name]})"
            named = body.module.helper(type_name)
            return asked.arguments[0], f"({named}({{}}) {'==' if positive else '!='} {body.module.constant(name)})"
    return None


def _membership(body: Body, node: Call, inner: list[str]) -> str:
    """`in`: Python's own for strings, which equal nothing but strings."""
    constant = body.facts[node.arguments[1].id].constant
    typed = body.checked.typed.get(node.id)
    if isinstance(typed, Search):
        return f"{body.module.helper(typed.found)}(S, {inner[0]}, {inner[1]})"
    text = body.checked.type(node.arguments[0]).kind == "string"
    hashed = hashes(node, body.checked)
    if not hashed and constant.__class__ is list and all(value.__class__ is str for value in constant):
        if text and len(constant) > 4:
            return f"({inner[0]} in {body.module.constant(frozenset(constant))})"
        return f"({inner[0]} in {inner[1]})"
    if not text:
        member = body.module.helper(equality.hashed_member if hashed else equality.member)
        return f"{member}({inner[0]}, {inner[1]})"
    return text_in(body, node, inner)


def text_in(body: Body, node: Call, inner: list[str], cls: str = "") -> str:
    """`in` of what is a text for certain; `cls`: the container's class, if that is known."""
    member = body.module.helper(equality.hashed_member if hashes(node, body.checked) else equality.member)
    if cls in ("dict", "list") or body.checked.type(node.arguments[1]).kind in ("list", "map"):
        return f"({inner[0]} in {inner[1]})"
    if not inner[0].isidentifier():
        return f"{member}({inner[0]}, {inner[1]})"
    first, again = body.held(inner[1])
    return (
        f"({inner[0]} in {again} if {first}.__class__ is dict or {again}.__class__ is list "
        f"else {member}({inner[0]}, {again}))"
    )


def _size(body: Body, node: Call, inner: list[str]) -> str:
    """`size`: Python's own of texts, lists and maps, of which one is as likely as another."""
    row = sure_row(node, body.checked)
    if row is not None:
        return _direct(body, row, inner, False)
    general = body.module.helper(body.context.dispatcher(body.checked.overloads[node.id]))
    first, again = body.held(inner[0])
    sized = f"{first}.__class__ is str or {again}.__class__ is list or {again}.__class__ is dict"
    return f"(len({again}) if {sized} else {general}({again}))"


def _or_value(body: Body, node: Call, inner: list[str]) -> str:
    """`x.or(y)` and `x.orValue(y)`: y only if x is none."""
    held, content = body.out.temporary(), body.out.temporary()
    found = content if node.function == "orValue" else held
    return (
        f"({found} if ({content} := {body.module.helper(runtime.content_of)}(({held} := {inner[0]}))) "
        f"is not ABSENT else {inner[1]})"
    )


_SPECIAL: Final[dict[str, Any]] = {
    **dict.fromkeys(("_==_", "_!=_"), _equality),
    **dict.fromkeys(_ORDER, _ordering),
    "@in": _membership,
    "size": _size,
    "or": _or_value,
    "orValue": _or_value,
}
