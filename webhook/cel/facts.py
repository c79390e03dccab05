"""What the generator must know of a node before it writes it: can it stand in one Python expression, can it fail,
does an operator inside it absorb errors, is it constant. One pass, bottom up; a table by node id.

Must not know Python source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from webhook.cel.check import Checked
from webhook.cel.dispatch import surely
from webhook.cel.env import VARIABLES
from webhook.cel.overload import Overload
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
    bare,
)

_DEPTH: Final = 24
"""Nesting beyond which an expression is cut into statements: CPython refuses 200 parentheses."""

_SIZE: Final = 500
"""Nodes beyond which it is cut: Python's compiler takes time that is quadratic in the jumps of a function."""

_KEYS: Final = ("bool", "int", "uint", "double", "string")
"""Types that are surely good map keys."""


_NO_KEYS: Final = (("bytes", ""), ("opaque", "kubernetes.Semver"), ("opaque", "kubernetes.NamedFormat"))
"""Types, by kind and name, of which no value can be hashed."""


_MAPS: Final = ("transformMap", "transformMapEntry")


class NotConstant:
    __slots__ = ()


NOT_CONSTANT: Final = NotConstant()


class Facts(msgspec.Struct, frozen=True):
    pure: bool
    """Whether it can be written as one Python expression."""
    fails: bool
    """Whether evaluating it may raise."""
    absorbs: bool
    """Whether a `&&` or `||` at or inside it may have an error to absorb, or something make a crash of it: an exposed
    call, a second operand."""
    exposed: bool
    """Whether it is a call over whose operand, if that is an error or of a wrong type, the server panics."""
    crashes: bool
    """Whether it, or something inside it, may raise `Crash`."""
    depth: int
    size: int
    """Nodes in the one Python expression."""
    constant: Any = NOT_CONSTANT


def children(node: Node) -> tuple[Node, ...]:
    """The operands, in order of evaluation."""
    found = _CHILDREN.get(node.__class__)
    return () if found is None else found(node)


def _entries(node: MapLiteral) -> tuple[Node, ...]:
    return tuple(part for entry in node.entries for part in (entry.key, entry.value))


def _folded(node: Fold) -> tuple[Node, ...]:
    return tuple(part for part in (node.range, node.predicate, node.body) if part is not None)


_CHILDREN: Final[dict[type, Callable[[Any], tuple[Node, ...]]]] = {
    Select: lambda node: (node.operand,),
    Has: lambda node: (node.operand,),
    Index: lambda node: (node.operand, node.key),
    Call: lambda node: node.arguments if node.target is None else (node.target, *node.arguments),
    Logic: lambda node: node.terms,
    Conditional: lambda node: (node.condition, node.then, node.otherwise),
    ListLiteral: lambda node: node.elements,
    MapLiteral: _entries,
    Message: lambda node: tuple(field.value for field in node.fields),
    Fold: _folded,
    Bind: lambda node: (node.target, node.body),
    SortBy: lambda node: (node.keys,),
}


def operands(node: Node, checked: Checked) -> tuple[Node, ...]:
    """The operands that are evaluated: `children` without namespaces."""
    if node.id in checked.names:
        return ()
    if isinstance(node, Call) and node.id in checked.static:
        return node.arguments
    return children(node)


def one_by_one(rows: tuple[Overload, ...], count: int) -> bool:
    """Whether the server evaluates none of a call's operands after a failed one. Of two it evaluates both, unless the
    checker left open which function that is, or the function is one that takes them as a list (`format`)."""
    name = rows[0].function
    return count > 2 or (count == 2 and (name == "format" or (len(rows) > 1 and name.isalpha())))


def in_list(node: Call, checked: Checked) -> bool:
    """Whether the checker knows that `in` looks into a list."""
    rows = checked.overloads[node.id]
    return len(rows) == 1 and rows[0].arguments[1].kind == "list"


def sure_row(node: Node, checked: Checked) -> Overload | None:
    """The one row that a call means, if its arguments' static types leave nothing to test."""
    rows = checked.overloads.get(node.id, ())
    if len(rows) != 1:
        return None
    found = [checked.type(operand) for operand in operands(node, checked)]
    return rows[0] if all(map(surely, found, rows[0].arguments)) else None


def analyse(checked: Checked, folded: dict[int, Any]) -> dict[int, Facts]:
    """Facts by node id. `folded` holds the constants that the folding stage found."""
    table: dict[int, Facts] = {}

    def visit(node: Node) -> Facts:
        inner = [visit(child) for child in operands(node, checked)]
        facts = table[node.id] = _facts(node, inner, checked, folded)
        return facts

    visit(checked.tree)
    return table


