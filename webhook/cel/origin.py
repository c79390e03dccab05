"""Where values come from: what Kubernetes 1.37 holds in Go's own types is compared, looked up in and searched otherwise
than JSON is (`typed.py`), and a list or map in Python does not tell. So the way to a value is followed, when an
expression is compiled, back to `object`, `oldObject`, `request` or `namespaceObject`.

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

_ROOTS: Final = {
    "object": Origin("object"),
    "oldObject": Origin("old_object"),
    "request": Origin("request"),
    "namespaceObject": Origin("namespace"),
}
_KEEPING: Final = ("dyn", "value", "optional.of", "of", "optional.ofNonZeroValue", "ofNonZeroValue")
"""Functions that give what they are given, perhaps as an optional."""
_SCALAR: Final = ("bool", "int", "uint", "double", "string", "bytes", "null", "timestamp", "duration", "type")


def trace_origins(checked: Checked, env: Env) -> tuple[dict[int, Typed], Origin | None]:
    """(what operations on Go's types are, by node id; where the value of the whole comes from)."""
    walker = _Walker(checked, env)
    whole = walker.visit(checked.tree)
    return walker.marked, whole


class _Walker:
    def __init__(self, checked: Checked, env: Env) -> None:
        self.checked = checked
        self.env = env
        self.marked: dict[int, Typed] = {}
        self.scopes: list[dict[str, Origin | None]] = []

    def visit(self, node: Node) -> Origin | None:
        """The node's origin, if it has one."""
        name = self.checked.names.get(node.id)
        if name == LOCAL and isinstance(node, Ident):
            return next((scope[node.name] for scope in reversed(self.scopes) if node.name in scope), None)
        if name is not None:
            return _ROOTS.get(name)
        match node:
            case Fold():
                return self.fold(node)
            case Bind():
                # The server makes a list of its own of an empty one.
                self.within({node.variable: _or_default(self.visit(node.target))}, node.body)
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
        if left is None or not left.holds or one in _SCALAR or other == "null":
            return
        if right is not None or node.function == "_==_":
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
                self.within(scope, part)
        return None

    def within(self, scope: dict[str, Origin | None], node: Node) -> None:
        self.scopes.append(scope)
        self.visit(node)
        self.scopes.pop()


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
