"""The facts table as DuckDB views: `facts`, by kind `writes`, `findings` and `blind`, and those of `sums`.

Each write is in them once, however many stages, files and runs it came in: of several records the weightiest speaks
for it. Bounded in memory and threads; what does not fit spills to a temporary folder that goes with the connection.
"""

from __future__ import annotations

import datetime
import importlib.util
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webhook.audit.table import sums
from webhook.audit.table.manifest import manifest_of
from webhook.audit.table.rows import EMPTY
from webhook.audit.table.schema import COLUMNS, KEY, WRITE, arrow, sql_type
from webhook.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "256MB"
"""Of DuckDB alone: Python and Arrow come on top, and together they stay below 400 MB."""
THREADS = 2

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def connect(*, memory: str = MEMORY, threads: int = THREADS) -> DuckDBPyConnection:
    """An empty database in memory, bounded, in UTC. Raises `UserError` where DuckDB is not installed."""
    require()
    import duckdb

    spill = tempfile.mkdtemp(prefix="wouldblock-")
    connection = duckdb.connect(
        config={
            "memory_limit": memory,
            "threads": threads,
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": False,
            # Every question reads the same files.
            "parquet_metadata_cache": True,
        }
    )
    weakref.finalize(connection, shutil.rmtree, spill, ignore_errors=True)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def require() -> None:
    """Raises `UserError` where DuckDB or Arrow is not installed."""
    if any(importlib.util.find_spec(module) is None for module in ("duckdb", "pyarrow")):
        raise UserError("the facts table needs DuckDB and Arrow: pip install 'wouldblock[audit]'")


def from_rows(rows: Iterable[Mapping[str, Any]]) -> DuckDBPyConnection:
    """The views over `rows`; what a row does not say is empty, false or 0, and its `day` follows from its `time`.

    `time`: a datetime with a zone, ISO 8601 text, or microseconds since the epoch.
    """
    connection = connect()
    import pyarrow as pa

    table = pa.Table.from_pylist([_complete(row) for row in rows], schema=arrow())
    connection.register("given", table)
    connection.execute("CREATE TABLE stored AS SELECT * FROM given")
    connection.unregister("given")
    views(connection)
    return connection


