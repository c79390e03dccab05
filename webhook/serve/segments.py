"""The files of a record: compressed segments that stay within a total size and an age, readable after a kill.

A segment is written as `NAME.part`, flushed so that all but the last moment can be read, and renamed once it is whole.
Knows bytes and the header of a segment, nothing of reviews. One process a folder: two could not keep its total.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from webhook.errors import WouldblockError
from webhook.recorded import OPEN, PREFIX, WHOLE, Header, encode, segments

SEGMENTS = 8
"""A full record has about this many."""
SEGMENT_BYTES = 32 * 1024 * 1024
SEGMENT_SECONDS = 3_600.0
LEVEL = 3
_BUFFER = 64 * 1024
_LOCK = ".lock"


class Busy(WouldblockError):
    """Another process records into the folder."""


class Segments:
    """Writes lines into a folder. Every method raises `OSError` for what is wrong with the disk."""

    def __init__(
        self, folder: Path, *, total_bytes: int, seconds: float, wall: Callable[[], float] = time.time
    ) -> None:
        """Raises `Busy`."""
        self._folder = folder
        self._total = total_bytes
        self._largest = min(total_bytes // SEGMENTS, SEGMENT_BYTES)
        self._seconds = seconds
        self._wall = wall
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Busy("another process records into this folder") from None
        self._file = -1
        self._path = folder
        self._header = Header()
        self._number = 0
        self._began = self._pruned = 0.0
        self._written = self._pending = 0
        self._buffer = bytearray()
        self._deflate = zlib.compressobj()
        self.prune()

    def write(self, header: Header, line: bytes) -> bool:
        """Adds a line; False when it is larger than the whole record may be."""
        if self._file >= 0 and self._size() + len(line) > self._largest:
            self.flush()  # compressed, it is smaller than it looks
        if self._file >= 0 and (
            header != self._header
            or self._size() + len(line) > self._largest
            or not 0 <= self._wall() - self._began < SEGMENT_SECONDS
        ):
            self.close()
        if self._file < 0:
            first = encode(header) + b"\n"
            need = max(len(first) + len(line) + 1_024, self._largest)
            if need > self._total:
                return False
            self._open(need)
            self._header = header
            self._add(first)
        self._add(line)
        return True

    def flush(self) -> None:
        """What was written until now survives the process."""
        if self._file >= 0 and self._pending:
            self._buffer += self._deflate.flush(zlib.Z_SYNC_FLUSH)
            self._pending = 0
            self._out()

    def close(self) -> None:
        """Makes the current segment whole."""
        if self._file < 0:
            return
        self._buffer += self._deflate.flush(zlib.Z_FINISH)
        self._out()
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        self._path.rename(self._path.with_name(self._path.name.removesuffix(OPEN) + WHOLE))

    def release(self) -> None:
        """Lets go of files, whatever state they are in."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._file = self._lock = -1

    def prune(self, room: int = 0) -> None:
        """Deletes the oldest segments until `room` bytes are left beside the current one, and those that are too old;
        looks at most once a minute, unless room is asked for."""
        now = self._wall()
        if not room and abs(now - self._pruned) < 60.0:
            return
        self._pruned = now
        closed = [(each, each.stat()) for each in segments(self._folder) if self._file < 0 or each != self._path]
        held = sum(found.st_size for _, found in closed) + (self._largest if self._file >= 0 else 0)
        for path, found in closed:
            if held + room > self._total or now - found.st_mtime > self._seconds:
                path.unlink(missing_ok=True)
                held -= found.st_size

    def _open(self, need: int) -> None:
        self.prune(need)
        self._number += 1
        self._began = self._wall()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._began)) + f"{int(self._began % 1 * 1e6):06d}Z"
        self._path = self._folder / f"{PREFIX}{stamp}-{os.getpid()}-{self._number:06d}{OPEN}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self._deflate = zlib.compressobj(LEVEL, wbits=31)
        self._buffer = bytearray()
        self._written = self._pending = 0

    def _size(self) -> int:
        """Bytes that the segment may have, at most, once flushed."""
        return self._written + len(self._buffer) + self._pending + 64

    def _add(self, line: bytes) -> None:
        self._buffer += self._deflate.compress(line)
        self._pending += len(line)
        if len(self._buffer) >= _BUFFER:
            self._out()

    def _out(self) -> None:
        while self._buffer:
            done = os.write(self._file, self._buffer)
            self._written += done
            del self._buffer[:done]
