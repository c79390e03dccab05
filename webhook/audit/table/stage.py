"""Logs → rows in Parquet, as they come: unsorted, with duplicates, in processes side by side.

Knows sources and rows; where they go from here is `store`'s business.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from webhook.audit.source import Progress, Unreadable, parallel
from webhook.audit.table.identity import Source
from webhook.audit.table.mapper import WRITES, Mapper, batch, unread
from webhook.audit.table.rows import Row
from webhook.audit.table.schema import arrow

BATCH = 10_000
"""Rows that are held before they are written."""


class Staged(Struct):
    """What some logs gave."""

    paths: list[str]
    """Parquet files."""
    counts: Counter[str]
    unreadable: Unreadable
    told: int = 0
    """Cut records that have their row."""
    cluster: str = ""
    """What the export says of it."""


class Work(Struct, frozen=True):
    """Reads one part; runs in a process of its own."""

    source: Source
    folder: str

    def __call__(self, part: parallel.Part, progress: Progress) -> Staged:
        mapper = Mapper(is_ours=self.source.ours, unreadable=Unreadable(), cluster=self.source.cluster)
        writer = Writer(Path(self.folder))
        found = parallel.read_part(part, mapper.unreadable, skip_reads=True, wanted=WRITES.wants, progress=progress)
        for each in found:
            mapper.add(each)
            if len(mapper) >= BATCH:
                writer.add(mapper.take())
        writer.add(mapper.take())
        return Staged(writer.close(), mapper.counts, mapper.unreadable, mapper.told, mapper.cluster)


class Writer:
    """One file of rows, made when there is one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = ""
        self._writer: Any = None

    def add(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        if self._writer is None:
            import pyarrow.parquet as parquet

            self._folder.mkdir(exist_ok=True)
            self._path = str(self._folder / f"{uuid.uuid4().hex[:12]}.parquet")
            self._writer = parquet.ParquetWriter(self._path, arrow(), compression="zstd")
        self._writer.write_batch(batch(rows))

    def close(self) -> list[str]:
        """Where the rows are."""
        if self._writer is None:
            return []
        self._writer.close()
        return [self._path]


def stage(files: Sequence[tuple[str, str]], source: Source, folder: Path, *, jobs: int, progress: Progress) -> Staged:
    """Reads `files`, which are pairs of path and identity, into Parquet files in `folder`."""
    parts = parallel.parts([file for file, _ in files], jobs)
    done = Staged([], Counter(), Unreadable())
    whole: dict[str, Staged] = {}
    work = Work(source, str(folder))
    for part, staged in zip(parts, parallel.each(parts, work, jobs=jobs, progress=progress), strict=True):
        done.paths += staged.paths
        done.counts.update(staged.counts)
        done.unreadable.merge(staged.unreadable)
        if part.file in whole:
            whole[part.file].unreadable.merge(staged.unreadable)
            whole[part.file].told += staged.told
        else:
            whole[part.file] = staged
    # What of one file could not be read is told once, however it was divided.
    writer = Writer(folder)
    for file, mark in files:
        if file in whole:
            of = whole[file]
            writer.add(unread(of.unreadable, of.told, mark or "standard input", Path(file).name, of.cluster))
    done.paths += writer.close()
    return done
