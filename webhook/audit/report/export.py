"""A report for other programs: JSON, CSV, Parquet, Markdown.

JSON is the figures themselves (`figures` documents the fields). CSV and Parquet have a row for each (workload, policy).
What a spreadsheet would take for a formula, or a Markdown reader for markup, is made harmless here.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TextIO

import msgspec

from webhook.audit.render import safe
from webhook.audit.report import summary
from webhook.audit.report.figures import Coverage, Report
from webhook.audit.report.summary import listed, share
from webhook.audit.tickets.document import code

COLUMNS: Mapping[str, str] = {
    "cluster": "text",
    "namespace": "text",
    "kind": "text",
    "name": "text",
    "team": "text",
    "policy": "text",
    "severity": "text",
    "status": "text",
    "why": "text",
    "new": "bool",
    "preexisting": "bool",
    "first_seen": "time",
    "last_seen": "time",
    "writes": "int",
    "errors": "int",
    "sources": "text",
    "client": "text",
    "user": "text",
    "message": "text",
    "audit_id": "text",
}
"""Columns of CSV and Parquet with their types; `audit_id` names the latest violating write in the log."""


def as_json(report: Report, *, indent: int | None = None) -> Iterator[str]:
    """The report as JSON, piece by piece; each coverage has its `share`, null for 0 of 0. Times are RFC 3339 in UTC."""
    return json.JSONEncoder(indent=indent, default=_plain).iterencode(report)


def _plain(value: Any) -> Any:
    """What JSON does not know, one level of it."""
    if not isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    return {**fields, "share": value.share} if isinstance(value, Coverage) else fields


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """One for each (workload, policy), also those that are settled."""
    severities = {each.id: each.severity for each in report.policies}
    for workload in report.workloads:
        for found in workload.found:
            yield {
                "cluster": workload.cluster,
                "namespace": workload.namespace,
                "kind": workload.kind,
                "name": workload.name,
                "team": workload.owner,
                "policy": found.policy,
                "severity": severities.get(found.policy, ""),
                "status": found.status,
                "why": found.why,
                "new": found.blocked and report.new_since is not None and found.first >= report.new_since,
                "preexisting": found.preexisting,
                "first_seen": found.first,
                "last_seen": found.last,
                "writes": found.writes,
                "errors": found.errors,
                "sources": " ".join(found.sources),
                "client": found.client,
                "user": found.user,
                "message": found.message,
                "audit_id": found.audit_id,
            }


def write_csv(report: Report, file: TextIO) -> None:
    """RFC 4180 with a head; every cell is harmless in a spreadsheet."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in rows(report):
        writer.writerow([_cell(row[name]) for name in COLUMNS])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, int):
        return str(value)
    return harmless(value)


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def harmless(text: str) -> str:
    """The text, with a quote before it where a spreadsheet would begin to calculate."""
    shown = safe(text)
    return f"'{shown}" if shown.lstrip(" '\"").startswith(_FORMULA) else shown


def as_parquet(report: Report) -> bytes:
    """The rows of `rows`, texts as they are. Raises `ImportError` without pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "bool": pa.bool_(), "time": pa.timestamp("us", tz="UTC"), "int": pa.int64()}
    schema = pa.schema([pa.field(name, types[kind], nullable=False) for name, kind in COLUMNS.items()])
    found = ({name: _storable(value) for name, value in row.items()} for row in rows(report))
    written = io.BytesIO()
    with pq.ParquetWriter(written, schema, compression="zstd") as writer:
        while some := list(islice(found, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    return written.getvalue()


_ROWS = 5_000
"""That are in Python at once."""


def _storable(value: Any) -> Any:
    """Lone surrogates are no Unicode text, and Parquet holds nothing else."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def as_markdown(report: Report, *, top: int = 50) -> str:
    """Headline, coverage and tables, at most `top` rows each (0: all)."""
    parts = [f"# {summary.headline(report)}", summary.lead(report), summary.seen(report)]
    parts = [each for each in parts if each]
    gaps = sorted(report.coverage.gaps.items(), key=lambda each: -each[1])
    if gaps:
        parts.append("\n".join(f"* {number:,} `{cause}`: {summary.CAUSES.get(cause, '')}" for cause, number in gaps))
    for head, columns, found in _tables(report):
        if found:
            shown = found[:top] if top else found
            table = [_row(columns), _row(["---"] * len(columns)), *map(_row, shown)]
            more = f"\n\n… {len(found) - len(shown):,} more" if len(shown) < len(found) else ""
            parts.append(f"## {head}\n\n" + "\n".join(table) + more)
    return "\n\n".join(parts) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tables(report: Report) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    yield (
        "Teams",
        ["team", "workloads", "new", "settled", "worst", "policies", "last seen", "reviewed"],
        [
            [
                _name(row.name) or "(no known team)",
                f"{row.workloads:,}",
                f"{row.new:,}",
                f"{row.settled:,}",
                row.severity,
                _name(listed(row.policies, 3)),
                f"{row.last:%Y-%m-%d}" if row.last else "",
                share(row.coverage),
            ]
            for row in report.teams
            if row.workloads
        ],
    )
    yield (
        "Policies",
        ["policy", "severity", "workloads", "teams", "new", "settled", "reviewed", "fix"],
        [
            [
                _name(row.id),
                row.severity,
                f"{row.workloads:,}",
                f"{row.owners:,}",
                f"{row.new:,}",
                f"{row.settled:,}",
                share(row.coverage),
                _name(row.remediation),
            ]
            for row in report.policies
        ],
    )
    yield (
        "Workloads",
        ["workload", "namespace", "team", "policies", "worst", "status", "last seen", "written by"],
        [
            [
                _name(row.title),
                _name(row.namespace),
                _name(row.owner),
                _name(", ".join(row.policies)),
                row.severity,
                row.status,
                f"{row.last:%Y-%m-%d}",
                _name(row.client),
            ]
            for row in report.workloads
            if row.policies
        ],
    )
    yield (
        "Refused already",
        ["refused by", "writes", "workloads", "last seen"],
        [
            [_name(row.policy), f"{row.writes:,}", f"{row.workloads:,}", f"{row.last:%Y-%m-%d}"]
            for row in report.denials
        ],
    )


def _name(text: str) -> str:
    """A name from the log in a cell of a table: as code, in which nothing is markup."""
    return code(text).replace("|", "\\|") if text else ""
