"""Numbers and other values as Go prints them, for `string()`, `format` and error texts."""

from __future__ import annotations

import math
from datetime import date
from typing import Final


def double_text(value: float) -> str:
    """Go's `%g`: shortest digits that round-trip; an exponent below -4 and from 6 digits up (`strconv/ftoa.go`)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, point = shortest(value)
    exponent = point - 1
    if exponent < -4 or exponent >= 6:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def shortest(value: float) -> tuple[str, str, int]:
    """Sign, significant digits and the position of the decimal point relative to them."""
    written = repr(value)
    sign = "-" if written.startswith("-") else ""
    mantissa, _, exponent = written.removeprefix("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    if not stripped:
        return sign, "0", 1
    point -= len(digits) - len(stripped)
    return sign, stripped.rstrip("0"), point


_QUOTED = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 92: "\\\\", 34: '\\"'}


def quote(text: str) -> str:
    """`strings.quote`: double quotes, and nothing escaped but what must be."""
    return f'"{text.translate(_QUOTED)}"'


def positional(value: float) -> str:
    """Go's `%f` with the shortest digits: never an exponent."""
    sign, digits, point = shortest(value)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}" if digits != "0" else f"{sign}0"
    if len(digits) <= point:
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def go_quote(text: str) -> str:
    """Go's `%q`: what does not print is escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _QUOTED:
        return _QUOTED[code]
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


EPOCH: Final = date(1970, 1, 1).toordinal()
"""The day from which timestamps count, counted from 0001-01-01 as 1."""
_CYCLE: Final = 146_097
"""Days in 400 years, after which the calendar repeats."""


def year_and_date(days: int) -> tuple[int, date]:
    """The year of a day since 1970-01-01, and the date of the same month and day in the first 400 years: Go's calendar
    has no end."""
    cycles, day = divmod(days + EPOCH - 1, _CYCLE)
    found = date.fromordinal(day + 1)
    return found.year + 400 * cycles, found


def day_text(days: int) -> str:
    """A day since 1970-01-01, as in `2024-02-29`."""
    year, day = year_and_date(days)
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{day.month:02d}-{day.day:02d}"
