"""The facts table on disk: Parquet by cluster and day, and a manifest of what is in it.

A run adds the inputs that the manifest does not know, and rewrites the days that they touch, each to one file in which
every write is once, and one of what reports ask of it (`sums`). The manifest is replaced at the end, in one step:
whatever a run that was killed has left behind is in no manifest, and the next run removes it. Knows files; what the
rows mean is `rows`' business.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Struct

from webhook.audit.source import Progress, Unreadable, expand, parallel
from webhook.audit.table import engine, sums
from webhook.audit.table.identity import Source, identity
from webhook.audit.table.manifest import Manifest, Part, manifest_of, replace, sync
from webhook.audit.table.schema import ORDER
from webhook.audit.table.stage import stage
from webhook.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NULL = "__HIVE_DEFAULT_PARTITION__"
"""How Hive, and so Spark and DuckDB, name the folder of what is null or empty."""

_COMMIT = 4 << 30
"""Bytes of input after which a run makes sure of what it has."""

__all__ = ["Source", "Summary", "put", "update"]


class Summary(Struct, kw_only=True):
    """What a run has done."""

    out: str
    read: int = 0
    """Inputs."""
    known: int = 0
    """Inputs that an earlier run has read."""
    records: int = 0
    """Events of writes, with stages and duplicates, in the inputs of this run."""
    reads: int = 0
    other_resources: int = 0
    rows: int = 0
    """In the folder, now."""
    added: int = 0
    clusters: list[str] = []
    first: datetime.date | None = None
    last: datetime.date | None = None
    unreadable: dict[str, int] = {}


def update(
    folder: Path,
    logs: Sequence[str],
    source: Source,
    *,
    jobs: int = 1,
    progress: Progress = lambda _file, _bytes: None,
) -> tuple[Summary, Unreadable]:
    """Adds what is new in `logs`, read in `jobs` processes. Raises `UserError`, and `OSError` for what cannot be opened
    or written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = expand(logs)
    with _alone(folder):
        run = _Run(folder, source)
        try:
            run.read(files, jobs, progress)
        finally:
            run.sweep()
        return run.summary(), run.unreadable


def put(folder: Path, rows: Path, source: Source) -> Summary:
    """Adds rows that are in a Parquet file of the table's schema."""
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        run = _Run(folder, source)
        run.commit([str(rows)], [])
        return run.summary()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another `wouldblock facts` is writing there; wait for it to end") from None
        yield


