"""Audit events → rows of the facts table, the same in one process, many, or Spark.

Takes what sources give, in any order; knows no files. Duplicates are left in: they cross the borders of files and
partitions, so the views take each write once (`engine`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from webhook.audit.reading import Interest, Reading, Write
from webhook.audit.source import Events, Lines, Unreadable
from webhook.audit.table.rows import Row, rows_of, unreadable
from webhook.audit.table.schema import arrow

if TYPE_CHECKING:
    import pyarrow

WRITES = Interest(
    frozenset(),
    everything=True,
    dull=frozenset(
        (
            b"events",
            b"leases",
            b"localsubjectaccessreviews",
            b"selfsubjectaccessreviews",
            b"selfsubjectreviews",
            b"selfsubjectrulesreviews",
            b"status",
            b"subjectaccessreviews",
            b"token",
            b"tokenreviews",
        )
    ),
)
"""Every write but heartbeats, status reports and questions: most of a log, and no policy's business. Where somebody
reviewed them all the same, they count."""

ELSEWHERE = frozenset(
    (
        "admission_review",
        "control_message",
        "incomplete_last_line",
        "invalid_utf8",
        "not_audit_text",
        "unreadable_annotation",
    )
)
"""Trouble that hides no write, or that the write's own rows tell of."""

_CUT = "cut_event"
_SAID = ("/reviewed", "/validation_failure")


class Mapper(Reading):
    """Makes rows of writes. `cluster` goes before what the export says of it."""

    def __init__(self, *, is_ours: Callable[[str], bool], unreadable: Unreadable, cluster: str = "") -> None:
        super().__init__(interest=WRITES, is_ours=is_ours, unreadable=unreadable, texts=True)
        self._given = cluster
        self._cluster = cluster
        self._rows: list[Row] = []
        self.told = 0
        """Cut records of which enough is left to know whether they are writes, and which: they need no other row."""

    def add(self, found: Lines | Events) -> None:
        """Takes what a source has found."""
        self._cluster = self._given or found.cluster
        before = self.told
        super().add(found)
        if isinstance(found, Events):
            # Reads as well: they are not kept.
            self.told = before + sum(record.cut for record in found.records)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> list[Row]:
        """The rows since the last time."""
        rows, self._rows = self._rows, []
        return rows

    @property
    def cluster(self) -> str:
        """Of what was added last."""
        return self._cluster

    def _keep(self, write: Write) -> None:
        self.told += write.time is None
        # Out of envelopes come events that `_matters` was not asked about: the rule is the same for them.
        fact = write.fact
        if fact.resource.encode() in WRITES.dull or fact.subresource.encode() in WRITES.dull:
            notes = write.event.annotations
            if not notes or not any(key.endswith(_SAID) for key in notes):
                return
        self._rows.extend(rows_of(write, self._cluster))


def unread(trouble: Unreadable, told: int, identity: str, file: str, cluster: str) -> list[Row]:
    """A row for each reason for which something in the input `identity`, called `file`, was not read."""
    counts = trouble.counts - Counter({_CUT: told, **dict.fromkeys(ELSEWHERE, trouble.counts.total())})
    return [
        unreadable(
            cluster,
            identity,
            reason,
            f"{count} in {file}, the first at byte {trouble.places[reason][0].offset}",
            count,
        )
        for reason, count in sorted(counts.items())
    ]


def batch(rows: Sequence[Row], schema: pyarrow.Schema | None = None) -> pyarrow.RecordBatch:
    """The rows as Arrow, in the table's schema."""
    import pyarrow as pa

    schema = schema or arrow()
    columns: Sequence[Any] = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.RecordBatch.from_arrays(
        [_array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _array(values: Sequence[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow as pa

    try:
        if pa.types.is_decimal(kind):
            return pa.array(values, pa.uint64()).cast(kind)
        return pa.array(values, kind)
    except UnicodeEncodeError:
        # Half of a pair of surrogates, which JSON can say and UTF-8 cannot.
        return pa.array([value.encode("utf-8", "replace").decode() for value in values], kind)
