"""What a run of `tickets` does or would do, for people and for machines. Pure; the command line prints it.

The JSON keys are documented here and stay: keys may be added, none changes its meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from webhook.audit.render import safe
from webhook.audit.tickets.alertmanager import Action, What
from webhook.audit.tickets.document import count, due, plain, shown
from webhook.audit.tickets.model import Workload
from webhook.audit.tickets.reconcile import Change, Kind

SCHEMA = "wouldblock.dev/tickets/v1"
SIGNS: Mapping[Kind, str] = {"create": "+", "update": "~", "reopen": "!", "close": "-", "none": " "}
KINDS: tuple[Kind, ...] = ("create", "update", "reopen", "close", "none")
LISTED = 10


def as_json(
    changes: Sequence[Change],
    files: Mapping[str, str],
    actions: Mapping[str, Sequence[Action]],
    skipped: Mapping[str, int],
    *,
    applied: bool,
) -> dict[str, Any]:
    """`applied` (false for a plan), `changes[]` (`kind`: create, update, reopen, close, none; `fields` that an update
    touches; `file`; `ticket`, whole), `summary` (changes by kind, and `open`), `alertmanagers` (address → `fire`,
    `refresh`, `resolve`: fingerprints), `without_ticket` (policy that asks for none → findings). Times are RFC 3339.
    """
    return {
        "schema": SCHEMA,
        "applied": applied,
        "changes": [
            {
                "kind": each.kind,
                "fields": list(each.fields),
                "file": files.get(each.after.fingerprint, ""),
                "ticket": plain(each.after),
            }
            for each in changes
        ],
        "summary": {
            **dict.fromkeys(KINDS, 0),
            **Counter(each.kind for each in changes),
            "open": still_open(changes),
        },
        "alertmanagers": {
            address: {
                what: [each.fingerprint for each in todo if each.what == what]
                for what in ("fire", "refresh", "resolve")
            }
            for address, todo in actions.items()
        },
        "without_ticket": dict(sorted(skipped.items())),
    }


def still_open(changes: Iterable[Change]) -> int:
    return sum(each.after.state == "open" for each in changes)


def as_lines(
    changes: Sequence[Change], files: Mapping[str, str], actions: Mapping[str, Sequence[Action]], *, applied: bool
) -> list[str]:
    """One change a paragraph, then the sums. Unchanged tickets are counted only."""
    lines: list[str] = []
    for change in changes:
        if change.kind != "none":
            lines += [*_change(change, files.get(change.after.fingerprint, "")), ""]
    counts = Counter(change.kind for change in changes)
    verbs = (
        ("created", "updated", "reopened", "closed") if applied else ("to create", "to update", "to reopen", "to close")
    )
    sums = [f"{counts[kind]} {verb}" for kind, verb in zip(KINDS, verbs, strict=False)]
    lines.append(f"tickets: {', '.join(sums)}, {counts['none']} unchanged; {still_open(changes)} open")
    for address, todo in actions.items():
        done = Counter(each.what for each in todo)
        parts = [f"{done[what]} {verb if applied else f'to {order}'}" for what, verb, order in _ACTIONS]
        lines.append(f"{address}: {', '.join(parts)}")
    return lines


_ACTIONS: tuple[tuple[What, str, str], ...] = (
    ("fire", "fired", "fire"),
    ("refresh", "sent again", "send again"),
    ("resolve", "resolved", "resolve"),
)


def _change(change: Change, file: str) -> list[str]:
    ticket = change.after
    lines = [f"{SIGNS[change.kind]} {change.kind} [{ticket.priority}] {safe(ticket.policy)}, {safe(ticket.place)}"]
    if ticket.cluster:
        lines[0] += f", cluster {safe(ticket.cluster)}"
    if ticket.state == "open":
        lines[0] += f", owner {safe(ticket.owner) or 'unknown'}" if ticket.scope == "namespace" else ""
        lines[0] += f", due {due(ticket)}"
    before = change.before
    lines += [
        f"    ~ {name}: {safe(str(getattr(before, name)))} → {safe(str(getattr(ticket, name)))}"
        for name in (change.fields if change.kind == "update" else ())
    ]
    workloads = change.workloads
    lines += [f"    {_workload(old, new, scope=ticket.scope)}" for old, new in workloads[:LISTED]]
    if len(workloads) > LISTED:
        lines.append(f"    … and {count(len(workloads) - LISTED, 'more workload')}")
    if change.kind == "update" and before is not None and before.coverage != ticket.coverage:
        lines.append(f"    ~ coverage: {ticket.coverage.reviewed} of {count(ticket.coverage.writes, 'write')} reviewed")
    if file:
        lines.append(f"    {safe(file)}")
    return lines


def _workload(old: Workload | None, new: Workload, *, scope: str) -> str:
    name = safe(new.title if scope == "namespace" else f"{new.namespace}/{new.title}")
    if old is None:
        return f"+ {name}: {count(new.writes, 'write')}" + (f", last {shown(new.last_seen)}" if new.last_seen else "")
    if old.status != new.status:
        return f"{'-' if new.settled else '!'} {name}: {new.status}" + (f", {safe(new.why)}" if new.why else "")
    return f"~ {name}: {old.writes} → {count(new.writes, 'write')}" + (f", {safe(new.why)}" if new.why else "")
