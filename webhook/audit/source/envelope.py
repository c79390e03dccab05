"""What all export formats have in common: JSON objects whose values are looked at one by one, and opened on demand.

A format is a test of an object's keys and a function that opens it: it hands what is inside to the `Opener`, which
finds out what that is. Bodies are never looked into; they are slices of the input.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Raw

from webhook.audit.events import Event

Keys = Mapping[str, Raw]
"""The members of a JSON object, not decoded yet."""

_object = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)


class Origin(NamedTuple):
    """What the envelopes around an event say of it."""

    format: str
    cluster: str = ""
    time: str = ""
    """RFC 3339; for events that have lost their own."""


class Opener(Protocol):
    """Takes what a format found in its envelope, at any depth."""

    def document(self, value: bytes | Raw, origin: Origin) -> None:
        """A JSON value of whatever known format."""

    def text(self, text: str | bytes, origin: Origin) -> None:
        """A string that should hold a line of a log: an event as the API server writes it, or a prefix and one."""

    def itself(self, origin: Origin) -> None:
        """The object that is being opened is an event."""

    def part(self, stream: str, text: bytes, *, final: bool, origin: Origin) -> None:
        """A part of such a string; the next of the same stream goes on with it, unless it is the `final` one."""

    def event(self, event: Event, origin: Origin) -> None:
        """An event that a format has put together itself."""

    def packed(self, data: bytes, origin: Origin) -> None:
        """Gzip, with a JSON document of whatever known format in it."""

    def refuse(self, reason: str) -> None:
        """Something that is no event."""


class Format(NamedTuple):
    """One export format."""

    id: str
    matches: Callable[[Keys], bool]
    open: Callable[[Keys, Opener, Origin], None]


def members(value: bytes | Raw | None) -> Keys:
    """The members of an object; none of anything else."""
    if not value:
        return {}
    try:
        return _object.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def items(value: bytes | Raw | None) -> list[Raw]:
    """The items of an array; none of anything else."""
    if not value:
        return []
    try:
        return _list.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def first(value: bytes | Raw | None) -> Raw | None:
    """The first item of an array, if it is one and has any."""
    found = items(value)
    return found[0] if found else None


def string(value: bytes | Raw | None) -> str:
    """A string's value; empty for anything else."""
    if not value or bytes(value)[:1] != b'"':
        return ""
    try:
        return _string.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def number(value: bytes | Raw | None) -> int:
    """An integer, also one in quotes; 0 for anything else."""
    if not value:
        return 0
    try:
        return int(string(value) or bytes(value))
    except ValueError:
        return 0


def typed(value: bytes | Raw | None, kind: Any) -> Any:
    """The value as a msgspec type, or None."""
    if not value:
        return None
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def of_milliseconds(since_epoch: int) -> str:
    """Milliseconds since the epoch → RFC 3339; empty for what is none."""
    return _of_microseconds(since_epoch * 1_000)


def of_nanoseconds(since_epoch: int) -> str:
    return _of_microseconds(since_epoch // 1_000)


def _of_microseconds(since_epoch: int) -> str:
    if since_epoch <= 0:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=since_epoch)
    except OverflowError:
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
