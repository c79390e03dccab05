"""The codec between `serve --record` and `backtest`: requests that were reviewed, with what was said of them.

A record is a folder of segments, gzip of JSON Lines: first a `Header`, then one `Recorded` a line. `NAME.jsonl.gz` is
whole; `NAME.jsonl.gz.part` is being written, or was when its process was killed: all but its tail can be read, and what
cannot is counted. Requests are redacted before they come here; messages are not kept, for they may quote values.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from webhook.policy import Outcome
from webhook.review import Request

Schema = Literal["wouldblock.dev/recorded-reviews/v1"]
SCHEMA: Schema = "wouldblock.dev/recorded-reviews/v1"
PREFIX = "reviews-"
WHOLE = ".jsonl.gz"
OPEN = WHOLE + ".part"

_CHUNK = 1 << 20
_LINE_BYTES = 64 << 20
"""A longer line is damage, or hostile: nothing that serving admits is near it."""


class Header(Struct, frozen=True, kw_only=True):
    """The first line of a segment."""

    schema: Schema = SCHEMA
    version: str = ""
    """Of wouldblock."""
    set: str = ""
    """Digest of the policy set that answered; a segment has one."""
    policies: tuple[str, ...] = ()
    """Ids in set order: bit i of `Recorded.ran` is the i-th."""
    snapshot: str = ""
    rate: float = 1.0
    """Share of the reviews that was recorded."""


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finding without its text."""

    policy: str
    binding: str = ""
    index: int = 0
    error: bool = False
    pre_existing: bool = False
    exemption: str = ""
    """The exemption that covered it; empty for none."""


class Recorded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One review: what was asked, redacted, and what was answered."""

    time: float
    """Seconds since the epoch."""
    request: Request
    redacted: tuple[str, ...] = ()
    """JSON Pointers (RFC 6901) of what was replaced or left out, from the request: `/object/data/password`."""
    ran: str = "0"
    """Hexadecimal bitmap of the policies that gave a verdict."""
    findings: tuple[Found, ...] = ()
    not_comparable: tuple[str, ...] = ()
    internal_errors: tuple[str, ...] = ()
    incomplete: str = ""
    skipped: tuple[str, ...] = ()


class Damage(Struct):
    """What of a record could not be read, by reason; `places` names the first few files of each."""

    counts: dict[str, int] = {}
    places: dict[str, list[str]] = {}

    def add(self, reason: str, file: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        places = self.places.setdefault(reason, [])
        if file not in places and len(places) < 5:
            places.append(file)


encode = msgspec.json.Encoder().encode
_header = msgspec.json.Decoder(Header).decode
_recorded = msgspec.json.Decoder(Recorded).decode


def recorded(time: float, request: Request, redacted: tuple[str, ...], outcome: Outcome) -> Recorded:
    """The line for one review. `request` is redacted already; nothing of the outcome that may quote it is kept."""
    return Recorded(
        time=time,
        request=request,
        redacted=redacted,
        ran=f"{outcome.evaluated:x}",
        findings=(
            *(
                Found(
                    policy=each.policy,
                    binding=each.binding,
                    index=each.index,
                    error=each.error,
                    pre_existing=each.pre_existing,
                )
                for each in outcome.findings
            ),
            *(
                Found(policy=each.policy, binding=each.binding, index=each.index, exemption=each.exemption)
                for each in outcome.exempted
            ),
        ),
        not_comparable=tuple(policy for policy, _ in outcome.not_comparable),
        internal_errors=tuple(policy for policy, _ in outcome.internal_errors),
        incomplete=outcome.incomplete,
        skipped=outcome.skipped,
    )


def segments(folder: Path) -> list[Path]:
    """The segments of a record, oldest first: their names begin with the time."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.name.startswith(PREFIX) and each.name.endswith((WHOLE, OPEN)) and not each.is_symlink()
    )


def read(path: Path, damage: Damage) -> Iterator[tuple[Header, Recorded]]:
    """The reviews of one segment. What cannot be read is counted in `damage`: `half-written end` (of a segment whose
    process was killed), `corrupt` (bytes that are no gzip), `unreadable line`, `other format`."""
    header: Header | None = None
    for line in _lines(path, damage):
        if header is None:
            try:
                header = _header(line)
            except (msgspec.DecodeError, UnicodeError):
                damage.add("other format", path.name)
                return
            continue
        try:
            each = _recorded(line)
            int(each.ran, 16)
        except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
            damage.add("unreadable line", path.name)
            continue
        yield header, each


def _lines(path: Path, damage: Damage) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=31)
    rest = b""
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                while chunk:
                    rest += inflate.decompress(chunk, _CHUNK)
                    *lines, rest = rest.split(b"\n")
                    yield from lines
                    if len(rest) > _LINE_BYTES:
                        damage.add("corrupt", path.name)
                        return
                    chunk = inflate.unconsumed_tail
        except zlib.error:
            damage.add("corrupt", path.name)
            return
    if rest or not inflate.eof:
        damage.add("half-written end", path.name)
