"""Compressed bytes → text, recognised by content, streaming. Knows nothing of files, lines or what they mean."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from webhook.audit.source.unreadable import Unreadable

BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
FOREIGN = (
    (b"\x28\xb5\x2f\xfd", "zstd_not_supported"),
    (b"PK\x03\x04", "zip_not_supported"),
    (b"\xff\xfe", "utf16_not_supported"),
    (b"\xfe\xff", "utf16_not_supported"),
)
"""First bytes of what is certainly not lines of UTF-8, with the reason it is counted under."""


def unpacked(file: str, blocks: Iterator[bytes], unreadable: Unreadable) -> Iterator[bytes]:
    """The file's blocks, decompressed if need be."""
    first = next(blocks, b"")
    foreign = next((name for mark, name in FOREIGN if first.startswith(mark)), None)
    if foreign is not None:
        unreadable.add(foreign, file, 0)
    elif first.startswith(GZIP):
        yield from _gunzip(file, chain([first], blocks), unreadable)
    else:
        yield first
        yield from blocks


def _gunzip(file: str, blocks: Iterable[bytes], unreadable: Unreadable) -> Iterator[bytes]:
    """The text of gzip members; up to where it breaks, if it does. They may follow one another: rotated logs are
    often simply concatenated, and padded with zeros."""
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    done = 0
    for block in blocks:
        for start in range(0, len(block), _SLICE):
            rest = block[start : start + _SLICE]
            while rest:
                if unpack.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                before = unpack.copy()
                try:
                    text = unpack.decompress(rest, BLOCK)
                except zlib.error:
                    text = _until_broken(before, rest)
                    unreadable.add("broken_gzip", file, done + len(text))
                    yield text
                    return
                rest = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                done += len(text)
                if text:
                    yield text
    if not unpack.eof:
        unreadable.add("incomplete_gzip", file, done)


_SLICE = 1 << 16
"""Compressed bytes that are unpacked at once: what is repeated in small steps when they turn out to be broken."""


def _until_broken(unpack: zlib._Decompress, rest: bytes) -> bytes:
    text = bytearray()
    try:
        for start in range(0, len(rest), 64):
            text += unpack.decompress(rest[start : start + 64])
    except zlib.error:
        pass
    return bytes(text)
