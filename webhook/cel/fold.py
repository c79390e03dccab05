"""Constants that the server computes when it compiles.

Only what the server folds is folded: folding changes cost, and an error in a folded call, even in a dead branch, is
an error of the whole expression.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.check import LOCAL, Checked
from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.dispatch import dispatcher
from webhook.cel.env import ENUMS, NO_VALUES, TYPES
from webhook.cel.error import CelError
from webhook.cel.facts import NOT_CONSTANT, children, in_list
from webhook.cel.patterns import compile_pattern
from webhook.cel.tree import Bind, Call, Fold, Ident, Index, ListLiteral, Literal, MapLiteral, Node, Select, bare
from webhook.cel.types import Type
from webhook.cel.values import TypeValue, Uint, Unhashable, go_name, make_map

_CONVERSIONS: Final = frozenset(
    ("bool", "int", "uint", "double", "string", "bytes", "duration", "timestamp", "dyn", "type")
)
_SEARCHES: Final = ("find", "findAll", "matches")
_KEYS: Final = (bool, int, Uint, float, str)


def fold(checked: Checked) -> dict[int, Any]:
    """Values of what is computed at compile time, by node id: literals, lists and maps of constants, names of types,
    conversions of constants. Raises `Failed` where a conversion fails."""
    found: dict[int, Any] = {}

    def visit(node: Node) -> None:
        for child in children(node):
            if child.id in checked.types:
                visit(child)
        value = _constant(node, checked, found)
        if value is not NOT_CONSTANT:
            found[node.id] = value
        _instantiate(lambda: _look(node, checked, found))

    visit(checked.tree)
    return found


def _constant(node: Node, checked: Checked, found: dict[int, Any]) -> Any:
    """The node's value, if it is constant. `found` has those of its operands."""
    match node:
        case Literal():
            return node.value
        case Ident() | Select():
            name = checked.names.get(node.id, "")
            if name in ENUMS:
                return ENUMS[name]
            return TypeValue(TYPES[name].outer) if name in TYPES else NOT_CONSTANT
        case ListLiteral(optional=optional) if not optional:
            values = [found.get(element.id, NOT_CONSTANT) for element in node.elements]
            return NOT_CONSTANT if any(value is NOT_CONSTANT for value in values) else values
        case MapLiteral() if not any(entry.optional for entry in node.entries):
            if any(entry.key.id not in found or entry.value.id not in found for entry in node.entries):
                return NOT_CONSTANT
            pairs = [(found[entry.key.id], found[entry.value.id]) for entry in node.entries]
            return _instantiate(lambda: _constant_map(pairs))
        case Call(function="@in", arguments=(_, container)) if found.get(container.id) == []:
            return False if in_list(node, checked) else NOT_CONSTANT
        case Call(function=function, target=None, arguments=(argument,)) if bare(function) in _CONVERSIONS:
            if argument.id in found:
                return _instantiate(lambda: convert(checked, node, found[argument.id]))
    return NOT_CONSTANT


def _look(node: Node, checked: Checked, found: dict[int, Any]) -> None:
    """Raises `CelError` for constants that the server refuses where they stand."""
    match node:
        case Call(function=function) if bare(function) in _SEARCHES:
            pattern = found.get(node.arguments[0 if node.target is not None else -1].id)
            if pattern.__class__ is str:
                compile_pattern(pattern)
        case Ident() | Select() if checked.names.get(node.id) in NO_VALUES:
            _no_type(checked.type(node), checked.names[node.id])
        case Ident(name=name) if checked.names.get(node.id) == LOCAL and name not in TYPES:
            # Whatever is of type `type` is looked for among the types.
            _no_type(checked.type(node), name)
        case Fold(macro="filter", variable=name) if name not in TYPES:
            held = checked.type(node.range)
            if held.kind in ("list", "map"):
                _no_type(held.arguments[0], name)
        case Bind(variable=name) if name not in TYPES:
            held = checked.type(node.target)
            if held.kind == "optional":
                _no_type(held.arguments[0], name)
        case Index(key=key) if key.id in found and found[key.id].__class__ not in _KEYS:
            raise CelError(f"invalid qualifier type: {go_name(found[key.id])}")


def _constant_map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    try:
        return make_map(pairs)
    except Unhashable as error:
        # The server's own compiler panics here, so no such policy can be created.
        raise CelError(f"hash of unhashable type {go_name(error.value)}") from None


def _no_type(type: Type, name: str) -> None:
    if type.kind == "type":
        raise CelError(f"reference to undefined type: {name}")


def _instantiate(call: Any) -> Any:
    try:
        return call()
    except CelError as error:
        raise Failed([Diagnostic(-1, f"program instantiation failed: {error.text}")]) from None


def convert(checked: Checked, node: Node, value: Any) -> Any:
    """The result of a conversion of a constant. Raises `CelError`."""
    return dispatcher(checked.overloads[node.id])(value)
