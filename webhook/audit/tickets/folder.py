"""Tickets as files of a folder: read, and written one at a time, each as a whole or not at all.

One run at a time writes (a lock on `.lock`); a file keeps the name that people gave it. Whatever in the folder is no
ticket is left alone. Knows files; not what follows from them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from webhook.audit.tickets import document
from webhook.audit.tickets.document import Document
from webhook.audit.tickets.model import Ticket
from webhook.errors import InvalidInput, Problem, UserError

SUFFIX = ".md"
LOCK = ".lock"
WAIT_SECONDS = 60.0
TICKET_MAX = 64 << 20
"""Bytes of the largest file that is read."""


class Stored(Struct, frozen=True):
    """One ticket of the folder."""

    path: Path
    text: str
    document: Document


class Folder:
    """The tickets of a folder, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self, *, wait: float = WAIT_SECONDS) -> Iterator[None]:
        """Makes the folder, and holds its lock: two runs at once would undo each other. Raises `UserError`."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a") as lock:
            end = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise UserError(
                            f"{self.path}: another run holds the lock for more than {wait:g} s; wait for it to end"
                        ) from None
                    time.sleep(0.05)
            yield

    def read(self) -> dict[str, Stored]:
        """All tickets by fingerprint. Raises `InvalidInput` with everything that is wrong with them."""
        found: dict[str, Stored] = {}
        problems: list[Problem] = []
        if not self.path.exists():
            return found
        for path in sorted(self.path.glob(f"*{SUFFIX}")):
            stored = _read(path)
            if isinstance(stored, Problem):
                problems.append(stored)
            elif stored is not None:
                fingerprint = stored.document.ticket.fingerprint
                if fingerprint in found:
                    problems.append(
                        Problem(
                            file=str(path),
                            message=f"is the same ticket as {found[fingerprint].path}: remove one of them",
                        )
                    )
                found.setdefault(fingerprint, stored)
        if problems:
            raise InvalidInput(problems)
        return found

    def write(self, ticket: Ticket, stored: Stored | None, *, acceptance: Sequence[str]) -> Path:
        """Writes one ticket and keeps what people added to it. Only under the lock."""
        notes = stored.document.notes if stored is not None else document.NOTES
        text = document.render(ticket, acceptance=acceptance, notes=notes)
        path = stored.path if stored is not None else self.path / name(ticket)
        if stored is None or stored.text != text:
            _replace(path, text)
        return path


def name(ticket: Ticket) -> str:
    """The file name of a new ticket: readable, of harmless characters only, and unique by its fingerprint."""
    place = ticket.namespace or ticket.owner or "cluster"
    return f"{_slug(place)}--{_slug(ticket.policy)}--{_slug(ticket.fingerprint)}{SUFFIX}"


def tickets(stored: Mapping[str, Stored]) -> dict[str, Ticket]:
    return {fingerprint: each.document.ticket for fingerprint, each in stored.items()}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:60].strip("-.") or "x"


def _read(path: Path) -> Stored | Problem | None:
    if path.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > TICKET_MAX:
        return Problem(file=str(path), message=f"is larger than {TICKET_MAX >> 20} MiB: no ticket of ours")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    parsed = document.parse(text, str(path))
    return Stored(path, text, parsed) if isinstance(parsed, Document) else parsed


def _replace(path: Path, text: str) -> None:
    """The new content in one step: whoever reads sees the old file or the new one."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
