"""Several files of one directory replaced together: all of them, or none.

Each is written beside its target, flushed to disk, and renamed over it, so no reader ever sees half a file. Two
names cannot be renamed in one step: if the second rename fails, the first is taken back. Only a crash exactly
between two renames leaves files that do not belong together; readers must therefore compare certificate and key
(`webhook.serve.tls` keeps the pair it has, `status` says so), and the next `issue` repairs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

PRIVATE, PUBLIC = 0o600, 0o644


class Content(Struct, frozen=True):
    """What a file is to hold, and its mode."""

    data: bytes
    mode: int

    def __repr__(self) -> str:
        return f"Content({len(self.data)} bytes, {self.mode:o})"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Makes `directory` if need be and keeps every other `issue` out of it meanwhile. Raises `OSError`."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace(directory: Path, contents: Mapping[str, Content]) -> None:
    """Gives the named files their new contents, in the order of the mapping. Raises `OSError`; then nothing changed."""
    with contextlib.ExitStack() as leftovers:
        staged = {name: _stage(directory, name, content, leftovers) for name, content in contents.items()}
        kept = {name: _keep(directory, name, leftovers) for name in contents}
        done: list[str] = []
        try:
            for name, temporary in staged.items():
                temporary.replace(directory / name)
                done.append(name)
        except BaseException:
            for name in reversed(done):
                _take_back(directory / name, kept[name])
            raise
        _sync(directory)


def _stage(directory: Path, name: str, content: Content, leftovers: contextlib.ExitStack) -> Path:
    # mkstemp makes the file 0600 from its first moment: a key is never readable by others, however short.
    handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=directory)
    temporary = Path(path)
    leftovers.callback(temporary.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(content.data)
        file.flush()
        os.fchmod(file.fileno(), content.mode)
        os.fsync(file.fileno())
    return temporary


def _keep(directory: Path, name: str, leftovers: contextlib.ExitStack) -> Path | None:
    """A second name for what is there now, from which it can come back; None if there is nothing."""
    if not (directory / name).exists():
        return None
    handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".old", dir=directory)
    os.close(handle)
    kept = Path(path)
    leftovers.callback(kept.unlink, missing_ok=True)
    kept.unlink()
    kept.hardlink_to((directory / name).resolve())
    return kept


def _take_back(target: Path, kept: Path | None) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to report
        if kept is None:
            target.unlink(missing_ok=True)
        else:
            kept.replace(target)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
