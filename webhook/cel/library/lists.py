"""Kubernetes' lists library (`apiserver pkg/cel/library/lists.go`): order, sums, extremes, positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from webhook.cel import equality
from webhook.cel.error import CelError, misfit, no_overload
from webhook.cel.library import strings
from webhook.cel.library.operators import OVERLOADS as OPERATORS
from webhook.cel.overload import row
from webhook.cel.values import Duration, Timestamp, Uint

_ADD: Final[Any] = next(overload.on_dyn for overload in OPERATORS if overload.function == "_+_")


_ORDERED: Final = (int, Uint, float, bool, Duration, Timestamp, str, bytes)


def is_sorted(values: list[Any]) -> bool:
    for at, value in enumerate(values):
        if value.__class__ not in _ORDERED:
            raise no_overload()
        if at and _beyond(values[at - 1], value, equality.greater):
            return False
    return True


def _beyond(one: Any, other: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """The server looks at the order of two elements and not at an error of comparing them."""
    try:
        return compare(one, other)
    except CelError:
        return False


def _total(zero: Any) -> Callable[[list[Any]], Any]:
    def total(values: list[Any]) -> Any:
        made = zero
        for value in values:
            made = _ADD(made, value)
        return made

    return total


def lowest(values: list[Any]) -> Any:
    return _extreme(values, "min", equality.less)


def highest(values: list[Any]) -> Any:
    return _extreme(values, "max", equality.greater)


def _extreme(values: list[Any], name: str, better: Callable[[Any, Any], bool]) -> Any:
    if not values:
        raise CelError(f"{name} called on empty list")
    found = values[0]
    for value in values:
        if value.__class__ not in _ORDERED:
            raise no_overload()
        if _beyond(value, found, better):
            found = value
    return found


def position(values: list[Any], wanted: Any) -> int:
    for at, value in enumerate(values):
        if equality.equal_or_error(value, wanted):
            return at
    return -1


def last_position(values: list[Any], wanted: Any) -> int:
    for at in range(len(values) - 1, -1, -1):
        if equality.equal_or_error(values[at], wanted):
            return at
    return -1


def _either(name: str, on_list: Callable[..., int], on_string: Callable[..., int]) -> Callable[..., int]:
    """`indexOf` and `lastIndexOf` exist for lists and strings: the receiver decides."""

    def choose(*arguments: Any) -> int:
        receiver, wanted, *rest = arguments
        if receiver.__class__ is list and not rest:
            return on_list(receiver, wanted)
        if receiver.__class__ is str and wanted.__class__ is str and all(one.__class__ is int for one in rest):
            return on_string(receiver, wanted, *rest)
        raise misfit(name, arguments)

    return choose


index_of = _either("indexOf", position, strings.index_of)
last_index_of = _either("lastIndexOf", last_position, strings.last_index_of)


def includes(container: Any, wanted: Any) -> bool:
    if container.__class__ is list:
        return any(equality.equal_or_error(value, wanted) for value in container)
    return equality.equal_or_error(container, wanted)


_COMPARABLE: Final = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_ZEROS: Final = {"int": 0, "uint": Uint(0), "double": 0.0, "duration": Duration(0)}

OVERLOADS: Final = (
    *(row(f"list({kind}).isSorted() -> bool", is_sorted) for kind in _COMPARABLE),
    *(row(f"list({kind}).sum() -> {kind}", _total(zero)) for kind, zero in _ZEROS.items()),
    *(row(f"list({kind}).min() -> {kind}", lowest) for kind in _COMPARABLE),
    *(row(f"list({kind}).max() -> {kind}", highest) for kind in _COMPARABLE),
    row("string.indexOf(string) -> int", index_of, on_dyn=index_of),
    row("string.indexOf(string, int) -> int", index_of, on_dyn=index_of),
    row("string.lastIndexOf(string) -> int", last_index_of, on_dyn=last_index_of),
    row("string.lastIndexOf(string, int) -> int", last_index_of, on_dyn=last_index_of),
    row("list(T).indexOf(T) -> int", position, on_dyn=index_of),
    row("list(T).lastIndexOf(T) -> int", last_position, on_dyn=last_index_of),
    row("dyn.includes(dyn) -> bool", includes, on_dyn=includes, since="1.37"),
)
