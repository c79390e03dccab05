"""Paths → files → blocks of bytes. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from webhook.audit.source.unpack import BLOCK
from webhook.audit.source.unreadable import Unreadable
from webhook.errors import UserError

Progress = Callable[[str, int], None]
"""Hears (file, bytes of it read so far)."""


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


def blocks(file: str, stream: BinaryIO, unreadable: Unreadable, progress: Progress) -> Iterator[bytes]:
    done = 0
    try:
        while block := stream.read(BLOCK):
            done += len(block)
            progress(file, done)
            yield block
    except OSError as error:
        unreadable.add(f"read_error: {error.strerror}", file, done)
