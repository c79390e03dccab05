"""The same mapper on an existing Spark: `mapInArrow` makes the rows, Spark takes each write once, facts are identical.

    from webhook.audit import spark as wouldblock

    logs = session.read.text("s3a://audit/2026/*")             # or .format("binaryFile"), see below
    wouldblock.write(wouldblock.facts(logs, cluster="prod-eu"), "s3a://facts")

Workers need `wouldblock[audit]`, and nothing of them is kept. Knows DataFrames; reading and rows are the table's.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.source import Unreadable
from webhook.audit.source.reader import events_in
from webhook.audit.source.unpack import unpacked
from webhook.audit.table.identity import BLOCK, Source, identity_of
from webhook.audit.table.mapper import WRITES, Mapper, batch, unread
from webhook.audit.table.rows import Row
from webhook.audit.table.schema import COLUMNS, WRITE, Column, arrow
from webhook.audit.table.stage import BATCH
from webhook.errors import UserError

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import DataFrame

_TYPES = {
    "text": "string",
    "words": "string",
    "date": "date",
    "time": "timestamp",
    "uint64": "decimal(20,0)",  # Spark has no unsigned numbers
    "int32": "int",
    "int16": "smallint",
    "bool": "boolean",
}
SCHEMA = ", ".join(f"`{each.name}` {_TYPES[each.type]}" for each in COLUMNS)
"""The table's columns as Spark's DDL."""


def facts(logs: DataFrame, *, cluster: str = "", names: Sequence[str] = (WEBHOOK_NAME,)) -> DataFrame:
    """The facts in `logs`, each write once.

    `logs` has a column `value` with a line each (`read.text`: any format of one record a line), or `path` and
    `content` with a file each (`read.format("binaryFile")`: every format, also packed). `cluster` goes before what an
    export says, `names` are those of the webhook. Raises `UserError` for other columns.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise UserError("this needs Spark: pip install 'wouldblock[spark]'")
    source = Source(Ours(tuple(names)), cluster)
    if "content" in logs.columns and "path" in logs.columns:
        rows = logs.select("path", "content").mapInArrow(_Files(source), SCHEMA)
    elif "value" in logs.columns:
        rows = logs.select("value").mapInArrow(_Texts(source), SCHEMA)
    else:
        raise UserError(
            f"a DataFrame with the columns {', '.join(logs.columns)}: expected `value` (read.text), or `path` and "
            '`content` (read.format("binaryFile"))'
        )
    return once(rows)


def once(rows: DataFrame) -> DataFrame:
    """Each write once: of several records the weightiest; one that lost its time only where no whole one is."""
    from pyspark.sql import Window, functions

    names = [column.name for column in COLUMNS]
    content = [name for name in names if name != "requests"]
    # All that is asked is within one request, so one exchange does.
    merged = rows.repartition("cluster", "request").groupBy(*content)
    counted = merged.agg(functions.sum("requests").cast("int").alias("requests"))
    # Spark's windows take nulls for equal, as ours do.
    most = functions.max("weight").over(Window.partitionBy(*WRITE))
    whole = functions.max("time").over(Window.partitionBy("cluster", "request"))
    weighed = counted.withColumn("most", most).withColumn("whole", whole)
    return weighed.where("weight = most AND (time IS NOT NULL OR whole IS NULL)").select(*names)


def write(rows: DataFrame, folder: str, *, mode: str = "errorifexists") -> None:
    """As Parquet by cluster and day, which `--facts` of `report`, `tickets` and `compare` reads."""
    rows.repartition("cluster", "day").sortWithinPartitions("time").write.partitionBy("cluster", "day").mode(
        mode
    ).parquet(folder)


class _Map(Struct, frozen=True):
    """Runs in Spark's workers: Arrow in, Arrow out."""

    source: Source

    def __call__(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        schema = _schema(COLUMNS)
        for rows in self.rows(batches):
            if rows:
                yield batch(rows, schema)

    def rows(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[list[Row]]:
        raise NotImplementedError

    def read(self, mapper: Mapper, name: str, text: Iterable[bytes]) -> Iterator[list[Row]]:
        for found in events_in(name, text, mapper.unreadable, skip_reads=True, wanted=WRITES.wants):
            mapper.add(found)
            if len(mapper) >= BATCH:
                yield mapper.take()
        yield mapper.take()

    def mapper(self) -> Mapper:
        return Mapper(is_ours=self.source.ours, unreadable=Unreadable(), cluster=self.source.cluster)


class _Texts(_Map, frozen=True):
    """Lines of whatever files; where one was is not known."""

    def rows(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[list[Row]]:
        import pyarrow as pa

        mapper = self.mapper()
        seen = hashlib.blake2b(digest_size=16)

        def texts() -> Iterator[bytes]:
            for each in batches:
                # As bytes: what is not UTF-8 is the reader's business.
                lines = each.column(0).cast(pa.binary()).to_pylist()
                if lines:
                    text = b"\n".join(line or b"" for line in lines) + b"\n"
                    seen.update(text)
                    yield text

        yield from self.read(mapper, "a partition", texts())
        yield unread(mapper.unreadable, mapper.told, seen.hexdigest(), "a partition", mapper.cluster)


class _Files(_Map, frozen=True):
    """Whole files."""

    def rows(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[list[Row]]:
        for each in batches:
            for path, content in zip(each.column(0).to_pylist(), each.column(1).to_pylist(), strict=True):
                mapper = self.mapper()
                for name, text in unpacked(path, iter([content]), mapper.unreadable):
                    yield from self.read(mapper, name, text)
                last = content[-min(BLOCK, len(content) - BLOCK) :] if len(content) > BLOCK else b""
                mark = identity_of(len(content), content[:BLOCK], last, self.source)
                yield unread(mapper.unreadable, mapper.told, mark, path.rpartition("/")[2], mapper.cluster)


def _schema(columns: Sequence[Column]) -> Any:
    """The table's Arrow schema with the types that Spark takes."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, pa.decimal128(20, 0) if column.type == "uint64" else field.type, nullable=True)
        for field, column in zip(arrow(), columns, strict=True)
    ]
    return pa.schema(fields)
