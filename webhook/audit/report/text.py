"""A report for a terminal: the sentence, what it rests on, and tables that fit its width.

Names come from the log; what could move a cursor or hide is escaped, and what does not fit is cut with an ellipsis.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from msgspec import Struct

from webhook.audit.render import safe
from webhook.audit.report import summary
from webhook.audit.report.figures import Report
from webhook.audit.report.summary import listed, percent

NOBODY = "(no known team)"
CLUSTER_SCOPED = "(cluster)"
_LEAST = 8
"""Columns; no column is cut below this."""


class Column(Struct, frozen=True):
    head: str
    right: bool = False


def lines(report: Report, *, width: int = 100, top: int = 15) -> Iterator[str]:
    """Lines of at most `width` columns where names allow it; at most `top` rows a table (0: all)."""
    yield from _wrapped(summary.headline(report), width)
    if report.window is None:
        return
    yield from _wrapped(summary.lead(report), width)
    yield from _wrapped(summary.seen(report), width)
    for cause, number in sorted(report.coverage.gaps.items(), key=lambda each: -each[1]):
        yield from _wrapped(f"  {number:,} {cause}: {summary.CAUSES.get(cause, '')}", width)
    for each in report.blind:
        if each.cause not in report.coverage.gaps:
            reason = f" ({safe(each.reason)})" if each.reason else ""
            yield from _wrapped(f"  {each.count:,} {each.cause}{reason}: {summary.CAUSES.get(each.cause, '')}", width)
    for title, columns, rows in _tables(report):
        if not rows:
            continue
        yield ""
        shown = rows[:top] if top else rows
        yield from fitted(columns, shown, width)
        if len(shown) < len(rows):
            yield f"  … {len(rows) - len(shown):,} more {title} (--top 0 shows all)"


_Rows = list[tuple[str, ...]]


def _tables(report: Report) -> Iterator[tuple[str, Sequence[Column], _Rows]]:
    number = [Column(each, right=True) for each in ("WORKLOADS", "NEW", "SETTLED")]
    yield (
        "teams",
        [Column("TEAM"), *number, Column("WORST"), Column("POLICIES"), Column("LAST"), Column("REVIEWED", right=True)],
        [
            (
                row.name or NOBODY,
                *_counts(row.workloads, row.new, row.settled),
                row.severity or "-",
                listed(row.policies, 2) or "-",
                f"{row.last:%Y-%m-%d}" if row.last else "-",
                percent(row.coverage.reviewed, row.coverage.writes),
            )
            for row in report.teams
            if row.workloads
        ],
    )
    yield (
        "policies",
        [
            Column("POLICY"),
            *number,
            Column("SEVERITY"),
            Column("TEAMS", right=True),
            Column("FIRST"),
            Column("LAST"),
            Column("REVIEWED", right=True),
        ],
        [
            (
                row.id,
                *_counts(row.workloads, row.new, row.settled),
                row.severity or "-",
                f"{row.owners:,}",
                f"{row.first:%Y-%m-%d}" if row.first else "-",
                f"{row.last:%Y-%m-%d}" if row.last else "-",
                percent(row.coverage.reviewed, row.coverage.writes) if row.coverage else "-",
            )
            for row in report.policies
        ],
    )
    yield (
        "namespaces",
        [Column("NAMESPACE"), *number, Column("WORST"), Column("TEAM"), Column("LAST"), Column("REVIEWED", right=True)],
        [
            (
                (f"{row.cluster}/" if len(report.clusters) > 1 else "") + (row.name or CLUSTER_SCOPED),
                *_counts(row.workloads, row.new, row.settled),
                row.severity or "-",
                row.owner or "-",
                f"{row.last:%Y-%m-%d}" if row.last else "-",
                percent(row.coverage.reviewed, row.coverage.writes),
            )
            for row in report.namespaces
            if row.workloads
        ],
    )
    yield (
        "clients",
        [Column("CLIENT"), *number[:2], Column("USERS", right=True), Column("POLICIES"), Column("LAST")],
        [
            (
                row.name or "-",
                *_counts(row.workloads, row.new, row.users),
                listed(row.policies, 2),
                f"{row.last:%Y-%m-%d}" if row.last else "-",
            )
            for row in report.clients
        ],
    )
    yield (
        "workloads",
        [
            Column("WORKLOAD"),
            Column("NAMESPACE"),
            Column("WORST"),
            Column("STATUS"),
            Column("POLICIES"),
            Column("LAST"),
        ],
        [
            (
                row.title,
                row.namespace or CLUSTER_SCOPED,
                row.severity or "-",
                f"{row.status}{' new' if row.new else ''}",
                listed(row.policies, 3),
                f"{row.last:%Y-%m-%d}",
            )
            for row in report.workloads
            if row.policies
        ],
    )
    yield (
        "refusals",
        [Column("REFUSED ALREADY BY"), Column("WRITES", right=True), Column("WORKLOADS", right=True), Column("LAST")],
        [
            (row.policy or "-", f"{row.writes:,}", f"{row.workloads:,}", f"{row.last:%Y-%m-%d}")
            for row in report.denials
        ],
    )


def _counts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{each:,}" for each in numbers)


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Head and rows, aligned; the widest columns of text give way until a line fits."""
    cells = [[each.head for each in columns], *([safe(cell) for cell in row] for row in rows)]
    widths = [max(cell_width(row[at]) for row in cells) for at in range(len(columns))]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        at = max((at for at, each in enumerate(columns) if not each.right), key=lambda at: widths[at], default=-1)
        if at < 0 or widths[at] <= max(_LEAST, len(columns[at].head)):
            break
        widths[at] -= 1
    for row in cells:
        yield "  ".join(
            _padded(cell, wide, right=column.right) for cell, wide, column in zip(row, widths, columns, strict=True)
        ).rstrip()


def cell_width(text: str) -> int:
    """Columns that a terminal gives to printable text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def _padded(text: str, width: int, *, right: bool) -> str:
    if cell_width(text) > width:
        kept, used = "", 0
        for each in text:
            used += cell_width(each)
            if used > width - 1:
                break
            kept += each
        text = kept + "…"
    space = " " * (width - cell_width(text))
    return space + text if right else text + space


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Our own sentences, broken between words."""
    indent = text[: len(text) - len(text.lstrip())]
    line = ""
    for word in safe(text).split():
        if line and cell_width(line) + 1 + cell_width(word) > width - len(indent):
            yield indent + line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield indent + line
