"""Timestamps and durations: conversions and accessors, with Go's parsing rules."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from webhook.cel.error import CelError, conversion
from webhook.cel.library.operators import TIMESTAMP_MAX, TIMESTAMP_MIN, timestamp
from webhook.cel.overload import row
from webhook.cel.text import EPOCH, day_text, positional, year_and_date
from webhook.cel.values import INT_MAX, INT_MIN, Duration, Timestamp

SECOND: Final = 10**9
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)
_MOMENT: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400


def duration_of_string(text: str) -> Duration:
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > 1000:
        raise conversion(text, "google.protobuf.Duration")
    total = 0
    for whole, fraction, unit in _PART.findall(match.group(2)):
        if not whole and not fraction:
            raise conversion(text, "google.protobuf.Duration")
        total += int(whole or 0) * _UNITS[unit]
        if fraction:
            total += int(Decimal("0." + fraction) * _UNITS[unit])
    if match.group(1) == "-":
        total = -total
    if not INT_MIN <= total <= INT_MAX:
        raise conversion(text, "google.protobuf.Duration")
    return Duration(total)


def timestamp_of_string(text: str) -> Timestamp:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise conversion(text, "google.protobuf.Timestamp")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    offset = 0
    if sign:
        if int(zone_hours) > 24 or int(zone_minutes) > 60:  # so Go has it
            raise conversion(text, "google.protobuf.Timestamp")
        offset = (int(zone_hours) * 3600 + int(zone_minutes) * 60) * (-1 if sign == "-" else 1)
    try:
        days = date(year, month, day).toordinal() - EPOCH
    except ValueError:
        raise conversion(text, "google.protobuf.Timestamp") from None
    if hour > 23 or minute > 59 or second > 59:
        raise conversion(text, "google.protobuf.Timestamp")
    seconds = days * _DAY + hour * 3600 + minute * 60 + second - offset
    ns = seconds * SECOND + int((fraction or "0")[:9].ljust(9, "0"))
    if not TIMESTAMP_MIN <= ns <= TIMESTAMP_MAX:
        raise conversion(text, "google.protobuf.Timestamp")
    return Timestamp(ns, offset)


def timestamp_of_int(seconds: int) -> Timestamp:
    return timestamp(seconds * SECOND)


def duration_text(value: Duration) -> str:
    """Decimal seconds, as Go prints a float64 without exponent."""
    seconds, rest = divmod(abs(value.ns), SECOND)
    number = float(seconds) + rest / 1e9
    return f"{positional(-number if value.ns < 0 else number)}s"


def timestamp_text(value: Timestamp) -> str:
    """RFC 3339 in the offset that it was written in, trailing zeros of the fraction removed."""
    seconds, ns = divmod(value.ns, SECOND)
    days, rest = divmod(seconds + value.offset, _DAY)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    zone = "Z"
    if value.offset:
        minutes = abs(value.offset) // 60
        zone = f"{'-' if value.offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{day_text(days)}T{clock}{fraction}{zone}"


def int_of_timestamp(value: Timestamp) -> int:
    return value.ns // SECOND


def no_duration_of_int(value: int) -> Duration:
    """Declared up to 1.36, and never worked."""
    raise conversion(value, "google.protobuf.Duration")


def int_of_duration(value: Duration) -> int:
    return value.ns


def same(value: Any) -> Any:
    return value


# -- accessors


_LONGEST: Final = 255
"""Bytes of a file's name: the server looks zones up in files."""


@lru_cache(maxsize=256)
def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    if name in ("", "UTC", "Local"):
        return None  # an API server's own zone is UTC
    if ".." in name or name.startswith(("/", "\\")):
        raise CelError("time: invalid location name")
    if "\0" in name:
        raise CelError("invalid argument")
    if any(len(part.encode("utf-8", "replace")) > _LONGEST for part in name.split("/")):
        raise CelError("file name too long")
    if re.fullmatch(r"[A-Za-z0-9_+\-/]+", name):
        with suppress(ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            return zoneinfo.ZoneInfo(name)
    raise CelError(f"unknown time zone {name}")


def _offset(value: Timestamp, zone: str) -> int:
    """Seconds east of UTC: an IANA name, or hours and minutes."""
    hours, colon, minutes = zone.partition(":")
    if colon:
        for part in (hours, minutes):
            if not re.fullmatch(r"[+-]?[0-9]+", part, re.ASCII) or len(part) > 9:
                raise CelError(f'strconv.Atoi: parsing "{part}": invalid syntax')
        sign = -1 if hours.startswith("-") else 1
        return int(hours) * 3600 + sign * int(minutes) * 60
    found = _zone(zone)
    if found is None:
        return 0
    # A day inside the ends of Python's calendar, where no zone changes its offset.
    seconds = min(max(value.ns, TIMESTAMP_MIN + 2 * _DAY * SECOND), TIMESTAMP_MAX - 2 * _DAY * SECOND) // SECOND
    moment = (_MOMENT + timedelta(seconds=seconds)).astimezone(found)
    shift = moment.utcoffset()
    return 0 if shift is None else int(shift.total_seconds())


def _at(field: Callable[[int, int, int], int]) -> Callable[..., int]:
    """An accessor from a function of (days since 1970-01-01, second of the day, nanosecond)."""

    def access(value: Timestamp, zone: str = "") -> int:
        seconds = value.ns // SECOND + _offset(value, zone)
        days, rest = divmod(seconds, _DAY)
        return field(days, rest, value.ns % SECOND)

    return access


_FIELDS: Final[dict[str, Callable[[int, int, int], int]]] = {
    "getFullYear": lambda days, rest, ns: year_and_date(days)[0],
    "getMonth": lambda days, rest, ns: year_and_date(days)[1].month - 1,
    "getDate": lambda days, rest, ns: year_and_date(days)[1].day,
    "getDayOfMonth": lambda days, rest, ns: year_and_date(days)[1].day - 1,
    "getDayOfWeek": lambda days, rest, ns: (days + EPOCH) % 7,
    "getDayOfYear": lambda days, rest, ns: year_and_date(days)[1].timetuple().tm_yday - 1,
    "getHours": lambda days, rest, ns: rest // 3600,
    "getMinutes": lambda days, rest, ns: rest % 3600 // 60,
    "getSeconds": lambda days, rest, ns: rest % 60,
    "getMilliseconds": lambda days, rest, ns: ns // 1_000_000,
}
_WHOLE: Final = {
    "getHours": 3600 * SECOND,
    "getMinutes": 60 * SECOND,
    "getSeconds": SECOND,
    "getMilliseconds": 1_000_000,
}


def _whole(unit: int) -> Callable[[Duration], int]:
    def access(value: Duration) -> int:
        count = abs(value.ns) // unit
        return -count if value.ns < 0 else count

    return access


OVERLOADS: Final = (
    row("int(timestamp) -> int", int_of_timestamp),
    row("int(duration) -> int", int_of_duration),
    row("string(timestamp) -> string", timestamp_text),
    row("string(duration) -> string", duration_text),
    row("duration(duration) -> duration", same),
    row("duration(string) -> duration", duration_of_string),
    row("duration(int) -> duration", no_duration_of_int, until="1.36"),
    row("timestamp(timestamp) -> timestamp", same),
    row("timestamp(string) -> timestamp", timestamp_of_string),
    row("timestamp(int) -> timestamp", timestamp_of_int),
    *(
        row(f"timestamp.{name}({zone}) -> int", _at(field))
        for name, field in _FIELDS.items()
        for zone in ("", "string")
    ),
    *(row(f"duration.{name}() -> int", _whole(unit)) for name, unit in _WHOLE.items()),
)
