"""Audit events out of files, folders and standard input, recognised by content, streaming, in bounded memory.

Whatever cannot be read is counted and named with its file and byte offset; the rest is still yielded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from webhook.audit.source.files import Progress, blocks, expand
from webhook.audit.source.lines import Lines, split
from webhook.audit.source.record import Events, Record
from webhook.audit.source.unpack import unpacked
from webhook.audit.source.unreadable import EXAMPLES, Place, Unreadable

__all__ = ["EXAMPLES", "Events", "Lines", "Place", "Progress", "Record", "Unreadable", "expand", "read"]


def read(
    paths: Sequence[str], unreadable: Unreadable, *, progress: Progress = lambda _file, _bytes: None
) -> Iterator[Lines]:
    """The lines of all files in turn; `-` is standard input. A folder stands for the files in it.

    `progress` hears (file, bytes of it read so far). A file that cannot be opened raises `OSError` before any
    line is yielded from it; one that breaks later is cut there and counted.
    """
    for path in expand(paths):
        if path == "-":
            yield from split(
                "standard input",
                unpacked(
                    "standard input", blocks("standard input", sys.stdin.buffer, unreadable, progress), unreadable
                ),
                unreadable,
            )
            continue
        with Path(path).open("rb") as stream:
            yield from split(path, unpacked(path, blocks(path, stream, unreadable, progress), unreadable), unreadable)
