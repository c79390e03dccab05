"""Constants that the server computes when it compiles.

Only what the server folds is folded: folding changes cost, and an error in a folded call, even in a dead branch, is
an error of the whole expression.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.check import Checked
from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.dispatch import dispatcher
from webhook.cel.env import TYPES
from webhook.cel.error import CelError
from webhook.cel.facts import NOT_CONSTANT, NotConstant, children
from webhook.cel.patterns import compile_pattern
from webhook.cel.tree import Call, Ident, Index, ListLiteral, Literal, MapLiteral, Node, Select
from webhook.cel.values import Map, TypeValue, Uint, go_name, make_map

_CONVERSIONS: Final = frozenset(
    ("bool", "int", "uint", "double", "string", "bytes", "duration", "timestamp", "dyn", "type")
)
_SEARCHES: Final = ("find", "findAll", "matches")
_KEYS: Final = (bool, int, Uint, float, str)
_NO_KEYS: Final = (NotConstant, list, dict, Map)


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
        _instantiate(lambda: _look(node, found))

    visit(checked.tree)
    return found


def _constant(node: Node, checked: Checked, found: dict[int, Any]) -> Any:
    """The node's value, if it is constant. `found` has those of its operands."""
    match node:
        case Literal():
            return node.value
        case Ident() | Select():
            name = checked.names.get(node.id, "")
            return TypeValue(TYPES[name].runtime().partition("(")[0]) if name in TYPES else NOT_CONSTANT
        case ListLiteral(optional=optional) if not optional:
            values = [found.get(element.id, NOT_CONSTANT) for element in node.elements]
            return NOT_CONSTANT if any(value is NOT_CONSTANT for value in values) else values
        case MapLiteral() if not any(entry.optional for entry in node.entries):
            pairs = [(found.get(entry.key.id, NOT_CONSTANT), found.get(entry.value.id)) for entry in node.entries]
            if any(
                key.__class__ in _NO_KEYS or entry.value.id not in found
                for (key, _), entry in zip(pairs, node.entries, strict=True)
            ):
                return NOT_CONSTANT
            return make_map(pairs)
        case Call(function="@in", arguments=(_, container)) if found.get(container.id) == []:
            return False
        case Call(function=function, target=None, arguments=(argument,)) if function in _CONVERSIONS:
            if argument.id in found:
                return _instantiate(lambda: convert(checked, node, found[argument.id]))
    return NOT_CONSTANT


def _look(node: Node, found: dict[int, Any]) -> None:
    """Raises `CelError` for constants that the server refuses where they stand."""
    match node:
        case Call(function=function) if function in _SEARCHES:
            pattern = found.get(node.arguments[0 if node.target is not None else -1].id)
            if pattern.__class__ is str:
                compile_pattern(pattern)
        case MapLiteral() if any(found.get(entry.key.id).__class__ is bytes for entry in node.entries):
            # The server's own compiler panics here, so no such policy can be created.
            raise CelError("hash of unhashable type types.Bytes")
        case Index(key=key) if key.id in found and found[key.id].__class__ not in _KEYS:
            raise CelError(f"invalid qualifier type: {go_name(found[key.id])}")


def _instantiate(call: Any) -> Any:
    try:
        return call()
    except CelError as error:
        raise Failed([Diagnostic(-1, f"program instantiation failed: {error.text}")]) from None


def convert(checked: Checked, node: Node, value: Any) -> Any:
    """The result of a conversion of a constant. Raises `CelError`."""
    return dispatcher(checked.overloads[node.id])(value)
