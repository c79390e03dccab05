"""What of a folder of facts is valid, and which inputs it was made of. Knows no rows."""

from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from webhook.audit.table.schema import COLUMNS
from webhook.errors import UserError

MANIFEST = "facts.json"
FORMAT = hashlib.blake2b(repr([(each.name, each.type) for each in COLUMNS]).encode(), digest_size=4).hexdigest()
"""Of the columns: files of other columns are not mixed with ours."""


class Part(Struct, frozen=True):
    """One day of one cluster, in one file."""

    path: str
    """In the folder."""
    cluster: str
    day: datetime.date | None
    rows: int
    sums: str = ""
    """In the folder: what `sums` says of it, by the queries whose digest is in the name."""


class Manifest(Struct, frozen=True):
    format: str = FORMAT
    inputs: tuple[str, ...] = ()
    """Identities of the inputs whose facts are in the parts."""
    parts: tuple[Part, ...] = ()


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest, None when there is none. Raises `UserError` when it is not one of ours."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise UserError(f"{folder / MANIFEST}: {error}; expected what `wouldblock facts --out` writes") from None
    if found.format != FORMAT:
        raise UserError(f"{folder}: facts of another version of wouldblock; make them anew in an empty folder")
    return found


def replace(folder: Path, manifest: Manifest) -> None:
    """Puts `manifest` in place of the one before, in one step that outlives a crash."""
    new = folder / (MANIFEST + ".new")
    with new.open("wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(folder / MANIFEST)
    sync(folder)


def sync(folder: Path) -> None:
    """What was made, renamed or removed in a folder is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
