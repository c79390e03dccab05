"""A ticket as one Markdown file: state in YAML front matter, text for people, and below a marker what people wrote.

Equal tickets give equal bytes, and a small change a small difference. Names, messages and clients come from the log, so
whoever may create objects wrote them: in text they stand in code spans without line breaks, in YAML escaped. Pure.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from webhook.audit.render import safe
from webhook.audit.tickets.model import SCHEMA, Coverage, Ticket, Time, Workload
from webhook.audit.tickets.template import BY_ID
from webhook.errors import Problem

MARKER = "<!-- wouldblock: above this line is written anew by each run; what you write below it stays -->"
NOTES = "\n\n## Notes\n"
"""What stands below the marker of a new ticket."""
SHOWN = 50
"""Workloads listed in the text; the front matter has all."""
_FENCE = "---"


class Document(Struct, frozen=True):
    """A file's content."""

    ticket: Ticket
    notes: str
    """All below the marker, as it is; with the line break in front."""


def render(ticket: Ticket, *, acceptance: Sequence[str], notes: str = NOTES) -> str:
    """The file's text. `acceptance`: commands, the first of which shows whether it is done."""
    front = yaml.dump(
        plain(ticket), Dumper=_Dumper, sort_keys=False, allow_unicode=False, default_flow_style=False, width=120
    )
    return f"{_FENCE}\n{front}{_FENCE}\n" + "\n".join([*_text(ticket, acceptance), "", MARKER]) + notes


def parse(text: str, file: str) -> Document | Problem | None:
    """What `render` wrote, and what people added; None for a file that is no ticket at all."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0] != _FENCE or _FENCE not in lines[1:]:
        return None
    end = lines.index(_FENCE, 1)
    front = "\n".join(lines[1:end])
    if "wouldblock.dev/ticket/" not in front:
        return None
    try:
        value = yaml.load(front, Loader=_Loader)  # noqa: S506
        if value.get("schema") != SCHEMA:
            return Problem(
                file=file, line=2, message=f"schema {safe(str(value.get('schema')))!r} is not known; expected {SCHEMA}"
            )
        ticket = msgspec.convert(value, Ticket, strict=False)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = safe(str(getattr(error, "problem", "") or "no YAML"))
        return Problem(
            file=file, line=mark.line + 2 if mark is not None else 1, message=f"front matter: {what}; {_FIX}"
        )
    except (msgspec.ValidationError, AttributeError) as error:
        return Problem(file=file, line=1, message=f"front matter: {safe(str(error))}; {_FIX}")
    if ticket.template not in BY_ID:
        known = ", ".join(BY_ID)
        return Problem(file=file, line=1, message=f"template {safe(ticket.template)!r} is none of {known}; {_FIX}")
    rest = lines[end + 1 :]
    if MARKER not in rest:
        return Problem(
            file=file,
            line=end + 2,
            message=f"the line `{MARKER}` is missing, so what you wrote cannot be told from what is written anew: put "
            "it back above your own text",
        )
    notes = "\n".join(["", *rest[rest.index(MARKER) + 1 :]])
    return Document(ticket, notes)


_FIX = "put it back as it was (version control has it), or remove the file: an open ticket is then made anew"


def plain(ticket: Ticket) -> dict[str, Any]:
    """The ticket as plain values; what is empty is left out, but for what every reader looks for."""
    return {
        "schema": ticket.schema,
        "fingerprint": ticket.fingerprint,
        "state": ticket.state,
        **_filled(msgspec.to_builtins(ticket)),
        "workloads": [
            {"kind": each.kind, "name": each.name, "status": each.status, **_filled(msgspec.to_builtins(each))}
            for each in ticket.workloads
        ],
    }


def _filled(value: Any) -> Any:
    """Without what is empty, at any depth: each such field has the empty value as its default."""
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items() if each not in (None, "", 0, (), [], {})}
    return [_filled(each) for each in value] if isinstance(value, (list, tuple)) else value


_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Makes strings only; msgspec knows the types. libyaml's, where there is one: a ticket may name thousands."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml's, where there is one
    """No anchors: equal times in two places are no relation."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(ticket: Ticket, acceptance: Sequence[str]) -> list[str]:
    template = BY_ID[ticket.template]
    unsettled, settled = ticket.unsettled, [each for each in ticket.workloads if each.settled]
    lines = ["", f"# [{ticket.priority}] {line(ticket.title)}: {_place(ticket)}", ""]
    lines += [f"**{state(ticket)}** · {template.title} · owner {code(ticket.owner) if ticket.owner else 'unknown'}", ""]
    lines.append(
        f"If policy {code(ticket.policy)} (severity {ticket.severity}) were enforced, Kubernetes would deny what "
        f"{count(len(unsettled), 'workload')} here {'was' if len(unsettled) == 1 else 'were'} last seen to write."
        if unsettled
        else f"Policy {code(ticket.policy)} (severity {ticket.severity}) would deny nothing here any more."
    )
    if ticket.reopened:
        lines.append(f"It came back {count(ticket.reopened, 'time')} after it was closed.")
    if unsettled:
        lines += ["", "## To mend", "", *_listed(unsettled, ticket)]
    if settled:
        lines += ["", "## Settled", "", *_listed(settled, ticket)]
    lines += ["", "## How", ""]
    if ticket.remediation:
        lines += [line(ticket.remediation), ""]
    lines += [f"{number}. {step}" for number, step in enumerate(template.steps, 1)]
    if ticket.references:
        lines += ["", f"References: {', '.join(map(code, ticket.references))}."]
    lines += ["", "## Done when", ""]
    lines += [
        "The first command exits with 0. (`AUDIT_LOG` is an audit log that holds the mending, `TICKETS` this folder.)"
    ]
    lines += ["The ticket then closes by itself.", "", "```sh", *acceptance, "```", "", "## Evidence", ""]
    lines += [coverage(ticket.coverage), "", "Each audit id names an event of the audit log."]
    return lines


