"""A report on deprecated API calls as JSON values, CSV, Markdown and text. Pure; the command line prints it.

Clients and users come from the log, so whoever may send a request wrote them. The JSON keys and CSV columns are
documented here and stay.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from webhook.audit.render import CLUSTER_SCOPED, moment, safe
from webhook.audit.tickets.document import code, count
from webhook.audit.upgrade import Effect, Report, Row, callers

SCHEMA = "wouldblock.dev/upgrade/v1"
HEADINGS: dict[Effect, str] = {
    "breaks": "Removed in 1.{target}: these requests will fail",
    "gone": "Removed already: these requests find nothing",
    "deprecated": "Deprecated: these go on in 1.{target}, and fail later",
}
COLUMNS = (
    "effect",
    "group",
    "version",
    "resource",
    "client",
    "client_versions",
    "user",
    "namespace",
    "requests",
    "verbs",
    "first",
    "last",
    "deprecated_in",
    "removed_in",
    "replacement",
    "control_plane",
    "reads_seen",
)


def as_json(report: Report) -> dict[str, Any]:
    """`target`; `rows[]` with the columns of `as_csv`, `verbs` by name, and `audit_ids`; `log` (`start`, `end`,
    `server_versions`, `reads`, `writes`,
    `writes_only`, `reads_of`: resources); `breaking`: rows that stop the upgrade."""
    return {
        "schema": SCHEMA,
        "target": f"1.{report.target}",
        "breaking": len(report.breaking),
        "rows": [
            {
                **_values(row),
                "client_versions": sorted(filter(None, row.calls.versions)),
                "verbs": dict(sorted(row.calls.verbs.items())),
                "audit_ids": row.calls.audit_ids,
                "marked_by_server": row.calls.marked,
            }
            for row in report.rows
        ],
        "log": {
            "start": moment(report.start),
            "end": moment(report.end),
            "server_versions": [f"1.{minor}" for minor in report.server_minors],
            "reads": report.reads,
            "writes": report.writes,
            "writes_only": not report.read,
            "reads_of": [f"{resource}.{group}" if group else resource for group, resource in report.read],
        },
    }


def as_csv(report: Report) -> str:
    """One row a caller of an API. What a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in report.rows:
        values = _values(row)
        values["client_versions"] = " ".join(sorted(filter(None, row.calls.versions)))
        values["verbs"] = _verbs(row)
        writer.writerow([_cell(values[column]) for column in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = safe(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _values(row: Row) -> dict[str, Any]:
    return {
        "effect": row.effect,
        "group": row.api.group,
        "version": row.api.version,
        "resource": row.api.resource,
        "client": row.caller.client,
        "user": row.caller.user,
        "namespace": row.caller.namespace,
        "requests": row.calls.requests,
        "first": moment(row.calls.first) if row.calls.first else "",
        "last": moment(row.calls.last) if row.calls.last else "",
        "deprecated_in": _release(row.deprecated),
        "removed_in": _release(row.removed),
        "replacement": row.replacement,
        "control_plane": row.control_plane,
        "reads_seen": row.reads_seen,
    }


def as_text(report: Report) -> list[str]:
    lines: list[str] = []
    for title, apis in _sections(report):
        lines += [title]
        for head, rows in apis:
            lines += ["", f"  {head}"]
            table = [_cells(row) for row in rows]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += [
                "    " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
                for cells in table
            ]
        lines.append("")
    return [*lines, *summary(report)]


def as_markdown(report: Report) -> list[str]:
    lines = [f"# Upgrade to Kubernetes 1.{report.target}", "", *summary(report)]
    for title, apis in _sections(report):
        lines += ["", f"## {title}"]
        for head, rows in apis:
            lines += ["", f"### {head}", ""]
            for row in rows:
                client, user, where, requests, last = _cells(row)
                lines.append(f"- {code(client)} as {code(user)} in {code(where)}: {requests}, {last}")
    return lines


def summary(report: Report) -> list[str]:
    """What it comes to, and what the log cannot say."""
    breaking = report.breaking
    lines = []
    if breaking:
        apis = {row.api for row in breaking}
        lines.append(
            f"{count(callers(breaking), 'caller')} of {count(len(apis), 'API')} will not work in 1.{report.target}"
        )
    elif report.sees_reads:
        lines.append(f"nothing in the log calls an API that 1.{report.target} does not serve")
    else:
        lines.append(f"no write in the log calls an API that 1.{report.target} does not serve")
    if not report.read:
        lines.append("writes only: the log holds no reads, so who only lists or watches a removed API is not seen")
    elif not report.sees_reads:
        names = ", ".join(safe(resource) for _, resource in report.read)
        lines.append(f"writes only, but for {names}: no other reads are in the log, so who only reads is not seen")
    if report.start:
        lines.append(f"seen from {moment(report.start)} to {moment(report.end)}; who called before or since is not")
    return lines


def _sections(report: Report) -> list[tuple[str, list[tuple[str, list[Row]]]]]:
    """(heading, [(API, rows)]); what the control plane itself calls comes last."""
    sections = []
    for effect, heading in HEADINGS.items():
        rows = [row for row in report.rows if row.effect == effect and not row.control_plane]
        if rows:
            sections.append((heading.format(target=report.target), _by_api(rows)))
    own = [row for row in report.rows if row.control_plane]
    if own:
        sections.append(("Kubernetes' own components, which are upgraded along", _by_api(own)))
    return sections


def _by_api(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups = []
    for _, found in groupby(rows, key=lambda row: row.api):
        each = list(found)
        removed = next((row.removed for row in each if row.removed), 0)
        head = safe(each[0].api.title)
        head += f": removed in {_release(removed)}" if removed else ": no date of removal"
        if each[0].replacement:
            head += f", use {each[0].replacement}"
        if not each[0].reads_seen:
            head += " (writes only: no reads of it in the log)"
        groups.append((head, each))
    return groups


def _cells(row: Row) -> tuple[str, ...]:
    versions = sorted(filter(None, row.calls.versions))
    more = f" (+{len(versions) - 3})" if len(versions) > 3 else ""
    client = f"{row.caller.client or '(no user agent)'} {', '.join(versions[:3])}{more}".rstrip()
    return (
        safe(client),
        safe(row.caller.user) or "(unknown user)",
        safe(row.caller.namespace) or CLUSTER_SCOPED,
        f"{count(row.calls.requests, 'request')} ({_verbs(row)})",
        f"last {moment(row.calls.last)}" if row.calls.last else "",
    )


def _verbs(row: Row) -> str:
    return ", ".join(f"{safe(verb)} {number}" for verb, number in sorted(row.calls.verbs.items()))


def _release(minor: int) -> str:
    return f"1.{minor}" if minor else ""
