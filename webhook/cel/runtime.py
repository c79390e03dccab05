"""What generated code calls besides library functions: selection, indexing, ranges, checks.

The common case of each stands inline in the generated code; here is what is left.
"""

from __future__ import annotations

from typing import Any

from webhook.cel.equality import keys
from webhook.cel.error import (
    CelError,
    list_index_type,
    misfit,
    no_overload,
    no_such_key,
    not_a_range,
    not_iterable,
    out_of_bounds,
    unhashable,
)
from webhook.cel.printed import printed
from webhook.cel.values import (
    ABSENT,
    NONE,
    HeldKey,
    Map,
    Optional,
    Uint,
    Unhashable,
    at_key,
    go_name,
    key_from,
    key_of,
    make_map,
)


class Unsure(TypeError):
    """Raised where the direct form leaves the decision to the exact one."""


_KEYS = (str, int, Uint, float, bool)


def select(operand: Any, field: str) -> Any:
    """`operand.field` where the operand may be an optional."""
    kind = operand.__class__
    if kind is dict or kind is Map:
        try:
            return operand[field]
        except KeyError:
            raise no_such_key(field) from None
    if kind is Optional:
        return optional_select(operand, field)
    if kind is list:
        raise list_index_type(field)
    raise no_such_key(field)


def index(operand: Any, key: Any) -> Any:
    """`operand[key]`."""
    found = _find(operand, key)
    if found is ABSENT:
        raise out_of_bounds(key) if operand.__class__ is list else no_such_key(key)
    return found


def _find(operand: Any, key: Any) -> Any:
    """The element, or `ABSENT`. Raises for keys that cannot be one."""
    kind = operand.__class__
    if kind is Optional:
        return NONE if operand.value is ABSENT else optional_index(operand, key)
    accept(key)
    if kind is list:
        position = key_of_list(key)
        return operand[position] if 0 <= position < len(operand) else ABSENT
    if kind is dict:
        return operand.get(key, ABSENT) if key.__class__ is str else ABSENT
    if kind is Map:
        return at_key(operand, key_of(key))
    return ABSENT


_LEAST, _MOST = -(2**63), 2**63 - 1


def key_of_list(key: Any) -> int:
    kind = key.__class__
    if kind is int:
        return int(key)
    if kind is float or kind is Uint:
        if (kind is Uint or key.is_integer()) and _LEAST <= key <= _MOST:
            return int(key)
        raise CelError(f"unsupported index value {printed(key)} in list")
    raise list_index_type(key)


def has(operand: Any, field: str) -> bool:
    """`has(operand.field)`."""
    kind = operand.__class__
    if kind is dict or kind is Map:
        return field in operand
    if kind is Optional:
        return operand.value is not ABSENT and has(operand.value, field)
    if kind is list:
        raise list_index_type(field)
    return False


def optional_select(operand: Any, field: str) -> Optional:
    """`operand.?field`, and `operand.field` on an optional."""
    kind = operand.__class__
    if kind is Optional:
        if operand.value is ABSENT:
            return NONE
        operand = operand.value
        kind = operand.__class__
    if kind is dict or kind is Map:
        found = operand.get(field, ABSENT)
        return NONE if found is ABSENT else Optional(found)
    if kind is list:
        raise list_index_type(field)
    return NONE


def raw_index(operand: Any, key: Any) -> Any:
    """`operand[key]` and `operand.key` where the server opens no optional (`Checked.raw`)."""
    if operand.__class__ is Optional:
        accept(key)
        raise no_such_key(key)
    return index(operand, key)


def raw_optional_index(operand: Any, key: Any) -> Optional:
    """`operand[?key]` and `operand.?key` where the server opens no optional."""
    if operand.__class__ is Optional:
        accept(key)
        return NONE
    return optional_index(operand, key)


def raw_has(operand: Any, field: str) -> bool:
    return operand.__class__ is not Optional and has(operand, field)


def bare_has(operand: Any, field: str) -> Any:
    """`has(operand.field)` as a branch of `c ? a : b`: of an optional the field itself (`Checked.bare`)."""
    return optional_select(operand, field) if operand.__class__ is Optional else has(operand, field)


def accept(key: Any) -> None:
    """Raises `CelError` for what is never a key."""
    if key.__class__ not in _KEYS:
        raise CelError(f"invalid qualifier type: {go_name(key)}")


