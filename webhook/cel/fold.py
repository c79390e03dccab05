"""Constants that the server computes when it compiles, and the checks it makes on literals then.

Only what the server folds is folded: folding changes cost, and an error in a folded call, even in a dead branch, is
an error of the whole expression.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.check import Checked
from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.dispatch import dispatcher
from webhook.cel.error import CelError
from webhook.cel.facts import children
from webhook.cel.patterns import compile_pattern
from webhook.cel.tree import Call, Index, ListLiteral, Literal, MapLiteral, Node
from webhook.cel.types import Type, equivalent
from webhook.cel.values import go_name

_CONVERSIONS: Final = frozenset("bool int uint double string bytes duration timestamp".split())
_PARSED: Final = ("duration", "timestamp")
_SEARCHES: Final = ("find", "findAll")


def validate(checked: Checked) -> None:
    """The server's checks on literals (`cel-go cel/validator.go`). Raises `Failed` with all that they find."""
    problems: list[Diagnostic] = []

    def visit(node: Node, homogeneous: bool) -> None:
        match node:
            case Call(function="format", target=target) if target is not None:
                homogeneous = False
            case Call(function=("duration" | "timestamp") as function, arguments=(Literal() as argument,)):
                if argument.kind == "string" and _fails(checked, node, argument.value):
                    problems.append(Diagnostic(argument.at, f"invalid {function} argument"))
            case Call(function="matches"):
                pattern = node.arguments[-1]
                if isinstance(pattern, Literal) and pattern.kind == "string" and not _compiles(pattern.value):
                    problems.append(Diagnostic(pattern.at, "invalid matches argument"))
            case ListLiteral() if homogeneous:
                found = [(element, at in node.optional) for at, element in enumerate(node.elements)]
                _same(checked, found, problems)
            case MapLiteral() if homogeneous:
                _same(checked, [(entry.key, False) for entry in node.entries], problems)
                _same(checked, [(entry.value, entry.optional) for entry in node.entries], problems)
        for child in children(node):
            if child.id in checked.types:
                visit(child, homogeneous)

    visit(checked.tree, True)
    if problems:
        raise Failed(problems)


def _same(checked: Checked, elements: list[tuple[Node, bool]], problems: list[Diagnostic]) -> None:
    """Reports the first element whose type is not that of the first one."""
    first: Type | None = None
    for element, optional in elements:
        type = checked.type(element)
        if optional and type.kind == "optional":
            type = type.arguments[0]
        if first is None:
            first = type
        elif not equivalent(first, type):
            problems.append(Diagnostic(element.at, f"expected type '{first}' but found '{type}'"))
            return


def fold(checked: Checked) -> dict[int, Any]:
    """Values of calls that are computed at compile time, by node id. Raises `Failed` where one fails."""
    found: dict[int, Any] = {}

    def visit(node: Node) -> None:
        for child in children(node):
            if child.id in checked.types:
                visit(child)
        match node:
            case Call(function=function, target=None, arguments=(argument,)) if function in _CONVERSIONS:
                if isinstance(argument, Literal) or argument.id in found:
                    value = found[argument.id] if argument.id in found else argument.value  # type: ignore[union-attr]
                    found[node.id] = _instantiate(lambda: _convert(checked, node, value))
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


def _convert(checked: Checked, node: Node, value: Any) -> Any:
    return dispatcher(checked.overloads[node.id])(value)


def _fails(checked: Checked, node: Node, value: Any) -> bool:
    try:
        _convert(checked, node, value)
    except CelError:
        return True
    return False


def _compiles(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
    except CelError:
        return False
    return True
