"""The facts table as DuckDB views: `facts`, and by kind `writes`, `findings` and `blind`.

Each write is in them once, however many stages, files and runs it came in: of several records the weightiest speaks
for it. Bounded in memory and threads; what does not fit spills to a temporary folder that goes with the connection.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    try:
        import duckdb
        import pyarrow  # noqa: F401 - the rows go through it
    except ImportError:
        raise UserError("the facts table needs DuckDB and Arrow: pip install 'wouldblock[audit]'") from None
    spill = tempfile.mkdtemp(prefix="wouldblock-")
    connection = duckdb.connect(
        config={
            "memory_limit": memory,
            "threads": threads,
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": False,
        }
    )
    weakref.finalize(connection, shutil.rmtree, spill, ignore_errors=True)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


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


_EMPTY: dict[str, Any] = {
    column.name: None
    if column.nullable
    else {"text": "", "words": "", "bool": False, "uint64": 0, "int32": 0, "int16": 0}[column.type]
    for column in COLUMNS
}


def _complete(row: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := row.keys() - _EMPTY.keys():
        raise ValueError(f"no columns of the facts table: {', '.join(sorted(unknown))}")
    complete: dict[str, Any] = {**_EMPTY, **row}
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
    """The views over what `wouldblock facts --out` wrote. Raises `UserError` when there is nothing."""
    files = sorted(Path(folder).glob("cluster=*/day=*/*.parquet"))
    if not files:
        raise UserError(f"{folder}: no facts are there; make some with `wouldblock facts LOG… --out {folder}`")
    connection = connect()
    names = ", ".join(_quoted(str(file)) for file in files)
    connection.execute(f"CREATE VIEW stored AS SELECT * FROM read_parquet([{names}], hive_partitioning = false)")  # noqa: S608
    views(connection)
    return connection


def views(connection: DuckDBPyConnection) -> None:
    """Makes the views over `stored`, a table or view of that name with the table's columns."""
    connection.execute(f"CREATE VIEW facts AS {once('stored')}")
    for view, kind in (("writes", "write"), ("findings", "finding"), ("blind", "blind")):
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM facts WHERE kind = '{kind}'")  # noqa: S608


def once(table: str) -> str:
    """The query that takes each write of `table` once. A record that lost its time counts where no whole one is."""
    names = [_name(each.name) for each in COLUMNS]
    content = ", ".join(name for name in names if name != '"requests"')
    columns = ", ".join(name for name in names if name != '"requests"')
    return f"""
SELECT {", ".join(names)} FROM (
    SELECT {columns}, (sum(requests) OVER same)::INTEGER AS requests,
        row_number() OVER (same ORDER BY {content}) AS number,
        max(weight) OVER (PARTITION BY {", ".join(WRITE)}) AS most
    FROM {table}
    WINDOW same AS (PARTITION BY {", ".join(KEY)})
) AS each
WHERE number = 1 AND weight = most AND (time IS NOT NULL OR NOT EXISTS (
    FROM {table} AS whole
    WHERE whole.time IS NOT NULL AND whole.cluster = each.cluster AND whole.request = each.request))
"""  # noqa: S608 - only our own names go in


def _name(column: str) -> str:
    return '"' + column + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["connect", "from_rows", "once", "open_facts", "sql_type", "views"]