def at_path(value: Any, *fields: str) -> Any:
    """The end of `value.?a.?b…`, or `ABSENT` where it breaks off."""
    for field in fields:
        if value.__class__ is dict:
            value = value.get(field, ABSENT)
            if value is ABSENT:
                return ABSENT
        else:
            value = optional_select(value, field).value
            if value is ABSENT:
                return ABSENT
    return value


def at_step(value: Any, field: str) -> Any:
    """One step of a path, on what is no plain map."""
    return optional_select(value, field).value


def optional_index(operand: Any, key: Any) -> Optional:
    """`operand[?key]`, and `operand[key]` on an optional."""
    if operand.__class__ is Optional:
        if operand.value is ABSENT:
            return NONE
        operand = operand.value
    if operand.__class__ is Optional:
        return NONE  # only one is opened
    found = _find(operand, key)
    return NONE if found is ABSENT else Optional(found)


def elements(value: Any) -> list[Any]:
    """What a comprehension with one variable runs over: a list, or a map's keys."""
    kind = value.__class__
    if kind is list:
        listed: list[Any] = value
        return listed
    if kind is dict or kind is Map:
        return keys(value)
    raise not_iterable(value)


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a comprehension with two variables runs over: index and element, or key and value."""
    kind = value.__class__
    if kind is list:
        return list(enumerate(value))
    if kind is dict:
        return list(value.items())
    if kind is Map:
        return [(key_from(key), element) for key, element in value.items()]
    raise not_a_range(value)


def insert(made: dict[Any, Any], key: Any, value: Any) -> None:
    """One entry of `transformMap` or `transformMapEntry`."""
    try:
        # A constant's key that can only be found by itself is the same one each time.
        key = key if key.__class__ is HeldKey else key_of(key)
        known = at_key(made, key) is not ABSENT
    except Unhashable as error:
        raise unhashable(error.value) from None
    if known:
        raise CelError(f"insert failed: key {printed(key_from(key))} already exists")
    made[key] = value


def insert_all(made: dict[Any, Any], entries: Any) -> None:
    if not isinstance(entries, dict):
        raise misfit("cel.@mapInsert", (made, entries))
    for key, value in entries.items():
        insert(made, key if key.__class__ is HeldKey else key_from(key), value)


def finish_map(made: dict[Any, Any]) -> dict[Any, Any]:
    """A map that was filled entry by entry, as `dict` when its keys allow."""
    return dict(made) if all(key.__class__ is str for key in made) else made


def content(value: Any) -> Any:
    """What the target of `optMap` holds, or `ABSENT`."""
    if value.__class__ is not Optional:
        raise misfit("hasValue", (value,))
    return value.value


def content_of(value: Any) -> Any:
    """What the receiver of `or` and `orValue` holds, or `ABSENT`."""
    if value.__class__ is not Optional:
        raise no_overload()
    return value.value


def optional_element(value: Any) -> list[Any]:
    """What `[?value]` adds."""
    if value.__class__ is not Optional:
        raise CelError(f"cannot initialize optional list element from non-optional value {printed(value)}")
    return [] if value.value is ABSENT else [value.value]


def entry(key: Any, value: Any) -> tuple[Any, Any]:
    """An entry of a map literal whose key may be none that can be hashed: the server panics before it evaluates the
    next one. Raises `Crash`."""
    try:
        key_of(key)
    except Unhashable as error:
        raise unhashable(error.value) from None
    return key, value


def new_map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map literal."""
    try:
        return make_map(pairs)
    except Unhashable as error:
        raise unhashable(error.value) from None


def new_optional_map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map literal with optional entries: one without a value takes away what stood there."""
    made: dict[Any, tuple[Any, Any]] = {}
    try:
        for key, value in pairs:
            if value is ABSENT:
                made.pop(key_of(key), None)
            else:
                made[key_of(key)] = (key, value)
    except Unhashable as error:
        raise unhashable(error.value) from None
    return make_map(made.values())


def optional_entry(key: Any, value: Any) -> list[tuple[Any, Any]]:
    """What `{?key: value}` adds, or takes away."""
    if value.__class__ is not Optional:
        shown = f"'{printed(key)}' from non-optional value {printed(value)}"
        raise CelError(f"cannot initialize optional entry {shown}")
    return [(key, value.value)]


def truth(value: Any) -> bool:
    """A condition that is not statically bool."""
    if value is True or value is False:
        return bool(value)
    raise no_overload()