class _Run:
    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self.source = source
        self.unreadable = Unreadable()
        found = manifest_of(folder)
        if found is None:
            if any(folder.glob("**/*.parquet")):
                raise UserError(f"{folder}: holds Parquet files of something else; give an empty folder")
            found = Manifest()
            replace(folder, found)  # from here on, what it does not name may be removed
        self._manifest = found
        self._before = sum(part.rows for part in found.parts)
        self.sweep()
        self._staging = folder / f".staging-{uuid.uuid4().hex[:12]}"
        self._inputs = set(self._manifest.inputs)
        self._summary = Summary(out=str(folder))
        self._counts: Counter[str] = Counter()

    def read(self, files: Sequence[str], jobs: int, progress: Progress) -> None:
        """Reads the inputs that are not known, and makes sure of what it has after some gigabytes."""
        group: list[tuple[str, str]] = []
        size = 0
        for file in files:
            mark = "" if file == "-" else identity(file, self.source)
            if mark and mark in self._inputs:
                self._summary.known += 1
                continue
            self._inputs.add(mark)
            group.append((file, mark))
            size += Path(file).stat().st_size if mark else 0
            if size >= _COMMIT:
                self._take(group, jobs, progress)
                group, size = [], 0
        # Little is read before another process has begun.
        self._take(group, jobs if size >= parallel.PART_MIN else 1, progress)

    def _take(self, group: Sequence[tuple[str, str]], jobs: int, progress: Progress) -> None:
        if not group:
            return
        done = stage(group, self.source, self._staging, jobs=jobs, progress=progress)
        self._counts.update(done.counts)
        self.unreadable.merge(done.unreadable)
        self._summary.read += len(group)
        self.commit(done.paths, [mark for _, mark in group if mark])

    def summary(self) -> Summary:
        found, parts = self._summary, self._manifest.parts
        found.records = self._counts["events"]
        found.reads = self._counts["reads"]
        found.other_resources = self._counts["other_resources"]
        found.rows = sum(part.rows for part in parts)
        found.added = found.rows - self._before
        found.clusters = sorted({part.cluster for part in parts})
        days = sorted(part.day for part in parts if part.day is not None)
        found.first, found.last = (days[0], days[-1]) if days else (None, None)
        found.unreadable = dict(sorted(self.unreadable.counts.items()))
        return found

    def commit(self, staged: Sequence[str], inputs: Sequence[str]) -> None:
        """Puts what was staged into the days it belongs to, and the manifest in place of the one before."""
        known = (*self._manifest.inputs, *inputs)
        if not staged:
            self._replace(msgspec.structs.replace(self._manifest, inputs=known))
            return
        with contextlib.closing(engine.connect()) as connection:
            parts = {(part.cluster, part.day): part for part in self._manifest.parts}
            touched = connection.execute(
                f"SELECT DISTINCT cluster, day FROM {engine.parquet(staged)} ORDER BY ALL"  # noqa: S608
            ).fetchall()
            lost = {cluster for cluster, day in [*touched, *parts] if day is None}
            for cluster, day in [each for each in touched if each[1] is not None]:
                parts[cluster, day] = self._merge(connection, staged, cluster, day, parts.get((cluster, day)))
            # A record without its time is known by its request only: it gives way when a whole one has come.
            for cluster in sorted(lost):
                days = [self._path(part) for part in parts.values() if part.cluster == cluster and part.day is not None]
                part = self._merge(connection, staged, cluster, None, parts.pop((cluster, None), None), days)
                if part.rows:
                    parts[cluster, None] = part
        merged = [parts[key] for key in sorted(parts, key=lambda key: (key[0], str(key[1])))]
        self._replace(Manifest(inputs=known, parts=tuple(merged)))
        self.sweep()

    def _merge(
        self,
        connection: DuckDBPyConnection,
        staged: Sequence[str],
        cluster: str,
        day: datetime.date | None,
        old: Part | None,
        whole: Sequence[str] = (),
    ) -> Part:
        """Writes one day of one cluster: what is staged of it, and what was there."""
        partition = f"cluster={quote(cluster, safe='') or NULL}/day={day or NULL}"
        mark = uuid.uuid4().hex[:12]
        path = self.folder / partition / f"{mark}.parquet"
        beside = path.with_name(sums.name(mark))
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.execute("SET VARIABLE cluster = $1", [cluster])
        connection.execute("SET VARIABLE day = $1::DATE", [day])
        where = "cluster = getvariable('cluster') AND day IS NOT DISTINCT FROM getvariable('day')"
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW together AS SELECT * FROM "  # noqa: S608
            f"{engine.parquet([*staged, *([self._path(old)] if old else [])])} WHERE {where}"
        )
        if day is None:
            query = engine.lost("together", engine.parquet(whole) if whole else "")
        elif connection.execute(f"{engine.twice('together')} LIMIT 1").fetchone():
            query = engine.once("together")
        else:
            query = "SELECT * FROM together"
        sorted_ = f"SELECT * FROM ({query}) ORDER BY {', '.join(ORDER)}"  # noqa: S608
        rows = _write(connection, sorted_, path)
        engine.over(connection, [str(path)])
        _write(connection, sums.together(), beside)
        sync(path.parent)
        return Part(str(path.relative_to(self.folder)), cluster, day, rows, str(beside.relative_to(self.folder)))

    def _path(self, part: Part) -> str:
        return str(self.folder / part.path)

    def _replace(self, manifest: Manifest) -> None:
        replace(self.folder, manifest)
        self._manifest = manifest

    def sweep(self) -> None:
        """Removes what no manifest speaks of: left by a run that was killed, or superseded."""
        held = {path for part in self._manifest.parts for path in (part.path, part.sums)}
        for left in self.folder.glob(".staging-*"):
            shutil.rmtree(left)
        for kind in ("*.parquet", "*.sums"):
            for path in self.folder.glob(f"cluster=*/day=*/{kind}"):
                if str(path.relative_to(self.folder)) not in held:
                    path.unlink()


def _write(connection: DuckDBPyConnection, query: str, path: Path) -> int:
    """Writes what a query gives to the disk; returns how many rows."""
    written = connection.execute(
        f"COPY ({query}) TO {engine.quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return written[0] if written else 0
