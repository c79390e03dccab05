"""Where values come from: what Kubernetes 1.37 holds in Go's own types is compared, looked up in and searched otherwise
than JSON is (`typed.py`), and a list or map in Python does not tell. So the way to a value is followed, when an
expression is compiled, back to `object`, `oldObject`, `request` or `namespaceObject`. So are libraries' own values
(quantities, addresses), which are compared with nothing else, be they declared as dyn.

Only operations for which there is a difference to make are marked: by the names of their fields most operands are texts
and numbers, and cost nothing.
"""

from __future__ import annotations

from typing import Final

from webhook.cel.builtin import Origin
from webhook.cel.check import LOCAL, Checked
from webhook.cel.env import VARIABLES, Env
from webhook.cel.facts import operands
from webhook.cel.tree import (
    Bind,
    Call,
    Conditional,
    Fold,
    Ident,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Node,
    Select,
    SortBy,
    bare,
)
from webhook.cel.typed import Comparison, NonZero, Search, Typed
from webhook.cel.types import Type

_ROOTS: Final = {
    "object": Origin("object"),
    "oldObject": Origin("old_object"),
    "request": Origin("request"),
    "namespaceObject": Origin("namespace"),
}
_KEEPING: Final = ("dyn", "value", "optional.of", "of", "optional.ofNonZeroValue", "ofNonZeroValue")
"""Functions that give what they are given, perhaps as an optional."""
_SCALAR: Final = ("bool", "int", "uint", "double", "string", "bytes", "null", "timestamp", "duration", "type")


def trace_origins(checked: Checked, env: Env) -> tuple[dict[int, Typed], Origin | None, bool]:
    """(what operations on Go's types are, by node id; where the value of the whole comes from; whether it may be, or
    hold, a library's own)."""
    walker = _Walker(checked, env)
    whole = walker.visit(checked.tree)
    return walker.marked, whole, checked.tree.id in walker.foreign


class _Walker:
    def __init__(self, checked: Checked, env: Env) -> None:
        self.checked = checked
        self.env = env
        self.marked: dict[int, Typed] = {}
        self.foreign: set[int] = set()
        """Nodes that may be, or hold, a library's own value."""
        self.scopes: list[dict[str, Origin | None]] = []
        self.strange: list[set[str]] = []
        """Local variables that may be such."""

    def visit(self, node: Node) -> Origin | None:
        """The node's origin, if it has one."""
        found = self.origin(node)
        if self.is_foreign(node):
            self.foreign.add(node.id)
        return found

    def is_foreign(self, node: Node) -> bool:
        name = self.checked.names.get(node.id)
        if name == LOCAL and isinstance(node, Ident):
            return any(node.name in names for names in self.strange)
        if name is not None:
            return False
        if isinstance(node, Select) and self.checked.type(node.operand) == VARIABLES:
            return node.field in self.env.held and self.env.held[node.field].foreign
        type = self.checked.type(node)
        if type.kind in _SCALAR:
            return False
        return _is_library(type) or any(each.id in self.foreign for each in operands(node, self.checked))

    def origin(self, node: Node) -> Origin | None:
        name = self.checked.names.get(node.id)
        if name == LOCAL and isinstance(node, Ident):
            return next((scope[node.name] for scope in reversed(self.scopes) if node.name in scope), None)
        if name is not None:
            return _ROOTS.get(name) if self.env.typed else None
        match node:
            case Fold():
                return self.fold(node)
            case Bind():
                # The server makes a list of its own of an empty one.
                self.within({node.variable: _or_default(self.visit(node.target))}, node.target, node.body)
                return None
            case SortBy():
                self.visit(node.keys)
                return None
        inner = [self.visit(operand) for operand in operands(node, self.checked)]
        match node:
            case Select(operand=operand, field=field):
                if self.checked.type(operand) == VARIABLES:
                    return self.env.held[field].origin if field in self.env.held else None
                return _part(inner[0], field)
            case Index(key=key):
                if isinstance(key, Literal) and key.value.__class__ is str:
                    return _part(inner[0], key.value)
                self.search(node, node.key, None, inner[0])
                return _element(inner[0])
            case Conditional(then=then, otherwise=otherwise):
                for each, other in ((then, inner[2]), (otherwise, inner[1])):
                    if isinstance(each, Literal) and each.value is None:
                        return other  # null has no parts and equals nothing
                return inner[1] if inner[1] == inner[2] else _either(inner[1], inner[2])
            case Call():
                return self.call(node, inner)
        return None

    def call(self, node: Call, inner: list[Origin | None]) -> Origin | None:
        if node.function in ("_==_", "_!=_"):
            self.compare(node, *inner)
        elif node.function == "@in":
            self.search(node, node.arguments[0], *inner)
        elif bare(node.function) in _KEEPING and len(inner) == 1:
            if bare(node.function).endswith("ofNonZeroValue") and inner[0] is not None and inner[0].holds:
                self.marked[node.id] = NonZero(inner[0])
            return inner[0]
        elif node.function in ("first", "last"):
            return _element(inner[0])
        elif node.function == "orValue" and inner[0] is not None:
            empty = node.arguments[0]
            if isinstance(empty, ListLiteral | MapLiteral):
                return _or_default(inner[0])
        return None

    def compare(self, node: Call, left: Origin | None, right: Origin | None) -> None:
        one, other = (self.checked.type(argument).kind for argument in node.arguments)
        if one in _SCALAR or other == "null":
            return
        if left is None or not left.holds:
            if node.function == "_==_" and node.arguments[0].id in self.foreign:
                self.marked[node.id] = Comparison(None, None)
        elif right is not None or node.function == "_==_":
            self.marked[node.id] = Comparison(left, right)

    def search(self, node: Node, key: Node, value: Origin | None, container: Origin | None) -> None:
        if container is not None and container.holds and self.checked.type(key).kind != "string":
            self.marked[node.id] = Search(value, container)

    def fold(self, node: Fold) -> Origin | None:
        over = self.visit(node.range)
        element = _element(over)
        scope = {node.variable: None, node.second: element} if node.second else {node.variable: element}
        for part in (node.predicate, node.body):
            if part is not None:
                self.within(scope, node.range, part)
        return None

    def within(self, scope: dict[str, Origin | None], held: Node, node: Node) -> None:
        """Visits what local variables are known in, which hold parts of a value."""
        self.scopes.append(scope)
        self.strange.append(set(scope) if held.id in self.foreign else set())
        self.visit(node)
        self.scopes.pop()
        self.strange.pop()


def _is_library(type: Type) -> bool:
    return type.kind == "opaque" or any(map(_is_library, type.arguments))


def _part(holder: Origin | None, field: str) -> Origin | None:
    """What a field holds. The request's options are JSON."""
    if holder is None or (holder == _ROOTS["request"] and field == "options"):
        return None
    return Origin(holder.root, field)


def _element(holder: Origin | None) -> Origin | None:
    if holder is None:
        return None
    return Origin(holder.root, "" if holder.element else holder.field, True)


def _or_default(origin: Origin | None) -> Origin | None:
    return None if origin is None else Origin(origin.root, origin.field, origin.element, True)


def _either(one: Origin | None, other: Origin | None) -> Origin | None:
    """One of two ways, of one object."""
    if one is None or other is None or one.root != other.root:
        return None
    return Origin(one.root)
