"""`size`, the lists library of CEL (version 3), sets, optionals."""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.equality import equal_or_error, equals, member
from webhook.cel.error import NO_OVERLOAD, CelError, must_be_int, must_be_list, no_ability, no_overload
from webhook.cel.overload import row
from webhook.cel.printed import printed
from webhook.cel.values import ABSENT, NONE, Duration, Map, Optional, Timestamp, TypeValue, Uint, type_name

_SIZED: Final = (str, bytes, list, dict, Map)
_RANGE_LIMIT: Final = 1_000_000


def size(value: Any) -> int:
    if value.__class__ in _SIZED:
        return len(value)
    raise no_ability(value, "size")


# -- lists


def cut(values: list[Any], start: int, end: int) -> list[Any]:
    where = f"cannot slice({start}, {end})"
    if start < 0 or end < 0:
        raise CelError(f"{where}, negative indexes not supported")
    if start > end:
        raise CelError(f"{where}, start index must be less than or equal to end index")
    if end > len(values):
        raise CelError(f"{where}, list is length {len(values)}")
    return values[start:end]


def flatten(values: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    flat = values
    for _ in range(depth):
        if not any(value.__class__ is list for value in flat):
            break
        flat = [inner for value in flat for inner in (value if value.__class__ is list else (value,))]
    return list(flat)


def flatten_dyn(values: Any, *depth: Any) -> list[Any]:
    if values.__class__ is not list:
        name = printed(TypeValue(type_name(values)))
        raise CelError(f"{NO_OVERLOAD}: {name}.flatten({', '.join(map(type_name, depth))})")
    if depth and depth[0].__class__ is not int:
        must_be_int(depth[0])
    return flatten(values, *depth)


def span(count: int) -> list[int]:
    if count < 0:
        raise CelError(f"lists.range: size must be non-negative, got {count}")
    if count > _RANGE_LIMIT:
        raise CelError(f"lists.range: size {count} exceeds maximum allowed ({_RANGE_LIMIT})")
    return list(range(count))


def backwards(values: list[Any]) -> list[Any]:
    return values[::-1]


def distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(equal_or_error(value, known) for known in found):
            found.append(value)
    return found


_COMPARABLE: Final = (int, Uint, float, bool, Duration, Timestamp, str, bytes)


def sort(values: Any) -> list[Any]:
    return _sorted(values, values, "sort")


def sort_by_keys(values: Any, keys: list[Any]) -> list[Any]:
    return _sorted(values, keys, "@sortByAssociatedKeys")


def _sorted(values: Any, keys: list[Any], name: str) -> list[Any]:
    if values.__class__ is not list:
        raise no_ability(values, name)
    if not values:
        return []
    kind = keys[0].__class__
    if kind not in _COMPARABLE:
        raise CelError("list elements must be comparable")
    if any(key.__class__ is not kind for key in keys):
        raise CelError("list elements must have the same type")
    return [values[at] for at in sorted(range(len(values)), key=keys.__getitem__)]


# -- sets


def sets_contains(values: list[Any], wanted: list[Any]) -> bool:
    return all(member(value, values) for value in wanted)


def sets_equivalent(one: list[Any], other: list[Any]) -> bool:
    return sets_contains(one, other) and sets_contains(other, one)


def sets_intersects(one: list[Any], other: list[Any]) -> bool:
    return any(member(value, other) for value in one)


# -- optionals

_ZEROS: Final = (0, 0.0, "", b"", Duration(0))
_ZERO_TIME: Final = -62_135_596_800 * 10**9


def non_zero(value: Any) -> Optional:
    zero = (
        value is None
        or value is False
        or (value.__class__ in (int, Uint, float, str, bytes, Duration) and value in _ZEROS)
        or (value.__class__ in (list, dict, Map) and not value)
        or (value.__class__ is Timestamp and value.ns == _ZERO_TIME)
    )
    return NONE if zero else Optional(value)


def none() -> Optional:
    return NONE


def held(value: Optional) -> Any:
    if value.value is ABSENT:
        raise CelError("optional.none() dereference")
    return value.value


def has_value(value: Optional) -> bool:
    return value.value is not ABSENT


def or_else(value: Any, other: Any) -> Any:
    if value.__class__ is not Optional:
        raise no_overload()
    return other if value.value is ABSENT else value


def or_value(value: Any, other: Any) -> Any:
    if value.__class__ is not Optional:
        raise no_overload()
    return other if value.value is ABSENT else value.value


def first(values: list[Any]) -> Optional:
    return Optional(values[0]) if values else NONE


def last(values: list[Any]) -> Optional:
    return Optional(values[-1]) if values else NONE


def unwrap(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value.__class__ is not Optional:
            raise CelError(f"value {printed(value)} is not optional")
        if value.value is not ABSENT:
            found.append(value.value)
    return found


_ELEMENTS: Final = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")

OVERLOADS: Final = (
    *(
        row(f"{signature} -> int", size, template="len({0})", on_dyn=size, total=True, likely=kind == "list(A)")
        for kind in ("bytes", "list(A)", "map(A, B)", "string")
        for signature in (f"size({kind})", f"{kind}.size()")
    ),
    row("list(T).slice(int, int) -> list(T)", cut, since="1.34"),
    row("list(list(T)).flatten() -> list(T)", flatten, on_dyn=flatten_dyn, since="1.34"),
    row(
        "list(dyn).flatten(int) -> list(dyn)",
        flatten,
        on_dyn=flatten_dyn,
        unguarded=(1, must_be_int),
        since="1.34",
    ),
    *(
        row(
            f"list({kind}).sort() -> list({kind})",
            sort,
            on_dyn=sort,
            unguarded=(0, must_be_list),
            since="1.34",
        )
        for kind in _ELEMENTS
    ),
    *(
        row(
            f"list(T).@sortByAssociatedKeys(list({kind})) -> list(T)",
            sort_by_keys,
            on_dyn=sort_by_keys,
            unguarded=(1, must_be_list),
            since="1.34",
        )
        for kind in _ELEMENTS
    ),
    row("lists.range(int) -> list(int)", span, since="1.34"),
    row("list(T).reverse() -> list(T)", backwards, since="1.34"),
    row("list(T).distinct() -> list(T)", distinct, unguarded=(0, must_be_list), since="1.34"),
    row("sets.contains(list(T), list(T)) -> bool", sets_contains),
    row("sets.equivalent(list(T), list(T)) -> bool", sets_equivalent),
    row("sets.intersects(list(T), list(T)) -> bool", sets_intersects),
    row("optional.of(V) -> optional_type(V)", Optional, total=True, on_dyn=Optional),
    row("optional.ofNonZeroValue(V) -> optional_type(V)", non_zero, total=True, on_dyn=non_zero),
    row("optional.none() -> optional_type(V)", none, total=True),
    row("optional_type(V).value() -> V", held),
    row("optional_type(V).hasValue() -> bool", has_value, total=True),
    row("optional_type(V).or(optional_type(V)) -> optional_type(V)", or_else, on_dyn=or_else),
    row("optional_type(V).orValue(V) -> V", or_value, on_dyn=or_value),
    row("list(V).first() -> optional_type(V)", first, total=True),
    row("list(V).last() -> optional_type(V)", last, total=True),
    row("optional.unwrap(list(optional_type(V))) -> list(V)", unwrap),
    row("list(optional_type(V)).unwrapOpt() -> list(V)", unwrap),
)

__all__ = ["OVERLOADS", "equal_or_error", "equals"]
