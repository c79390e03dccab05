"""Values as Go's `%v` prints them, which is how the server's error texts show a key or an unfit value."""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.text import day_text, double_text
from webhook.cel.values import ABSENT, Blank, Duration, Map, Optional, Timestamp, TypeValue, key_from

_TYPES: Final = {"list": "list(dyn)", "map": "map(dyn, dyn)", "optional_type": "optional_type(dyn)"}
_DAY: Final = 86_400


def printed(value: Any) -> str:
    """A value of CEL. Null is a number in Go."""
    kind = value.__class__
    if kind is str:
        return str(value)
    if value is None:
        return "0"
    if value is True or value is False:
        return "true" if value else "false"
    if kind is float:
        return double_text(value)
    if kind is bytes:
        return f"[{' '.join(map(str, value))}]"
    if kind is list:
        return f"[{', '.join(map(_native, value))}]"
    if kind is dict or kind is Map:
        return "{" + ", ".join(f"{printed(key_from(key))}: {printed(held)}" for key, held in value.items()) + "}"
    if kind is Optional:
        return "optional.none()" if value.value is ABSENT else f"optional({printed(value.value)})"
    if kind is Duration:
        return _duration(value.ns)
    if kind is Timestamp:
        return _timestamp(value)
    if kind is TypeValue:
        return str(_TYPES.get(value.name, value.name))
    if kind is Blank:
        return ""
    return str(value) if isinstance(value, int) else str(value.text())


def _native(value: Any) -> str:
    """An element of a list: what stands in a list of JSON is no value of CEL yet. (Of lists that an expression makes
    the server prints lists and maps as `printed` does.)"""
    kind = value.__class__
    if value is None:
        return "<nil>"
    if kind is list:
        return f"[{' '.join(map(_native, value))}]"
    if kind is dict:
        return f"map[{' '.join(f'{key}:{_native(value[key])}' for key in sorted(value))}]"
    return printed(value)


def _duration(ns: int) -> str:
    """Go's `Duration.String`: `1h30m0.5s`, `1.5ms`."""
    sign, rest = "-" if ns < 0 else "", abs(ns)
    if rest < 10**9:
        if rest == 0:
            return "0s"
        unit, size = ("ns", 1) if rest < 10**3 else ("µs", 10**3) if rest < 10**6 else ("ms", 10**6)
        return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, rest = divmod(rest, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    made = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{made}{_decimal(rest, 10**9)}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1)}".rstrip("0").rstrip(".") if rest else str(whole)


def _timestamp(value: Timestamp) -> str:
    """Go's `Time.String`: `2024-02-29 23:59:59.25 +0200 +0200`."""
    seconds, ns = divmod(value.ns, 10**9)
    days, rest = divmod(seconds + value.offset, _DAY)
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    minutes = abs(value.offset) // 60
    zone = f"{'-' if value.offset < 0 else '+'}{minutes // 60:02d}{minutes % 60:02d}"
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{day_text(days)} {clock}{fraction} {zone} {zone if value.offset else 'UTC'}"
