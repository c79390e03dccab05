"""Conversions: `int uint double string bytes bool dyn type` (`cel-go common/types`, texts and limits included)."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from webhook.cel.error import INTEGER_OVERFLOW, UNSIGNED_OVERFLOW, CelError, conversion
from webhook.cel.library.operators import uint64
from webhook.cel.overload import row
from webhook.cel.text import double_text
from webhook.cel.values import INT_MAX, INT_MIN, UINT_MAX, TypeValue, Uint, type_name

_INT: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_UINT: Final = re.compile(r"[0-9]+", re.ASCII)
_DOUBLE: Final = re.compile(
    r"[+-]?(?:(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:e[+-]?[0-9](?:_?[0-9])*)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
)
_HEX: Final = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.ASCII | re.IGNORECASE)
_DIGITS: Final = 25
"""More digits than any 64-bit number has, leading zeros apart."""
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def same(value: Any) -> Any:
    return value


def int_of_number(value: float) -> int:
    if value.__class__ is float:
        if not -(2.0**63) < value < 2.0**63:
            raise CelError(INTEGER_OVERFLOW)
        return int(value)
    if value > INT_MAX:
        raise CelError(INTEGER_OVERFLOW)
    return int(value)


def int_of_string(text: str) -> int:
    if _INT.fullmatch(text) and len(text.lstrip("+-").lstrip("0")) < _DIGITS:
        value = int(text)
        if INT_MIN <= value <= INT_MAX:
            return value
    raise conversion(text, "int")


def uint_of_number(value: float) -> Uint:
    if value.__class__ is float:
        if not 0.0 <= value < 2.0**64:
            raise CelError(UNSIGNED_OVERFLOW)
        return Uint(value)
    return uint64(int(value))


def uint_of_string(text: str) -> Uint:
    if _UINT.fullmatch(text) and len(text.lstrip("0")) < _DIGITS:
        value = int(text)
        if value <= UINT_MAX:
            return Uint(value)
    raise conversion(text, "uint")


def double_of_number(value: float) -> float:
    return float(value)


def double_of_string(text: str) -> float:
    value = math.nan
    if _DOUBLE.fullmatch(text):
        value = float(text)
    elif _HEX.fullmatch(text):
        try:
            value = float.fromhex(text)
        except OverflowError:
            raise conversion(text, "double") from None
    else:
        raise conversion(text, "double")
    if math.isinf(value) and "i" not in text.lower():
        raise conversion(text, "double")
    return value


def bool_of_string(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise conversion(text, "bool")


def string_of_bool(value: bool) -> str:
    return "true" if value else "false"


def string_of_int(value: int) -> str:
    return str(int(value))


def string_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None


def bytes_of_string(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def type_of(value: Any) -> TypeValue:
    return TypeValue(type_name(value))


OVERLOADS: Final = (
    row("dyn(A) -> dyn", same, template="{0}", total=True, on_dyn=same),
    row("type(A) -> type(A)", type_of, total=True, on_dyn=type_of),
    row("bool(bool) -> bool", same),
    row("bool(string) -> bool", bool_of_string),
    row("int(int) -> int", same),
    row("int(uint) -> int", int_of_number),
    row("int(double) -> int", int_of_number),
    row("int(string) -> int", int_of_string),
    row("uint(uint) -> uint", same),
    row("uint(int) -> uint", uint_of_number),
    row("uint(double) -> uint", uint_of_number),
    row("uint(string) -> uint", uint_of_string),
    row("double(double) -> double", same),
    row("double(int) -> double", double_of_number),
    row("double(uint) -> double", double_of_number),
    row("double(string) -> double", double_of_string),
    row("string(string) -> string", same, template="{0}", total=True, likely=True),
    row("string(bool) -> string", string_of_bool, total=True),
    row("string(int) -> string", string_of_int, total=True),
    row("string(uint) -> string", string_of_int, total=True),
    row("string(double) -> string", double_text, total=True),
    row("string(bytes) -> string", string_of_bytes),
    row("bytes(bytes) -> bytes", same),
    row("bytes(string) -> bytes", bytes_of_string, total=True),
)
