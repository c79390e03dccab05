"""Choosing an overload at run time, for arguments whose static type leaves it open (cel-go `common/decls`).

Like the server's, the choice looks at the first element of a list and at the first entry of a map; empty containers
fit everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from webhook.cel.error import misfit, no_overload
from webhook.cel.overload import Overload
from webhook.cel.types import Type
from webhook.cel.values import ABSENT, Duration, Map, Optional, Timestamp, TypeValue, Uint, key_from, type_name

Test = Callable[[Any], bool]

_CLASSES: dict[str, type] = {
    "null": type(None),
    "bool": bool,
    "int": int,
    "uint": Uint,
    "double": float,
    "string": str,
    "bytes": bytes,
    "timestamp": Timestamp,
    "duration": Duration,
    "type": TypeValue,
}


def surely(found: Type, wanted: Type) -> bool:
    """Whether every value of static type `found` fits `wanted`, so that nothing is left to test at run time.

    Timestamps never do: the fields that the namespace declares as timestamps hold strings.
    """
    if wanted.kind in ("dyn", "parameter"):
        return True
    if found.kind != wanted.kind or found.name != wanted.name or found.kind == "timestamp":
        return False
    return all(map(surely, found.arguments, wanted.arguments)) and len(found.arguments) == len(wanted.arguments)


def dispatcher(rows: Sequence[Overload]) -> Callable[..., Any]:
    """A function that calls the first row its arguments fit. `rows` are of one function and one call style."""
    if rows[0].on_dyn is not None:
        return rows[0].on_dyn
    name, plain = rows[0].function, rows[0].misfit == "plain"
    tests = [(tuple(map(_test, row.arguments)), row.call) for row in rows if row.call is not None]

    def dispatch(*arguments: Any) -> Any:
        for fits, call in tests:
            if len(fits) == len(arguments) and all(
                fit(argument) for fit, argument in zip(fits, arguments, strict=True)
            ):
                return call(*arguments)
        if plain:
            raise no_overload()
        raise misfit(name, arguments)

    return dispatch


@cache
def _test(wanted: Type) -> Test:
    kind = wanted.kind
    if kind in ("dyn", "parameter"):
        return lambda _: True
    if kind in _CLASSES:
        cls = _CLASSES[kind]
        return lambda value: value.__class__ is cls
    inner = tuple(map(_test, wanted.arguments))
    if kind == "list":
        return lambda value: value.__class__ is list and (not value or inner[0](value[0]))
    if kind == "map":

        def fits_map(value: Any) -> bool:
            if value.__class__ is not dict and value.__class__ is not Map:
                return False
            return all(inner[0](key_from(key)) and inner[1](item) for key, item in list(value.items())[:1])

        return fits_map
    if kind == "optional":
        return lambda value: value.__class__ is Optional and (value.value is ABSENT or inner[0](value.value))
    return lambda value: type_name(value) == wanted.name
