"""A readiness report as JSON values and as a table for people. Pure; the command line prints it.

Names come from the log, so whoever may create objects wrote them: what could move a terminal's cursor is escaped.
The JSON keys are documented here and stay: keys may be added, none changes its meaning.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

from webhook.audit.facts import Facts
from webhook.audit.readiness import Report
from webhook.audit.source import Unreadable
from webhook.audit.verdict import GAPS, SECOND, Readiness

SCHEMA = "wouldblock.dev/readiness/v1"
CLUSTER_SCOPED = "(cluster)"


def as_json(report: Report, facts: Facts, unreadable: Unreadable) -> dict[str, Any]:
    """The whole report.

    `verdicts[]`: `policy`, `namespace` (empty: cluster-scoped objects), `version` (Pod Security only), `basis`
    (`webhook`: our annotations, `native`: the API server's own), `verdict`, `condition` (the first that failed, empty
    for `enforce`), `reason` (the same in words), `window` (`start`, `end`, `seconds`), `writes` (accepted writes that
    concern the policy, without dry runs), `coverage` (`reviewed`, `of`, `share` or null for 0 of 0), `gaps` (by
    cause), `outside` (`rejected`, `dry_run`, `exempt_namespace`, `exempt`,
    `before_start`), `violations`, `errors`, `exempted`,
    `not_comparable`, `open` (`k`), `superseded` (mended workloads with leftovers of an old template that violate),
    `draining` (of them: written just now), `changes` (`n`), `upper_bound`, `last_violation` (`time`, `workload`) or
    null, `snapshots`. Times are RFC 3339 in UTC.

    `log`: `start`, `end`, `server_versions` (that its components gave away), `records` (by what became of them),
    `unreadable` (by reason: `count`, `places[]` with `file` and byte `offset`), `cut_writes`, `silences[]` (`start`,
    `end`), `unknown_sets` (digest → reviews).
    """
    return {
        "schema": SCHEMA,
        "verdicts": [_row(row) for row in report.rows],
        "log": {
            "start": moment(report.start),
            "end": moment(report.end),
            "server_versions": [f"v1.{minor}" for minor in sorted(facts.server_minors)],
            "records": dict(sorted(facts.counts.items())),
            "unreadable": {
                reason: {
                    "count": count,
                    "places": [{"file": each.file, "offset": each.offset} for each in unreadable.places[reason]],
                }
                for reason, count in sorted(unreadable.counts.items())
            },
            "cut_writes": report.cut,
            "silences": [{"start": moment(each.start), "end": moment(each.end)} for each in report.gaps],
            "unknown_sets": dict(sorted(report.unknown_sets.items())),
        },
    }


def _row(row: Readiness) -> dict[str, Any]:
    last = row.last_violation
    return {
        "policy": row.policy,
        "namespace": row.namespace,
        "version": row.version,
        "basis": row.basis,
        "verdict": row.verdict,
        "condition": row.condition,
        "reason": row.reason,
        "window": {
            "start": moment(row.start),
            "end": moment(row.end),
            "seconds": (row.end - row.start) // SECOND,
        },
        "writes": row.writes,
        "coverage": {
            "reviewed": row.reviewed,
            "of": row.writes,
            "share": row.reviewed / row.writes if row.writes else None,
        },
        "gaps": {gap: row.outcomes.get(gap, 0) for gap in GAPS},
        "outside": {
            "rejected": row.outcomes.get("rejected", 0),
            "dry_run": row.outcomes.get("dry_run", 0),
            "exempt_namespace": row.outcomes.get("exempt_namespace", 0),
            "exempt": row.outcomes.get("exempt", 0),
            "before_start": row.before_start,
        },
        "violations": row.violations,
        "errors": row.errors,
        "exempted": row.exempted,
        "not_comparable": row.not_comparable,
        "open": row.k,
        "superseded": row.superseded,
        "draining": row.draining,
        "changes": row.n,
        "upper_bound": row.bound,
        "last_violation": {"time": moment(last.time), "workload": last.workload} if last is not None else None,
        "snapshots": list(row.snapshots),
    }


_HEADS = (
    "VERDICT",
    "POLICY",
    "NAMESPACE",
    "REVIEWED",
    "VIOLATIONS",
    "ERRORS",
    "EXEMPTED",
    "NOT COMPARABLE",
    "FAILED OPEN",
    "OPEN",
    "AT MOST",
    "DAYS",
    "LAST VIOLATION",
)


def as_table(rows: Sequence[Readiness]) -> list[str]:
    """Lines: a head, then one a row, and under those that are not `enforce` the reason."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(_HEADS, *cells, strict=True)]
    lines = [_line(_HEADS, widths)]
    for row, each in zip(rows, cells, strict=True):
        lines.append(_line(each, widths))
        if row.condition:
            lines.append(f"  {safe(row.reason)}")
        if row.superseded and row.condition != "draining":
            lines.append(f"  {left_over(row)}")
    return lines


def left_over(row: Readiness) -> str:
    """What enforcement would do to the leftovers of mended workloads."""
    one = row.superseded == 1
    return (
        f"{row.superseded} mended workload{' has' if one else 's have'} leftovers of an old template that violate: "
        "they drain by themselves, but enforcement would refuse writes to them, and a rollback"
    )


def _cells(row: Readiness) -> tuple[str, ...]:
    last = row.last_violation
    return (
        row.verdict,
        safe(title(row)),
        safe(row.namespace or CLUSTER_SCOPED),
        f"{row.reviewed}/{row.writes}",
        str(row.violations),
        str(row.errors),
        str(row.exempted),
        str(row.not_comparable),
        str(row.outcomes.get("failed_open", 0)),
        f"{row.k}/{row.n}",
        f"{row.bound:.1%}",
        f"{(row.end - row.start) / SECOND / 86_400:.1f}",
        f"{moment(last.time)} {safe(last.workload)}".rstrip() if last is not None else "-",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def title(row: Readiness) -> str:
    return f"{row.policy}@{row.version}" if row.version else row.policy


def safe(text: str) -> str:
    """The text with everything escaped that is not printable: controls, bidirectional and zero-width characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_SECRETS = re.compile(
    r"(?P<url>(?<=://)[^/\s:@]*:[^/\s@]+(?=@))"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_\w{30,}|\bxox[abprs]-[\w-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY.*"
    r"|(?i:(?<=password=)|(?<=passwd=)|(?<=token=)|(?<=secret=)|(?<=api_key=)|(?<=apikey=))[^\s&\"',;]+",
    re.DOTALL,
)


def masked(text: str) -> str:
    """The text with what looks like a secret left out: messages may quote what they are about."""
    return _SECRETS.sub("***", text)


def moment(time: int) -> str:
    """Microseconds since the epoch → RFC 3339, whole seconds."""
    return datetime.datetime.fromtimestamp(time // SECOND, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
