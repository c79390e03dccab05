"""The server's checks on literals (`cel-go cel/validator.go`, `ext/formatting.go`): durations, timestamps and patterns
that parse, format strings that fit their arguments, lists and maps of one type."""

from __future__ import annotations

from webhook.cel.check import Checked
from webhook.cel.check_macros import TWICE
from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.error import CelError
from webhook.cel.facts import children
from webhook.cel.fold import convert
from webhook.cel.library.format import format_type_problem, parse_format
from webhook.cel.patterns import compile_pattern
from webhook.cel.tree import Bind, Call, ListLiteral, Literal, MapLiteral, Node, bare
from webhook.cel.types import Type, equivalent, unwrapped

_MOMENTS = ("duration", "timestamp")


def validate(checked: Checked) -> None:
    """Raises `Failed` with all that the checks find."""
    problems: list[Diagnostic] = []
    unchecked: list[Diagnostic] = []

    def visit(node: Node, homogeneous: bool) -> None:
        match node:
            case Call(function="format", target=target) if target is not None:
                homogeneous = False
            case Call(function=function, arguments=(Literal() as argument,)) if bare(function) in _MOMENTS:
                if argument.kind in ("string", "int", "null") and _fails(checked, node, argument.value):
                    problems.append(Diagnostic(argument.at, f"invalid {bare(function)} argument"))
            case Call(function=("matches" | ".matches"), arguments=(pattern, *_)):
                # In `matches(text, pattern)` the server takes the text for the pattern.
                if isinstance(pattern, Literal) and pattern.kind == "string" and not _compiles(pattern.value):
                    problems.append(Diagnostic(pattern.at, "invalid matches argument"))
            case ListLiteral() if homogeneous:
                found = [(element, at in node.optional) for at, element in enumerate(node.elements)]
                problems.extend(_odd(checked, found)[:1])
                unchecked.extend(_unchecked(checked, found))
            case MapLiteral() if homogeneous:
                problems.extend(_odd(checked, [(entry.key, False) for entry in node.entries]))
                values = [(entry.value, entry.optional) for entry in node.entries]
                problems.extend(_odd(checked, values))
                unchecked.extend(_unchecked(checked, values))
        for child in children(node):
            if child.id in checked.types:
                before = len(problems)
                visit(child, homogeneous)
                if isinstance(node, Bind) and child is node.target:
                    # It stands twice in the server's expansion.
                    problems.extend(problems[before:][:TWICE])
        if isinstance(node, Call) and node.function == "format" and node.target is not None:
            _check_format(checked, node, problems)  # after those inside it

    visit(checked.tree, True)
    if problems or unchecked:
        raise Failed(problems or unchecked)


def _unchecked(checked: Checked, elements: list[tuple[Node, bool]]) -> list[Diagnostic]:
    """Where the server's own check of literals panics, so that no such policy can be created."""
    text = "an optional element of type 'dyn' cannot be checked by the API server"
    return [Diagnostic(each.at, text) for each, optional in elements if optional and checked.type(each).kind == "dyn"]


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


def _fails(checked: Checked, node: Node, value: object) -> bool:
    try:
        convert(checked, node, value)
    except CelError:
        return True
    return False


def _compiles(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
    except CelError:
        return False
    return True


def _unfit(checked: Checked, verb: str, node: Node) -> Diagnostic | None:
    """What does not fit the verb: an argument, or something in a literal of lists and maps."""
    problem = format_type_problem(verb, unwrapped(checked.type(node)))
    if problem:
        return Diagnostic(node.at, problem)
    inner = children(node) if verb == "s" and isinstance(node, ListLiteral | MapLiteral) else ()
    return next((found for each in inner if (found := _unfit(checked, verb, each)) is not None), None)


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
        for piece in parse_format(text.value, len(elements)):
            if isinstance(piece, str):
                continue
            problem = _unfit(checked, piece[0], elements[used])
            if problem is not None:
                problems.append(problem)
                return
            used += 1
    except CelError as error:
        problems.append(Diagnostic(node.at, error.text))
        return
    if used < len(elements):
        count = f"(expected {used}, got {len(elements)})"
        problems.append(Diagnostic(node.at, f"too many arguments supplied to string.format {count}"))
