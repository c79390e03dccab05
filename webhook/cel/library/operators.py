"""Operators: arithmetic with Go's overflow rules, equality, ordering, membership, indexing (`cel-go common/types`)."""

from __future__ import annotations

import math
from typing import Any, Final

from webhook.cel import equality, runtime
from webhook.cel.error import INTEGER_OVERFLOW, UNSIGNED_OVERFLOW, CelError, no_ability, no_overload
from webhook.cel.overload import Overload, row
from webhook.cel.values import INT_MAX, INT_MIN, UINT_MAX, Duration, Timestamp, Uint

TIMESTAMP_MIN: Final = -62_135_596_800 * 10**9
TIMESTAMP_MAX: Final = 253_402_300_799 * 10**9 + 999_999_999


def int64(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise CelError(INTEGER_OVERFLOW)


def uint64(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise CelError(UNSIGNED_OVERFLOW)


def duration(ns: int) -> Duration:
    return Duration(int64(ns))


def timestamp(ns: int, offset: int = 0) -> Timestamp:
    if TIMESTAMP_MIN <= ns <= TIMESTAMP_MAX:
        return Timestamp(ns, offset)
    raise CelError("timestamp overflow")


def add_int(one: int, other: int) -> int:
    total = one + other
    if INT_MIN <= total <= INT_MAX:
        return total
    raise CelError(INTEGER_OVERFLOW)


def add_uint(one: Uint, other: Uint) -> Uint:
    return uint64(int(one) + int(other))


def add_duration(one: Duration, other: Duration) -> Duration:
    return duration(one.ns + other.ns)


def add_timestamp(one: Timestamp, other: Duration) -> Timestamp:
    return timestamp(one.ns + other.ns, one.offset)


def add_to_timestamp(one: Duration, other: Timestamp) -> Timestamp:
    return add_timestamp(other, one)


def subtract_int(one: int, other: int) -> int:
    return int64(one - other)


def subtract_uint(one: Uint, other: Uint) -> Uint:
    return uint64(int(one) - int(other))


def subtract_duration(one: Duration, other: Duration) -> Duration:
    return duration(one.ns - other.ns)


def subtract_timestamps(one: Timestamp, other: Timestamp) -> Duration:
    return duration(one.ns - other.ns)


def subtract_from_timestamp(one: Timestamp, other: Duration) -> Timestamp:
    return timestamp(one.ns - other.ns, one.offset)


def multiply_int(one: int, other: int) -> int:
    return int64(one * other)


def multiply_uint(one: Uint, other: Uint) -> Uint:
    return uint64(int(one) * int(other))


def multiply_double(one: float, other: float) -> float:
    return one * other


def divide_int(one: int, other: int) -> int:
    if other == 0:
        raise CelError("division by zero")
    quotient = abs(one) // abs(other)
    return int64(quotient if (one < 0) == (other < 0) else -quotient)


def divide_uint(one: Uint, other: Uint) -> Uint:
    if other == 0:
        raise CelError("division by zero")
    return Uint(int(one) // int(other))


def divide_double(one: float, other: float) -> float:
    if other != 0.0:
        return one / other
    if one == 0.0 or one != one:
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1.0, other)


def modulo_int(one: int, other: int) -> int:
    if other == 0:
        raise CelError("modulus by zero")
    if one == INT_MIN and other == -1:
        raise CelError(INTEGER_OVERFLOW)
    rest = abs(one) % abs(other)
    return -rest if one < 0 else rest


def modulo_uint(one: Uint, other: Uint) -> Uint:
    if other == 0:
        raise CelError("modulus by zero")
    return Uint(int(one) % int(other))


def negate_int(value: int) -> int:
    return int64(-value)


def negate_double(value: float) -> float:
    return -value


def plus(one: Any, other: Any) -> Any:
    return one + other


def minus(one: Any, other: Any) -> Any:
    return one - other


# -- operands of type dyn: chosen by run-time class. A first operand without the ability is named, a second is not.

_ADD: Final = {
    (int, int): add_int,
    (Uint, Uint): add_uint,
    (float, float): plus,
    (str, str): plus,
    (bytes, bytes): plus,
    (list, list): plus,
    (Duration, Duration): add_duration,
    (Timestamp, Duration): add_timestamp,
    (Duration, Timestamp): add_to_timestamp,
}
_SUBTRACT: Final = {
    (int, int): subtract_int,
    (Uint, Uint): subtract_uint,
    (float, float): minus,
    (Duration, Duration): subtract_duration,
    (Timestamp, Timestamp): subtract_timestamps,
    (Timestamp, Duration): subtract_from_timestamp,
}
_MULTIPLY: Final = {(int, int): multiply_int, (Uint, Uint): multiply_uint, (float, float): multiply_double}
_DIVIDE: Final = {(int, int): divide_int, (Uint, Uint): divide_uint, (float, float): divide_double}
_MODULO: Final = {(int, int): modulo_int, (Uint, Uint): modulo_uint}


def _by_class(name: str, choices: dict[Any, Any]) -> Any:
    able = frozenset(first for first, _ in choices)

    def choose(one: Any, other: Any) -> Any:
        call = choices.get((one.__class__, other.__class__))
        if call is None:
            if one.__class__ in able:
                raise no_overload()
            raise no_ability(one, name)
        return call(one, other)

    return choose


def negate(value: Any) -> Any:
    if value.__class__ is int:
        return int64(-value)
    if value.__class__ is float:
        return -value
    if value.__class__ is Duration:
        return duration(-value.ns)
    if value.__class__ is bool:
        raise no_overload()
    raise no_ability(value, "-_")


def invert(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise no_overload()


def _rows(operator: str, on_dyn: Any, *signatures: tuple[str, Any, str]) -> tuple[Overload, ...]:
    return tuple(
        row(f"{operator}{signature}", call, template=template, on_dyn=on_dyn)
        for signature, call, template in signatures
    )


def _ordering(operator: str, symbol: str, on_dyn: Any) -> tuple[Overload, ...]:
    kinds = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
    plain = ("bool", "int", "uint", "string", "bytes")
    same = [
        row(
            f"{operator}({kind}, {kind}) -> bool",
            on_dyn,
            template=f"({{0}} {symbol} {{1}})" if kind in plain else "",
            on_dyn=on_dyn,
            total=kind in plain,
        )
        for kind in kinds
    ]
    numbers = ("int", "uint", "double")
    mixed = [
        row(f"{operator}({one}, {other}) -> bool", on_dyn, on_dyn=on_dyn)
        for one in numbers
        for other in numbers
        if one != other
    ]
    return (*same, *mixed)


OVERLOADS: Final = (
    row("_?_:_(bool, T, T) -> T", runtime.truth),
    row("!_(bool) -> bool", invert, template="(not {0})", total=True, on_dyn=invert),
    row("_==_(T, T) -> bool", equality.equals, total=True, on_dyn=equality.equals),
    row("_!=_(T, T) -> bool", equality.differs, total=True, on_dyn=equality.differs),
    *_ordering("_<_", "<", equality.less),
    *_ordering("_<=_", "<=", equality.less_equal),
    *_ordering("_>_", ">", equality.greater),
    *_ordering("_>=_", ">=", equality.greater_equal),
    *_rows(
        "_+_",
        _by_class("_+_", _ADD),
        ("(bytes, bytes) -> bytes", plus, "({0} + {1})"),
        ("(double, double) -> double", plus, "({0} + {1})"),
        ("(duration, duration) -> duration", add_duration, ""),
        ("(duration, timestamp) -> timestamp", add_to_timestamp, ""),
        ("(timestamp, duration) -> timestamp", add_timestamp, ""),
        ("(int, int) -> int", add_int, ""),
        ("(list(T), list(T)) -> list(T)", plus, "({0} + {1})"),
        ("(string, string) -> string", plus, "({0} + {1})"),
        ("(uint, uint) -> uint", add_uint, ""),
    ),
    *_rows(
        "_-_",
        _by_class("_-_", _SUBTRACT),
        ("(double, double) -> double", minus, "({0} - {1})"),
        ("(duration, duration) -> duration", subtract_duration, ""),
        ("(int, int) -> int", subtract_int, ""),
        ("(timestamp, duration) -> timestamp", subtract_from_timestamp, ""),
        ("(timestamp, timestamp) -> duration", subtract_timestamps, ""),
        ("(uint, uint) -> uint", subtract_uint, ""),
    ),
    *_rows(
        "_*_",
        _by_class("_*_", _MULTIPLY),
        ("(double, double) -> double", multiply_double, "({0} * {1})"),
        ("(int, int) -> int", multiply_int, ""),
        ("(uint, uint) -> uint", multiply_uint, ""),
    ),
    *_rows(
        "_/_",
        _by_class("_/_", _DIVIDE),
        ("(double, double) -> double", divide_double, ""),
        ("(int, int) -> int", divide_int, ""),
        ("(uint, uint) -> uint", divide_uint, ""),
    ),
    *_rows(
        "_%_",
        _by_class("_%_", _MODULO),
        ("(int, int) -> int", modulo_int, ""),
        ("(uint, uint) -> uint", modulo_uint, ""),
    ),
    *_rows("-_", negate, ("(double) -> double", negate_double, "(-{0})"), ("(int) -> int", negate_int, "")),
    row("@in(T, list(T)) -> bool", equality.member, on_dyn=equality.member, total=True),
    row("@in(K, map(K, V)) -> bool", equality.member, on_dyn=equality.member, total=True),
    row("_[_](list(T), int) -> T", runtime.index, on_dyn=runtime.index),
    row("_[_](map(K, V), K) -> V", runtime.index, on_dyn=runtime.index),
    row("_[_](optional_type(list(T)), int) -> optional_type(T)", runtime.optional_index, on_dyn=runtime.index),
    row("_[_](optional_type(map(K, V)), K) -> optional_type(V)", runtime.optional_index, on_dyn=runtime.index),
    row("_[?_](list(T), int) -> optional_type(T)", runtime.optional_index, on_dyn=runtime.optional_index),
    row(
        "_[?_](optional_type(list(T)), int) -> optional_type(T)",
        runtime.optional_index,
        on_dyn=runtime.optional_index,
    ),
    row("_[?_](map(K, V), K) -> optional_type(V)", runtime.optional_index, on_dyn=runtime.optional_index),
    row(
        "_[?_](optional_type(map(K, V)), K) -> optional_type(V)",
        runtime.optional_index,
        on_dyn=runtime.optional_index,
    ),
    row("cel.@mapInsert(map(K, V), K, V) -> map(K, V)", runtime.insert),
    row("cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)", runtime.insert_all),
)
