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
from webhook.cel.library.format import format_type_problem, parse_format
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
                _check_format(checked, node, problems)
            case Call(function=("duration" | "timestamp") as function, arguments=(Literal() as argument,)):
                if argument.kind in ("string", "int") and _fails(checked, node, argument.value):
                    problems.append(Diagnostic(argument.at, f"invalid {function} argument"))
            case Call(function="matches"):
                pattern = node.arguments[-1]
                if isinstance(pattern, Literal) and pattern.kind == "string" and not _compiles(pattern.value):
                    problems.append(Diagnostic(pattern.at, "invalid matches argument"))
            case ListLiteral() if homogeneous:
                found = [(element, at in node.optional) for at, element in enumerate(node.elements)]
                problems.extend(_odd(checked, found)[:1])
            case MapLiteral() if homogeneous:
                problems.extend(_odd(checked, [(entry.key, False) for entry in node.entries]))
                problems.extend(_odd(checked, [(entry.value, entry.optional) for entry in node.entries]))
        for child in children(node):
            if child.id in checked.types:
                visit(child, homogeneous)

    visit(checked.tree, True)
    if problems:
        raise Failed(problems)


def _odd(checked: Checked, elements: list[tuple[Node, bool]]) -> list[Diagnostic]:
    """The elements whose type is not that of the first one. Of a list the server reports one, of a map all."""
    problems: list[Diagnostic] = []
    first: Type | None = None
    for element, optional in elements:
        type = checked.type(element)
        if optional and type.kind == "optional":
            type = type.arguments[0]
        if first is None:
            first = type
        elif not equivalent(first, type):
            problems.append(Diagnostic(element.at, f"expected type '{first}' but found '{type}'"))
    return problems


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


def _check_format(checked: Checked, node: Call, problems: list[Diagnostic]) -> None:
    """A constant format string with a literal list: verbs, number and static types of the arguments."""
    text, arguments = node.target, node.arguments
    if not isinstance(text, Literal) or text.kind != "string" or len(arguments) != 1:
        return
    if not isinstance(arguments[0], ListLiteral):
        return
    elements = arguments[0].elements
    used = 0
    try:
        for piece in parse_format(text.value):
            if isinstance(piece, str):
                continue
            if used >= len(elements):
                raise CelError(f"index {used} out of range")
            type = checked.type(elements[used])
            problem = format_type_problem(piece[0], type)
            if problem:
                problems.append(Diagnostic(elements[used].at, problem))
                return
            used += 1
    except CelError as error:
        problems.append(Diagnostic(node.at, error.text))
        return
    if used < len(elements):
        count = f"(expected {used}, got {len(elements)})"
        problems.append(Diagnostic(node.at, f"too many arguments supplied to string.format {count}"))
