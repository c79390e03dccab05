"""Semantic versions (`apiserver pkg/cel/library/semverlib.go`, texts of blang/semver v4)."""

from __future__ import annotations

import re
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError
from webhook.cel.overload import row
from webhook.cel.text import go_quote
from webhook.cel.values import UINT_MAX, register

_NUMBER: Final = re.compile(r"[0-9]*", re.ASCII)
_WORD: Final = re.compile(r"[0-9A-Za-z-]*", re.ASCII)


class Semver(Library):
    """Build metadata is kept for the text and ignored by every comparison."""

    __slots__ = ("build", "numbers", "pre")
    __hash__ = None  # type: ignore[assignment]  # as on the server, it is no key of a map
    tag = "semver"

    def __init__(self, numbers: tuple[int, ...], pre: tuple[str, ...], build: tuple[str, ...]) -> None:
        self.numbers = numbers
        self.pre = pre
        self.build = build

    def key(self) -> tuple[object, ...]:
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (*self.numbers, not self.pre, parts)

    def same(self, other: Semver) -> bool:
        return self.key() == other.key()

    def text(self) -> str:
        made = ".".join(map(str, self.numbers))
        if self.pre:
            made += "-" + ".".join(self.pre)
        return made + ("+" + ".".join(self.build) if self.build else "")


register(Semver, "kubernetes.Semver", "cel.Semver", hashed=False)


def semver(text: str) -> Semver:
    if not text:
        raise CelError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise CelError("No Major.Minor.Patch elements found")
    patch, plus, build = parts[2].partition("+")
    patch, dash, pre = patch.partition("-")
    numbers = tuple(
        _number(part, name) for name, part in zip(("Major", "Minor", "Patch"), (*parts[:2], patch), strict=True)
    )
    return Semver(
        numbers,
        tuple(map(_prerelease, pre.split("."))) if dash else (),
        tuple(map(_build, build.split("."))) if plus else (),
    )


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise CelError(f"Invalid character(s) found in {name.lower()} number {go_quote(text)}")
    if len(text) > 1 and text.startswith("0"):
        raise CelError(f"{name} number must not contain leading zeroes {go_quote(text)}")
    return _uint(text)


def _uint(text: str) -> int:
    if not text:
        raise CelError('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 25 or int(text) > UINT_MAX:
        raise CelError(f"strconv.ParseUint: parsing {go_quote(text)}: value out of range")
    return int(text)


def _prerelease(text: str) -> str:
    if not text:
        raise CelError("Prerelease is empty")
    if text.isascii() and text.isdigit():
        if len(text) > 1 and text.startswith("0"):
            raise CelError(f"Numeric PreRelease version must not contain leading zeroes {go_quote(text)}")
        _uint(text)
    elif not _WORD.fullmatch(text):
        raise CelError(f"Invalid character(s) found in prerelease {go_quote(text)}")
    return text


def _build(text: str) -> str:
    if not text:
        raise CelError("Build meta data is empty")
    if not _WORD.fullmatch(text):
        raise CelError(f"Invalid character(s) found in build meta data {go_quote(text)}")
    return text


def normalised(text: str, normalize: bool) -> Semver:
    """With `normalize`: one leading `v` dropped, leading zeros stripped, padded to three parts."""
    if not normalize:
        return semver(text)
    parts = text.removeprefix("v").split(".", 2)
    for at, part in enumerate(parts):
        if len(part.encode("utf-8", "replace")) > 1:
            stripped = part.lstrip("0")
            parts[at] = stripped if stripped[:1].isdigit() else "0" + stripped
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise CelError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return semver(".".join(parts))


def is_semver(text: str, normalize: bool = False) -> bool:
    try:
        normalised(text, normalize)
    except CelError:
        return False
    return True


def major(value: Semver) -> int:
    return value.numbers[0]


def minor(value: Semver) -> int:
    return value.numbers[1]


def patch(value: Semver) -> int:
    return value.numbers[2]


def less(one: Semver, other: Semver) -> bool:
    return bool(one.key() < other.key())


def greater(one: Semver, other: Semver) -> bool:
    return bool(one.key() > other.key())


def compare(one: Semver, other: Semver) -> int:
    return greater(one, other) - less(one, other)


_V: Final = "kubernetes.Semver"

OVERLOADS: Final = (
    row(f"semver(string) -> {_V}", semver),
    row(f"semver(string, bool) -> {_V}", normalised),
    row("isSemver(string) -> bool", is_semver, total=True),
    row("isSemver(string, bool) -> bool", is_semver, total=True),
    row(f"{_V}.major() -> int", major, total=True),
    row(f"{_V}.minor() -> int", minor, total=True),
    row(f"{_V}.patch() -> int", patch, total=True),
    row(f"{_V}.isLessThan({_V}) -> bool", less, total=True),
    row(f"{_V}.isGreaterThan({_V}) -> bool", greater, total=True),
    row(f"{_V}.compareTo({_V}) -> int", compare, total=True),
)
