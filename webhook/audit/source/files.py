"""Paths → files → blocks of bytes. Knows nothing of what is in them."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from webhook.audit.source.unpack import BLOCK
from webhook.audit.source.unreadable import Unreadable
from webhook.errors import UserError

Progress = Callable[[str, int], None]
"""Hears (file, bytes of it read so far)."""


def expand(paths: Iterable[str]) -> list[str]:
    """The files that are meant: folders and globs replaced by what lies in them, sorted. Raises `UserError`."""
    files: list[str] = []
    for path in paths:
        if path == "-" or Path(path).is_file():
            files.append(path)
        elif Path(path).is_dir():
            inside = sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
            if not inside:
                raise UserError(f"{path}: the folder holds no files; give audit logs, or folders of them")
            files.extend(inside)
        elif not Path(path).exists() and glob.has_magic(path):
            # The shell leaves a pattern as it is when it is quoted or matches nothing.
            found = sorted(each for each in glob.iglob(path, recursive=True) if Path(each).is_file())  # noqa: PTH207
            if not found:
                raise UserError(f"{path}: matches no file; give audit logs, or folders of them")
            files.extend(found)
        else:
            files.append(path)
    return files


def blocks(
    file: str, stream: BinaryIO, unreadable: Unreadable, progress: Progress, *, size: int = -1
) -> Iterator[bytes]:
    """What is in the stream from where it stands, at most `size` bytes; says if the file shrinks meanwhile."""
    start = _position(stream)
    done = 0
    try:
        while block := stream.read(BLOCK if size < 0 else min(BLOCK, size - done)):
            done += len(block)
            progress(file, done)
            yield block
        if start is not None and (size < 0 or done < size) and _size(stream) < start + done:
            unreadable.add("changed_while_read", file, start + done)
    except OSError as error:
        unreadable.add(f"read_error: {error.strerror}", file, done)


def _position(stream: BinaryIO) -> int | None:
    """Where a regular file stands; None for a pipe."""
    try:
        return stream.tell() if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else None
    except (OSError, AttributeError):
        return None


def _size(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size
