"""Packed bytes → UTF-8 text, recognised by content, streaming, layer by layer. Knows nothing of files or of events.

Gzip and zstd may be several members in a row; zip may hold several files. What unpacks to far more than any log would
is not read on.
"""

from __future__ import annotations

import codecs
import contextlib
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import IO, Any, Protocol, cast

from webhook.audit.source.unreadable import Unreadable

inflate: Any = zlib
"""zlib, or what has the same functions and is two to three times as fast (of the `audit` extra)."""
with contextlib.suppress(ImportError):
    from zlib_ng import zlib_ng as inflate

BLOCK = 1 << 20
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
ZIP = b"PK\x03\x04"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LAYERS_MAX = 3
RATIO_MAX = 1_000
"""More than this many times its size is no log: deflate itself ends at 1,032."""
SLACK = 64 << 20
"""Bytes that anything may unpack to."""
_SPOOL = 64 << 20
"""Bytes of a zip file out of a stream that are held in memory."""
_SLICE = 1 << 14
"""Compressed bytes that are unpacked at once. More is slower: zlib copies what it has not come to yet."""
_ZSTD_SLICE = 1 << 11
"""A few bytes may stand for 128 KiB, and what comes of a slice is held."""


def is_packed(first: bytes) -> bool:
    """Whether a file that begins so is not its own text."""
    return first.startswith((GZIP, ZSTD, ZIP, *_UTF16))


def unpacked(
    file: str, blocks: Iterable[bytes], unreadable: Unreadable, layers: int = LAYERS_MAX
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(name, blocks of text) of each file that is in there: one, but for zip. Take each before the next."""
    stream = iter(blocks)
    first = next(stream, b"")
    while 0 < len(first) < len(ZSTD) and (more := next(stream, b"")):
        first += more
    rest = chain([first], stream)
    packed = first.startswith((GZIP, ZSTD, ZIP))
    if packed and not layers:
        unreadable.add("too_many_layers", file, 0)
    elif first.startswith(GZIP):
        yield from _inside(file, _gunzip, rest, unreadable, layers)
    elif first.startswith(ZSTD):
        yield from _inside(file, _unzstd, rest, unreadable, layers)
    elif first.startswith(ZIP):
        yield from _unzip(file, rest, unreadable, layers)
    elif first.startswith(_UTF16):
        yield file, _transcoded(rest)
    else:
        yield file, rest


def _inside(
    file: str,
    unpack: Callable[[str, Iterable[bytes], Unreadable], Iterator[bytes]],
    packed: Iterable[bytes],
    unreadable: Unreadable,
    layers: int,
) -> Iterator[tuple[str, Iterator[bytes]]]:
    meter = _Meter(packed)
    yield from unpacked(file, meter.bounded(file, unpack(file, meter, unreadable), unreadable), unreadable, layers - 1)


class _Meter:
    """Counts what goes in, and stops what comes out when it is far too much."""

    def __init__(self, packed: Iterable[bytes]) -> None:
        self._packed = packed
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._packed:
            self._size += len(block)
            yield block

    def bounded(self, file: str, text: Iterable[bytes], unreadable: Unreadable) -> Iterator[bytes]:
        done = 0
        for block in text:
            done += len(block)
            if done > SLACK + self._size * RATIO_MAX:
                unreadable.add("decompression_bomb", file, done)
                return
            yield block


def _gunzip(file: str, blocks: Iterable[bytes], unreadable: Unreadable) -> Iterator[bytes]:
    """The text of gzip members; up to where it breaks, if it does. They may follow one another: rotated logs are
    often simply concatenated, and padded with zeros."""
    unpack = inflate.decompressobj(wbits=zlib.MAX_WBITS | 16)
    done = 0
    for block in blocks:
        for start in range(0, len(block), _SLICE):
            rest = block[start : start + _SLICE]
            while rest:
                if unpack.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    unpack = inflate.decompressobj(wbits=zlib.MAX_WBITS | 16)
                before = unpack.copy()
                try:
                    text = unpack.decompress(rest, BLOCK)
                except inflate.error:
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


def _until_broken(unpack: Any, rest: bytes) -> bytes:
    text = bytearray()
    try:
        for start in range(0, len(rest), 64):
            text += unpack.decompress(rest[start : start + 64])
    except inflate.error:
        pass
    return bytes(text)


class _Frame(Protocol):
    """One zstd frame being unpacked."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


def _zstd() -> tuple[Callable[[], _Frame], type[Exception]] | None:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        pass
    else:
        return zstd.ZstdDecompressor, zstd.ZstdError
    try:
        import zstandard
    except ImportError:
        return None
    return lambda: cast(_Frame, zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError


def _unzstd(file: str, blocks: Iterable[bytes], unreadable: Unreadable) -> Iterator[bytes]:
    found = _zstd()
    if found is None:
        unreadable.add("zstd_not_installed", file, 0)
        return
    new, error = found
    frame: _Frame | None = None
    done = 0
    for block in blocks:
        for start in range(0, len(block), _ZSTD_SLICE):
            rest = block[start : start + _ZSTD_SLICE]
            while rest:
                frame = frame or new()
                try:
                    text = frame.decompress(rest)
                except error:
                    unreadable.add("broken_zstd", file, done)
                    return
                rest = b""
                if frame.eof:
                    rest, frame = frame.unused_data, None
                done += len(text)
                if text:
                    yield text
    if frame is not None:
        unreadable.add("incomplete_zstd", file, done)


def _unzip(
    file: str, blocks: Iterable[bytes], unreadable: Unreadable, layers: int
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Its directory is at its end, so it has to be there as a whole."""
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as held:
        for block in blocks:
            held.write(block)
        try:
            with zipfile.ZipFile(cast(IO[bytes], held)) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        yield from _member(f"{file}!{member.filename}", archive, member, unreadable, layers)
        except (zipfile.BadZipFile, OSError, EOFError):
            unreadable.add("broken_zip", file, 0)


def _member(
    name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, unreadable: Unreadable, layers: int
) -> Iterator[tuple[str, Iterator[bytes]]]:
    if member.flag_bits & 1:
        unreadable.add("encrypted_zip", name, 0)
        return
    if member.file_size > SLACK + member.compress_size * RATIO_MAX:
        unreadable.add("decompression_bomb", name, 0)
        return
    with archive.open(member) as stream:
        yield from unpacked(name, _of_member(name, stream, unreadable), unreadable, layers - 1)


def _of_member(name: str, stream: Any, unreadable: Unreadable) -> Iterator[bytes]:
    done = 0
    try:
        while block := stream.read(BLOCK):
            done += len(block)
            yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        unreadable.add("broken_zip", name, done)


def _transcoded(blocks: Iterable[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")
