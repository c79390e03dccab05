"""Audit events out of files, folders and standard input, recognised by content, streaming, in bounded memory.

Whatever cannot be read is counted and named with its file and byte offset; the rest is still yielded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from webhook.audit.source.files import Progress, blocks, expand
from webhook.audit.source.follow import follow
from webhook.audit.source.raw import Wanted
from webhook.audit.source.reader import events_in
from webhook.audit.source.record import Events, Lines, Record
from webhook.audit.source.unpack import unpacked
from webhook.audit.source.unreadable import EXAMPLES, MEANING, Place, Unreadable

__all__ = [
    "EXAMPLES",
    "MEANING",
    "Events",
    "Lines",
    "Place",
    "Progress",
    "Record",
    "Unreadable",
    "expand",
    "follow",
    "read",
]
STDIN = "standard input"


def read(
    paths: Sequence[str],
    unreadable: Unreadable,
    *,
    skip_reads: bool = False,
    wanted: Wanted | None = None,
    progress: Progress = lambda _file, _bytes: None,
) -> Iterator[Lines | Events]:
    """The audit events of all files in turn; `-` is standard input, and a folder stands for the files in it.

    With `skip_reads`, requests that only read are counted and left out, and so are writes to what is not `wanted`,
    unless somebody reviewed them; where that is possible without parsing them.
    `progress` hears (file, bytes of it read so far). A file that cannot be opened raises `OSError` before any
    event is yielded from it; one that breaks later is cut there and counted.
    """
    for path in expand(paths):
        if path == "-":
            yield from _of_stream(STDIN, sys.stdin.buffer, unreadable, skip_reads, wanted, progress)
            continue
        with Path(path).open("rb") as stream:
            yield from _of_stream(path, stream, unreadable, skip_reads, wanted, progress)


def _of_stream(
    file: str, stream: BinaryIO, unreadable: Unreadable, skip_reads: bool, wanted: Wanted | None, progress: Progress
) -> Iterator[Lines | Events]:
    for name, text in unpacked(file, blocks(file, stream, unreadable, progress), unreadable):
        yield from events_in(name, text, unreadable, skip_reads=skip_reads, wanted=wanted)
