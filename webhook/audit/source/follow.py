"""Growing files, as they grow: across rotation by renaming (a new file of the old name) and by truncation in place.

Knows no events. What is read is forgotten at once, so it can go on for ever. A file that was rotated twice between two
looks is seen only if it is in a folder, or fits a pattern, that is followed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from webhook.audit.source.files import expand
from webhook.audit.source.raw import Wanted
from webhook.audit.source.reader import Reader, events_in
from webhook.audit.source.record import Events, Lines
from webhook.audit.source.unpack import BLOCK, is_packed, unpacked
from webhook.audit.source.unreadable import Unreadable
from webhook.errors import UserError

INTERVAL = 1.0
"""Seconds between two looks at files that have not grown."""
_MARK = 64
"""Bytes before the place that was read last: if they are others now, the file was truncated and written anew."""


def follow(
    paths: Sequence[str],
    unreadable: Unreadable,
    *,
    skip_reads: bool = False,
    wanted: Wanted | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Lines | Events | None]:
    """The events that are in the files, then those that are written; None whenever there are none for now.

    `skip_reads` and `wanted` leave out what they do for `read`.
    Ends by itself only when all of it is standard input, packed or gone. `wait` sleeps between two looks.
    """
    files: dict[str, _Growing] = {}
    known: set[tuple[int, int]] = set()
    if "-" in paths:
        yield from _standard_input(unreadable, skip_reads, wanted)
        paths = [path for path in paths if path != "-"]
    try:
        first = True
        while paths:
            for path in _files(paths, first):
                identity = _identity(path)
                if path not in files and (first or (identity is not None and identity not in known)):
                    files[path] = _Growing(path, unreadable, skip_reads, wanted, known)
            first = False
            busy = False
            for growing in list(files.values()):
                for batch in growing.more():
                    busy = True
                    yield batch
            if not busy:
                yield None
                wait(INTERVAL)
    finally:
        for growing in files.values():
            growing.close()


def _files(paths: Sequence[str], first: bool) -> list[str]:
    """What the paths stand for now; that they stand for nothing is an error only in the beginning."""
    if first:
        return expand(paths)
    found: list[str] = []
    for path in paths:
        # Between two rotations a folder may be empty.
        with contextlib.suppress(UserError, OSError):
            found += expand([path])
    return found


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _standard_input(unreadable: Unreadable, skip_reads: bool, wanted: Wanted | None) -> Iterator[Lines | Events]:
    descriptor = sys.stdin.buffer.fileno()
    text = iter(lambda: os.read(descriptor, BLOCK), b"")
    for name, blocks in unpacked("standard input", text, unreadable):
        yield from events_in(name, blocks, unreadable, skip_reads=skip_reads, wanted=wanted)


class _Growing:
    """One path, and whichever file it stands for."""

    def __init__(
        self, path: str, unreadable: Unreadable, skip_reads: bool, wanted: Wanted | None, known: set[tuple[int, int]]
    ) -> None:
        self._path = path
        self._unreadable = unreadable
        self._skip_reads = skip_reads
        self._wanted = wanted
        self._known = known
        self._stream: BinaryIO | None = None
        self._reader = self._new()
        self._at = 0
        self._mark = b""
        self._packed = False

    def _new(self) -> Reader:
        return Reader(self._path, self._unreadable, skip_reads=self._skip_reads, wanted=self._wanted)

    def more(self) -> Iterator[Lines | Events]:
        """What was written since the last time."""
        if self._stream is None and not self._open():
            return
        yield from self._drain()
        stream = self._stream
        if stream is None:
            return
        here = os.fstat(stream.fileno())
        identity = _identity(self._path)
        if identity is not None and identity != (here.st_dev, here.st_ino):
            # What was written between the last look and the renaming.
            yield from self._drain()
            yield from self._end()
            self.close()
            if self._open():
                yield from self._drain()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> bool:
        try:
            stream = Path(self._path).open("rb")  # noqa: SIM115
        except OSError:
            return False
        status = os.fstat(stream.fileno())
        self._known.add((status.st_dev, status.st_ino))
        self._stream, self._at, self._mark, self._packed = stream, 0, b"", False
        return True

    def _drain(self) -> Iterator[Lines | Events]:
        stream = self._stream
        if stream is None or self._packed:
            return
        descriptor = stream.fileno()
        if self._truncated(descriptor):
            self._unreadable.add("truncated_in_place", self._path, self._at)
            yield from self._end()
            self._at, self._mark = 0, b""
        while block := os.pread(descriptor, BLOCK, self._at):
            if self._at == 0 and is_packed(block):
                self._packed = True
                for name, text in unpacked(self._path, iter(lambda: stream.read(BLOCK), b""), self._unreadable):
                    yield from events_in(name, text, self._unreadable, skip_reads=self._skip_reads, wanted=self._wanted)
                return
            self._at += len(block)
            self._mark = (self._mark + block)[-_MARK:]
            self._reader.feed(block)
            yield from self._reader.take()

    def _truncated(self, descriptor: int) -> bool:
        return os.pread(descriptor, len(self._mark), self._at - len(self._mark)) != self._mark

    def _end(self) -> Iterator[Lines | Events]:
        self._reader.finish()
        yield from self._reader.take()
        self._reader = self._new()
