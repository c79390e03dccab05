"""Paths → files → blocks of bytes. Knows nothing of what is in them."""

from __future__ import annotations

import glob
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


def blocks(file: str, stream: BinaryIO, unreadable: Unreadable, progress: Progress) -> Iterator[bytes]:
    done = 0
    try:
        while block := stream.read(BLOCK):
            done += len(block)
            progress(file, done)
            yield block
    except OSError as error:
        unreadable.add(f"read_error: {error.strerror}", file, done)
