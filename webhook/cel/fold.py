"""Constants that the server computes when it compiles.

Only what the server folds is folded: folding changes cost, and an error in a folded call, even in a dead branch, is
an error of the whole expression.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.check import Checked
from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.dispatch import dispatcher
from webhook.cel.error import CelError
from webhook.cel.facts import NOT_CONSTANT, children
from webhook.cel.patterns import compile_pattern
from webhook.cel.tree import Call, Index, Literal, Node
from webhook.cel.values import go_name

_CONVERSIONS: Final = frozenset(("bool", "int", "uint", "double", "string", "bytes", "duration", "timestamp"))
_SEARCHES: Final = ("find", "findAll")


def fold(checked: Checked) -> dict[int, Any]:
    """Values of calls that are computed at compile time, by node id. Raises `Failed` where one fails."""
    found: dict[int, Any] = {}

    def visit(node: Node) -> None:
        for child in children(node):
            if child.id in checked.types:
                visit(child)
        match node:
            case Call(function=function, target=None, arguments=(argument,)) if function in _CONVERSIONS:
                value = argument.value if isinstance(argument, Literal) else found.get(argument.id, NOT_CONSTANT)
                if value is not NOT_CONSTANT:
                    found[node.id] = _instantiate(lambda: convert(checked, node, value))
            case Call(function=function) if function in _SEARCHES and node.target is not None:
                pattern = node.arguments[0]
                if isinstance(pattern, Literal) and pattern.kind == "string":
                    _instantiate(lambda: compile_pattern(pattern.value))
            case Index(key=key) if (constant := _literal(key)) is not None:
                if constant.kind in ("null", "bytes"):
                    text = f"invalid qualifier type: {go_name(constant.value)}"
                    raise Failed([Diagnostic(-1, f"program instantiation failed: {text}")])

    visit(checked.tree)
    return found


def _literal(node: Node) -> Literal | None:
    if isinstance(node, Call) and node.function == "dyn" and node.target is None and len(node.arguments) == 1:
        node = node.arguments[0]
    return node if isinstance(node, Literal) else None


def _instantiate(call: Any) -> Any:
    try:
        return call()
    except CelError as error:
        raise Failed([Diagnostic(-1, f"program instantiation failed: {error.text}")]) from None


def convert(checked: Checked, node: Node, value: Any) -> Any:
    """The result of a conversion of a constant. Raises `CelError`."""
    return dispatcher(checked.overloads[node.id])(value)