def _facts(node: Node, inner: list[Facts], checked: Checked, folded: dict[int, Any]) -> Facts:
    constant = folded.get(node.id, NOT_CONSTANT)
    if constant is not NOT_CONSTANT:
        return Facts(
            pure=True, fails=False, absorbs=False, exposed=False, crashes=False, depth=1, size=1, constant=constant
        )
    depth = 1 + max((facts.depth for facts in inner), default=0)
    size = 1 + sum(facts.size for facts in inner)
    fails = any(facts.fails for facts in inner) or _fails(node, checked)
    exposed = _exposed(node, inner, checked)
    absorbs = any(facts.absorbs for facts in inner) or (isinstance(node, Logic) and fails) or exposed
    absorbs = absorbs or crashes_second(node, inner, checked)
    crashes = any(facts.crashes for facts in inner) or exposed or _crashes(node, checked)
    fits = depth < _DEPTH and size < _SIZE
    pure = fits and not isinstance(node, Fold | SortBy) and all(facts.pure for facts in inner)
    return Facts(
        pure=pure,
        fails=fails,
        absorbs=absorbs,
        exposed=exposed,
        crashes=crashes,
        depth=depth if pure else 1,
        size=size if pure else 1,
        constant=NOT_CONSTANT,
    )


def _exposed(node: Node, inner: list[Facts], checked: Checked) -> bool:
    rows = checked.overloads.get(node.id, ())
    if len(rows) != 1 or rows[0].unguarded is None:
        return False
    at = rows[0].unguarded[0]
    wanted = rows[0].arguments[at].kind
    if isinstance(node, SortBy):
        return inner[0].fails
    return inner[at].fails or checked.type(operands(node, checked)[at]).kind != wanted


def crashes_second(node: Node, inner: list[Facts], checked: Checked) -> bool:
    """Whether the second of two operands may crash though the first has failed: the server evaluates both."""
    if not isinstance(node, Call) or len(inner) != 2 or not inner[0].fails:
        return False
    return inner[1].crashes and not one_by_one(checked.overloads[node.id], 2)


def _crashes(node: Node, checked: Checked) -> bool:
    """Whether a key may be none that can be hashed."""
    if isinstance(node, Call):
        return node.function == "@in" and hashes(node, checked)
    if isinstance(node, MapLiteral):
        return any(may_not_hash(entry.key, checked) for entry in node.entries)
    return isinstance(node, Fold) and node.macro == "transformMapEntry"


def hashes(node: Call, checked: Checked) -> bool:
    """Whether a value that may be no key is looked for in a map that the expression makes, or in a list of constants,
    of which the server makes a set."""
    value, container = node.arguments
    if isinstance(container, ListLiteral):
        constant = all(isinstance(each, Literal) and each.kind in _KEYS for each in container.elements)
        return constant and bool(container.elements) and _holds_no_key(value, checked)
    while isinstance(container, Call) and bare(container.function) == "dyn" and len(container.arguments) == 1:
        container = container.arguments[0]
    made = isinstance(container, MapLiteral) or (isinstance(container, Fold) and container.macro in _MAPS)
    return made and may_not_hash(value, checked)


def _holds_no_key(node: Node, checked: Checked) -> bool:
    """Whether it may be one of those that can not be hashed, which the expression must have made itself."""
    if checked.type(node).kind in _KEYS:
        return False

    def made(node: Node) -> bool:
        type = checked.type(node)
        return (type.kind, type.name) in _NO_KEYS or any(map(made, operands(node, checked)))

    return made(node)


def may_not_hash(key: Node, checked: Checked) -> bool:
    return checked.type(key).kind not in _KEYS


def _fails(node: Node, checked: Checked) -> bool:
    """Whether the node itself may raise."""
    match node:
        case MapLiteral():
            optional = any(entry.optional for entry in node.entries)
            return optional or any(checked.type(entry.key).kind not in _KEYS for entry in node.entries)
        case ListLiteral():
            return bool(node.optional)
        case Literal() | Ident():
            return False
        case Has():
            type = checked.type(node.operand)
            return type == VARIABLES or type.kind not in ("map", "object")
        case Logic():
            return any(checked.type(term).kind != "bool" for term in node.terms)
        case Conditional():
            return checked.type(node.condition).kind != "bool"
        case Bind():
            return checked.type(node.target).kind != "optional"
        case Call():
            if node.id in checked.typed:
                return True
            row = sure_row(node, checked)
            return row is None or not row.total
    return True
