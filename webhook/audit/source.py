"""Lines out of files, standard input and gzip, recognised by content, streaming, in bounded memory.

Whatever cannot be read is counted and named with its file and byte offset; the rest is still yielded. Knows nothing
of what the lines mean, but for one thing: a last line without a newline may be half-written.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from webhook.errors import UserError

BLOCK = 1 << 20
LINE_MAX = 16 << 20
"""Bytes of the longest line that is read; a longer one is counted and skipped up to its newline."""
GZIP = b"\x1f\x8b"
FOREIGN = (
    (b"\x28\xb5\x2f\xfd", "zstd_not_supported"),
    (b"PK\x03\x04", "zip_not_supported"),
    (b"\xff\xfe", "utf16_not_supported"),
    (b"\xfe\xff", "utf16_not_supported"),
)
"""First bytes of what is certainly not lines of UTF-8, with the reason it is counted under."""
BOM = b"\xef\xbb\xbf"
EXAMPLES = 5
"""How many places are remembered for each kind of trouble; all are counted."""


class Place(msgspec.Struct, frozen=True):
    """Where something could not be read. `offset` counts bytes from 0, in the decompressed text of a gzip file."""

    file: str
    offset: int

    def __str__(self) -> str:
        return f"{self.file} at byte {self.offset}"


class Unreadable:
    """What could not be read: how often, by reason, and the first places of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[Place]] = {}

    def add(self, reason: str, file: str, offset: int) -> None:
        self.counts[reason] += 1
        places = self.places.setdefault(reason, [])
        if len(places) < EXAMPLES:
            places.append(Place(file, offset))

    def __bool__(self) -> bool:
        return bool(self.counts)


class Lines(msgspec.Struct):
    """Consecutive lines of one file, without their newlines. `offset` is the first one's, in bytes."""

    file: str
    offset: int
    lines: list[bytes]
    open_end: bool = False
    """The last line ended with the file, not with a newline: it may be half-written."""


def read(
    paths: Sequence[str], unreadable: Unreadable, *, progress: Callable[[str, int], None] = lambda _file, _bytes: None
) -> Iterator[Lines]:
    """The lines of all files in turn; `-` is standard input. A folder stands for the files in it.

    `progress` hears (file, bytes of it read so far). A file that cannot be opened raises `OSError` before any
    line is yielded from it; one that breaks later is cut there and counted.
    """
    for path in expand(paths):
        if path == "-":
            yield from _split(
                "standard input", _text("standard input", sys.stdin.buffer, unreadable, progress), unreadable
            )
            continue
        with Path(path).open("rb") as stream:
            yield from _split(path, _text(path, stream, unreadable, progress), unreadable)


def expand(paths: Iterable[str]) -> list[str]:
    """The files that are meant, folders replaced by what lies in them, sorted. Raises `UserError`."""
    files: list[str] = []
    for path in paths:
        if path == "-" or not (folder := Path(path)).is_dir():
            files.append(path)
            continue
        inside = sorted(str(file) for file in folder.iterdir() if file.is_file())
        if not inside:
            raise UserError(f"{path}: the folder holds no files; give audit logs, or folders of them")
        files.extend(inside)
    return files


def _text(file: str, stream: BinaryIO, unreadable: Unreadable, progress: Callable[[str, int], None]) -> Iterator[bytes]:
    """The file's blocks, decompressed if need be."""
    blocks = _blocks(file, stream, unreadable, progress)
    first = next(blocks, b"")
    foreign = next((name for mark, name in FOREIGN if first.startswith(mark)), None)
    if foreign is not None:
        unreadable.add(foreign, file, 0)
    elif first.startswith(GZIP):
        yield from _gunzip(file, chain([first], blocks), unreadable)
    else:
        yield first
        yield from blocks


def _blocks(
    file: str, stream: BinaryIO, unreadable: Unreadable, progress: Callable[[str, int], None]
) -> Iterator[bytes]:
    done = 0
    try:
        while block := stream.read(BLOCK):
            done += len(block)
            progress(file, done)
            yield block
    except OSError as error:
        unreadable.add(f"read_error: {error.strerror}", file, done)


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


def _split(file: str, blocks: Iterable[bytes], unreadable: Unreadable) -> Iterator[Lines]:
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
