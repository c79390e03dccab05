"""The macros: calls that bind a variable, and `has`. Recognised by name, call style and number of arguments;
with another number of arguments a name is an ordinary function (`cel-go parser/macro.go`, `ext/comprehensions.go`,
`ext/lists.go`, `cel/library.go`)."""

from __future__ import annotations

from collections.abc import Callable

from webhook.cel.tree import Bind, Fold, Has, Ident, Literal, MapLiteral, Message, Node, Select, SortBy

_ACCUMULATORS = ("__result__", "@result")


class MacroError(Exception):
    def __init__(self, at: int, message: str) -> None:
        self.at = at
        self.message = message
        super().__init__(message)


class Unreachable(MacroError):
    """The variable can not be reached by its name, which the server finds when it checks the macro's own steps."""


def expand_global(function: str, arguments: tuple[Node, ...], at: int, new_id: Callable[[], int]) -> Node | None:
    """The node of a macro in global style, or `None` if it is none."""
    if function != "has" or len(arguments) != 1:
        return None
    argument = arguments[0]
    if isinstance(argument, Has):
        return Has(id=new_id(), at=at, operand=argument.operand, field=argument.field)  # a step, for the server
    if not isinstance(argument, Select) or argument.optional:
        raise MacroError(argument.at, "invalid argument to has() macro")
    return Has(id=new_id(), at=at, operand=argument.operand, field=argument.field)


def expand_member(
    target: Node, function: str, arguments: tuple[Node, ...], at: int, new_id: Callable[[], int]
) -> Node | None:
    """The node of a macro in receiver style, or `None` if it is none."""
    count = len(arguments)
    match function, count:
        case (("all" | "exists" | "exists_one"), 2):
            macro = "existsOne" if function == "exists_one" else function
            name = _variable(arguments[0], "argument must be a simple name")
            return Fold(id=new_id(), at=at, macro=macro, range=target, variable=name, predicate=arguments[1])
        case ("map", 2) | ("map", 3) | ("filter", 2):
            name = _variable(arguments[0], "argument is not an identifier")
            body = arguments[-1] if function == "map" else None
            predicate = arguments[1] if function == "filter" or count == 3 else None
            if body is None:
                _reachable(arguments[0], arguments[0].at)
            return Fold(id=new_id(), at=at, macro=function, range=target, variable=name, predicate=predicate, body=body)
        case (("all" | "exists" | "exists_one" | "existsOne"), 3):
            first, second = _two(arguments)
            return Fold(
                id=new_id(),
                at=at,
                macro="existsOne" if function == "exists_one" else function,
                range=target,
                variable=first,
                second=second,
                predicate=arguments[2],
            )
        case (("transformList" | "transformMap" | "transformMapEntry"), (3 | 4)):
            first, second = _two(arguments)
            if function == "transformMap":
                _reachable(arguments[0], at)
            return Fold(
                id=new_id(),
                at=at,
                macro=function,
                range=target,
                variable=first,
                second=second,
                predicate=arguments[2] if count == 4 else None,
                body=arguments[-1],
            )
        case (("optMap" | "optFlatMap"), 2):
            argument = arguments[0]
            if not isinstance(argument, Ident):
                raise MacroError(argument.at, f"{function}() variable name must be a simple identifier")
            _reachable(argument, at)
            return Bind(
                id=new_id(),
                at=at,
                target=target,
                variable=argument.name,
                body=arguments[1],
                flat=function == "optFlatMap",
            )
        case "sortBy", 2:
            if isinstance(target, Literal | MapLiteral | Message):
                what = "a list, identifier, comprehension, call or select expression"
                raise MacroError(target.at, f"sortBy can only be applied to {what}")
            name = _variable(arguments[0], "argument is not an identifier")
            keys = Fold(id=new_id(), at=at, macro="map", range=target, variable=name, body=arguments[1])
            return SortBy(id=new_id(), at=at, target=target, keys=keys)
    return None


def _variable(argument: Node, otherwise: str) -> str:
    if not isinstance(argument, Ident):
        raise MacroError(argument.at, otherwise)
    if argument.name in _ACCUMULATORS:
        raise MacroError(argument.at, "iteration variable overwrites accumulator variable")
    return argument.name


def _reachable(argument: Node, at: int) -> None:
    """A variable may be called `.x`, and cannot be reached by that name: not by the macro's own steps either."""
    if isinstance(argument, Ident) and argument.name.startswith("."):
        raise Unreachable(at, f"undeclared reference to '{argument.name}' (in container '')")


def _two(arguments: tuple[Node, ...]) -> tuple[str, str]:
    first = _variable(arguments[0], "argument must be a simple name")
    second = _variable(arguments[1], "argument must be a simple name")
    if first == second:
        raise MacroError(arguments[1].at, f"duplicate variable name: {first}")
    return first, second
