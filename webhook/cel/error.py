"""Run-time errors: the exception that carries one inside generated code, and every text that more than one place says.

Texts are the API server's own (cel-go `common/types`, `interpreter`). Outside generated code an error is a value,
`unit.EvalError`.
"""

from __future__ import annotations

from typing import Any

from webhook.cel.printed import printed
from webhook.cel.values import Duration, Timestamp, Uint, go_name, type_name

_RECEIVERS = (str, Timestamp, Duration)
_ADDED = (int, Uint, float, str, bytes, Timestamp, Duration)


class CelError(Exception):
    """A CEL error. Made anew each time it is raised: a stored exception's traceback would grow for ever."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Crash(Exception):
    """Here the server's own code panics, which it catches around the whole expression: an error that no operator
    absorbs. Generated functions let it pass and turn it into a `CelError` at their end."""

    def __init__(self, text: str) -> None:
        self.text = f"internal error: {text}"
        super().__init__(self.text)


def must_be_list(value: Any) -> None:
    """For what the server takes for a list without a look, be it a failure. Raises `Crash`."""
    if value.__class__ is not list:
        missing = "Contains" if value.__class__ in _ADDED else "Add"  # the first by name of those that it lacks
        raise Crash(f"interface conversion: {go_name(value)} is not traits.Lister: missing method {missing}")


def must_be_int(value: Any) -> None:
    """For what the server takes for an int without a look, be it a failure. Raises `Crash`."""
    if value.__class__ is not int:
        raise Crash(f"interface conversion: ref.Val is {go_name(value)}, not types.Int")


def unhashable(key: Any) -> Crash:
    return Crash(f"runtime error: hash of unhashable type {go_name(key)}")


NO_OVERLOAD = "no such overload"
INTEGER_OVERFLOW = "integer overflow"
UNSIGNED_OVERFLOW = "unsigned integer overflow"


def no_overload() -> CelError:
    return CelError(NO_OVERLOAD)


def no_ability(operand: Any, name: str) -> CelError:
    """For an operator whose first operand lacks the ability. Types that have methods of their own do not name it."""
    return CelError(NO_OVERLOAD if operand.__class__ in _RECEIVERS else f"{NO_OVERLOAD}: {name}")


def misfit(name: str, arguments: tuple[Any, ...]) -> CelError:
    """For functions that name the run-time types they were given."""
    return CelError(f"{NO_OVERLOAD}: {name}({', '.join(map(type_name, arguments))})")


def no_such_key(key: Any) -> CelError:
    return CelError(f"no such key: {printed(key)}")


def out_of_bounds(index: Any) -> CelError:
    return CelError(f"index out of bounds: {printed(index)}")


def list_index_type(key: Any) -> CelError:
    return CelError(f"unsupported index type '{type_name(key)}' in list")


def not_iterable(value: Any) -> CelError:
    return CelError(f"got '{go_name(value)}', expected iterable type")


def not_a_range(value: Any) -> CelError:
    return CelError(f"unsupported comprehension range type: {go_name(value)}")


def conversion(value: Any, to: str) -> CelError:
    return CelError(f"type conversion error from '{type_name(value)}' to '{to}'")