def _listed(workloads: Sequence[Workload], ticket: Ticket) -> list[str]:
    lines = []
    for each in workloads[:SHOWN]:
        where = f" in {code(each.namespace)}" if ticket.scope == "owner" else ""
        what = f"- [{'x' if each.settled else ' '}] {code(each.title)}{where}"
        if each.settled:
            what += f": {each.status}" + (f", {line(each.why)}" if each.why else "")
        else:
            what += f": {count(each.writes, 'write')}, {_span(each)}"
            what += f", by {code(each.client)}" if each.client else ""
        lines.append(what)
        if not each.settled:
            lines += [f"  - not proven mended: {line(each.why)}"] if each.why else []
            lines += [f"  - {code(each.message)}"] if each.message else []
            lines += [f"  - audit ids {', '.join(map(code, each.audit_ids))}"] if each.audit_ids else []
    if len(workloads) > SHOWN:
        lines.append(f"- and {count(len(workloads) - SHOWN, 'more workload')}, listed at the top of this file")
    return lines


def _span(workload: Workload) -> str:
    first, last = workload.first_seen, workload.last_seen
    if first is None or last is None:
        return "when is not known"
    return f"seen {shown(first)}" if first == last else f"first seen {shown(first)}, last {shown(last)}"


def _place(ticket: Ticket) -> str:
    where = ticket.cluster and f" of cluster {code(ticket.cluster)}"
    if ticket.scope == "owner":
        return (f"what {code(ticket.owner)} owns" if ticket.owner else "what nobody owns") + where
    return (f"namespace {code(ticket.namespace)}" if ticket.namespace else "cluster-scoped objects") + where


def state(ticket: Ticket) -> str:
    """`Open, due …` or `Closed …`."""
    if ticket.state == "closed" and ticket.closed is not None:
        return f"Closed {shown(ticket.closed)}"
    return f"Open since {shown(ticket.opened)}, due {due(ticket)} ({BY_ID[ticket.template].deadline})"


def due(ticket: Ticket) -> str:
    """In the calendar's zone, for people."""
    offset = ticket.due.utcoffset() or datetime.timedelta()
    zone = "UTC" if not offset else f"UTC{ticket.due:%z}"
    return f"{ticket.due:%a %Y-%m-%d %H:%M} {zone}"


def coverage(seen: Coverage) -> str:
    """In one sentence."""
    if not seen.writes:
        return "Nothing that the policy looks at was written here."
    share = 100 * seen.reviewed / seen.writes
    gaps = ", ".join(f"{number} {safe(cause)}" for cause, number in sorted(seen.gaps.items()))
    span = f" from {shown(seen.start)} to {shown(seen.end)}" if seen.start and seen.end else ""
    return (
        f"{seen.reviewed} of {count(seen.writes, 'write')} that the policy looks at{span} were reviewed here "
        f"({share:.1f} %)" + (f"; not seen: {gaps}." if gaps else ".")
    )


def code(text: str) -> str:
    """A Markdown code span that holds any text: nothing in it is markup, and it stays on its line."""
    clean = safe(text)
    longest = max(map(len, re.findall(r"`+", clean)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if not clean or clean[0] in "` " or clean[-1] in "` " else ""
    return f"{fence}{pad}{clean}{pad}{fence}"


def line(text: str) -> str:
    """Text of a policy's author or our own on one line: markup stays, line breaks and control characters do not."""
    return safe(" ".join(text.split())).replace("<!--", "< !--")


def shown(time: Time) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