def _complete(row: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := row.keys() - EMPTY.keys():
        raise ValueError(f"no columns of the facts table: {', '.join(sorted(unknown))}")
    complete: dict[str, Any] = {**EMPTY, **row}
    time = complete["time"]
    if isinstance(time, str):
        time = datetime.datetime.fromisoformat(time)
    elif isinstance(time, int):
        time = _EPOCH + datetime.timedelta(microseconds=time)
    if time is not None:
        complete["time"] = time.astimezone(datetime.UTC)
        complete["day"] = complete["time"].date()
    return complete


def open_facts(folder: Path | str) -> DuckDBPyConnection:
    """The views over what `wouldblock facts --out` wrote, or Spark. Raises `UserError` when there is nothing."""
    folder = Path(folder)
    manifest = manifest_of(folder)
    if manifest is not None:
        files = [str(folder / part.path) for part in manifest.parts]
    else:
        files = sorted(map(str, folder.glob("cluster=*/day=*/*.parquet")))
    if not files:
        raise UserError(f"{folder}: no facts are there; make some with `wouldblock facts LOG… --out {folder}`")
    connection = connect()
    if manifest is not None:
        over(connection, files)
        known = [str(folder / part.sums) for part in manifest.parts if sums.current(part.sums)]
        _sums(connection, known if len(known) == len(files) else ())
    else:
        # Spark leaves what the folders say out of the files, and has no unsigned numbers.
        columns = ", ".join(
            f"coalesce(CAST({_name(each.name)} AS {sql_type(each)}), '') AS {_name(each.name)}"
            if each.name == "cluster"
            else f"CAST({_name(each.name)} AS {sql_type(each)}) AS {_name(each.name)}"
            for each in COLUMNS
        )
        stored = parquet(files).replace(
            "hive_partitioning = false", "hive_partitioning = true, hive_types_autocast = false"
        )
        connection.execute(f"CREATE VIEW stored AS SELECT {columns} FROM {stored}")  # noqa: S608
        connection.execute(f"CREATE TABLE facts AS {once('stored')} UNION ALL {lost('stored')}")
        _by_kind(connection)
        _sums(connection)
    return connection


def over(connection: DuckDBPyConnection, files: Iterable[str]) -> None:
    """Makes the views, but for those of `sums`, over files in which every write is once."""
    connection.execute(f"CREATE OR REPLACE VIEW facts AS SELECT * FROM {parquet(files)}")  # noqa: S608
    _by_kind(connection)


def views(connection: DuckDBPyConnection) -> None:
    """Makes the views over `stored`, a table or view of that name with the table's columns."""
    connection.execute(f"CREATE TABLE facts AS {_exact('stored')} AND {_not_whole('stored')}")
    _by_kind(connection)
    _sums(connection)


def _by_kind(connection: DuckDBPyConnection) -> None:
    for view, kind in (("writes", "write"), ("findings", "finding"), ("blind", "blind")):
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM facts WHERE kind = '{kind}'")  # noqa: S608


def _sums(connection: DuckDBPyConnection, files: Sequence[str] = ()) -> None:
    """Makes the views of `sums`: over these files, or over the facts."""
    for statement in sums.views(parquet(files) if files else ""):
        connection.execute(statement)


def parquet(files: Iterable[str], options: str = "hive_partitioning = false") -> str:
    """The table function that reads `files`."""
    return f"read_parquet([{', '.join(map(quoted, files))}], {options})"


def once(table: str) -> str:
    """The query that takes each write of `table` with a time once. Few are there twice: only those are weighed."""
    each = ", ".join(f"{table}.{column}" for column in _NAMES)
    same = " AND ".join(f"twice.{column} = {table}.{column}" for column in WRITE)
    some = f"({twice(table)}) AS twice"
    return (
        f"SELECT {each} FROM {table} ANTI JOIN {some} ON {same} WHERE time IS NOT NULL UNION ALL "  # noqa: S608
        + _exact(f"(SELECT {each} FROM {table} SEMI JOIN {some} ON {same} WHERE time IS NOT NULL)")  # noqa: S608
    )


def twice(table: str) -> str:
    """The query that names the writes with a time of which `table` holds several records."""
    return (
        f"SELECT {', '.join(WRITE)} FROM {table} WHERE kind = 'write' AND time IS NOT NULL"  # noqa: S608
        " GROUP BY ALL HAVING count(*) > 1"
    )


def lost(table: str, whole: str = "") -> str:
    """The query that takes each record of `table` without a time once, where no whole one is in it or in `whole`."""
    query = f"{_exact(f'(SELECT * FROM {table} WHERE time IS NULL)')} AND {_not_whole(table)}"  # noqa: S608
    return f"{query} AND {_not_whole(whole)}" if whole else query


def _exact(table: str) -> str:
    """Of several records of one write the weightiest, and each row of it once."""
    content = ", ".join(column for column in _NAMES if column != '"requests"')
    return f"""
SELECT {", ".join(_NAMES)} FROM (
    SELECT {content}, (sum(requests) OVER same)::INTEGER AS requests,
        row_number() OVER (same ORDER BY {content}) AS number,
        max(weight) OVER (PARTITION BY {", ".join(WRITE)}) AS most
    FROM {table}
    WINDOW same AS (PARTITION BY {", ".join(KEY)}, weight)
) AS each
WHERE number = 1 AND weight = most"""  # noqa: S608 - only our own names go in


def _not_whole(table: str) -> str:
    return (
        "(each.time IS NOT NULL OR NOT EXISTS (SELECT 1 FROM "  # noqa: S608
        f"{table} AS whole WHERE whole.time IS NOT NULL AND whole.cluster = each.cluster"
        " AND whole.request = each.request))"
    )


def _name(column: str) -> str:
    return '"' + column + '"'


def quoted(text: str) -> str:
    """A text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"


_NAMES = [_name(column.name) for column in COLUMNS]
