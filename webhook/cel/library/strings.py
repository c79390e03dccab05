"""Strings: the standard functions and the strings extension, version 2; regular expressions of Kubernetes.

Positions count code points, as Python's do.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.error import CelError, misfit, no_ability, no_overload
from webhook.cel.overload import row
from webhook.cel.patterns import Pattern, pattern_of
from webhook.cel.printed import printed
from webhook.cel.text import quote
from webhook.cel.values import Optional, TypeValue

_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)


def contains(text: Any, part: Any) -> bool:
    if text.__class__ is str and part.__class__ is str:
        return part in text
    raise no_overload()


def starts_with(text: Any, part: Any) -> bool:
    if text.__class__ is str and part.__class__ is str:
        return bool(text.startswith(part))
    raise no_overload()


def ends_with(text: Any, part: Any) -> bool:
    if text.__class__ is str and part.__class__ is str:
        return bool(text.endswith(part))
    raise no_overload()


def _native(value: Any) -> Any:
    """What the server's matchers of constant patterns look at: the Go value, whatever it is the value of."""
    while value.__class__ is Optional:
        value = value.value
    return value.name if value.__class__ is TypeValue else value


def matches(text: Any, pattern: Any) -> bool:
    if pattern.__class__ is Pattern:
        text = _native(text)
        if text.__class__ is str:
            return pattern.search(text)
    if text.__class__ is not str:
        raise no_overload() if pattern.__class__ is Pattern else no_ability(text, "matches")
    if pattern.__class__ not in (str, Pattern):
        raise no_overload()
    return bool(pattern_of(pattern).search(text))


def find(text: Any, pattern: Any) -> str:
    if pattern.__class__ is Pattern:
        text = _native(text)
        if text.__class__ is not str:
            raise no_overload()
        return pattern_of(pattern).find(text)
    if text.__class__ is not str or pattern.__class__ is not str:
        raise misfit("find", (text, pattern))
    return _dynamic(pattern).find(text)


def find_all(text: Any, pattern: Any, limit: Any = -1) -> list[str]:
    if pattern.__class__ is Pattern:
        text = _native(text)
    if text.__class__ is not str or pattern.__class__ not in (str, Pattern) or limit.__class__ is not int:
        if pattern.__class__ is Pattern:
            raise no_overload()
        raise misfit("findAll", (text, pattern) if limit == -1 else (text, pattern, limit))
    return _dynamic(pattern).find_all(text, limit)


def _dynamic(pattern: Any) -> Pattern:
    try:
        return pattern_of(pattern)
    except CelError as error:
        raise CelError(f"Illegal regex: {error.text}") from None


def char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise CelError(f"index out of range: {at}")
    return text[at : at + 1]


def index_of(text: str, part: str, start: int = 0) -> int:
    if start < 0:
        raise CelError(f"index out of range: {start}")
    if part == "":
        return min(start, len(text))
    return text.find(part, start)


def last_index_of(text: str, part: str, *limit: int) -> int:
    start = limit[0] if limit else len(text)
    if start < 0:
        raise CelError(f"index out of range: {start}")
    if part == "":
        return min(start, len(text))
    if limit and start >= len(text):
        return -1
    return text.rfind(part, 0, start + len(part))


def join(parts: list[Any], separator: str = "") -> str:
    for part in parts:
        if part.__class__ is not str:
            raise CelError(f"join: invalid input: {printed(part)}")
    return separator.join(parts)


def lower(text: str) -> str:
    return text.translate(_LOWER)


def upper(text: str) -> str:
    return text.translate(_UPPER)


def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, max(limit, -1))


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if separator == "":
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def substring(text: str, start: int, end: int | None = None) -> str:
    if end is None:
        end = len(text)
        if not 0 <= start <= end:
            raise CelError(f"index out of range: {start}")
        return text[start:]
    if start > end:
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    for at in (start, end):
        if not 0 <= at <= len(text):
            raise CelError(f"index out of range: {at}")
    return text[start:end]


def trim(text: str) -> str:
    return text.strip(WHITE_SPACE)


OVERLOADS: Final = (
    row("string.contains(string) -> bool", contains, template="{0}.__contains__({1})", on_dyn=contains, total=True),
    row(
        "string.startsWith(string) -> bool", starts_with, template="{0}.startswith({1})", on_dyn=starts_with, total=True
    ),
    row("string.endsWith(string) -> bool", ends_with, template="{0}.endswith({1})", on_dyn=ends_with, total=True),
    row("string.matches(string) -> bool", matches, on_dyn=matches, pattern=1, prepared="{1}.search({0})"),
    row("matches(string, string) -> bool", matches, on_dyn=matches, pattern=1, prepared="{1}.search({0})"),
    row("string.find(string) -> string", find, on_dyn=find, pattern=1),
    row("string.findAll(string) -> list(string)", find_all, on_dyn=find_all, pattern=1),
    row("string.findAll(string, int) -> list(string)", find_all, on_dyn=find_all, pattern=1),
    row("string.charAt(int) -> string", char_at),
    row("list(string).join() -> string", join),
    row("list(string).join(string) -> string", join),
    row("string.lowerAscii() -> string", lower, total=True),
    row("string.upperAscii() -> string", upper, total=True),
    row("string.replace(string, string) -> string", replace, total=True),
    row("string.replace(string, string, int) -> string", replace, total=True),
    row("string.split(string) -> list(string)", split, total=True),
    row("string.split(string, int) -> list(string)", split, total=True),
    row("string.substring(int) -> string", substring),
    row("string.substring(int, int) -> string", substring),
    row("string.trim() -> string", trim, total=True),
    row("strings.quote(string) -> string", quote, total=True),
)
