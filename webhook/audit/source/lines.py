"""Blocks of bytes → whole lines with their offsets, in bounded memory.

Knows nothing of what the lines mean, but for one thing: a last line without a newline may be half-written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from webhook.audit.source.unreadable import Unreadable

LINE_MAX = 16 << 20
"""Bytes of the longest line that is read; a longer one is counted and skipped up to its newline."""
BOM = b"\xef\xbb\xbf"


class Lines(msgspec.Struct):
    """Consecutive lines of one file, without their newlines. `offset` is the first one's, in bytes."""

    file: str
    offset: int
    lines: list[bytes]
    open_end: bool = False
    """The last line ended with the file, not with a newline: it may be half-written."""


def split(file: str, blocks: Iterable[bytes], unreadable: Unreadable) -> Iterator[Lines]:
    pieces: list[bytes] = []
    held = 0
    offset = 0
    skipping = 0
    """Bytes of an oversize line that were thrown away so far."""
    first = True
    for block in blocks:
        if first:
            first = False
            if block.startswith(BOM):
                block, offset = block[len(BOM) :], len(BOM)
        lines = block.split(b"\n")
        if len(lines) == 1:
            if skipping:
                skipping += len(block)
                continue
            pieces.append(block)
            held += len(block)
            if held > LINE_MAX:
                unreadable.add("oversize_line", file, offset)
                skipping, held = held, 0
                pieces.clear()
            continue
        if skipping:
            offset += skipping + len(lines[0]) + 1
            skipping = 0
            del lines[0]
        elif pieces:
            pieces.append(lines[0])
            lines[0] = b"".join(pieces)
        rest = lines.pop()
        pieces, held = ([rest], len(rest)) if rest else ([], 0)
        if lines:
            yield Lines(file, offset, lines)
        offset += sum(map(len, lines)) + len(lines)
    if pieces:
        yield Lines(file, offset, [b"".join(pieces)], open_end=True)
