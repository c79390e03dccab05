"""The tables of the page: teams, policies, namespaces, clients, workloads, refusals.

They are complete without a script; `data-…` attributes tell the script what may be sorted and shortened. End tags that
HTML lets one leave out are left out: with ten thousand workloads they are a tenth of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Struct

from webhook.audit.report.figures import Found, Policy, Report, Team, Time, Workload
from webhook.audit.report.page.charts import sparkline
from webhook.audit.report.page.markup import Html, join, tag, text
from webhook.audit.report.summary import listed, share

CLUSTER_SCOPED = "(cluster-scoped)"
NOBODY = "(no known team)"


class Column(Struct, frozen=True):
    """`sort`: `n` numbers, `rank` severities, `d` dates, `no` not at all; empty for names."""

    name: str
    sort: str = ""


class Detail(Struct, frozen=True):
    """How much the list of workloads says of each. The first that fits is taken."""

    messages: bool
    whole_ids: bool


DETAILS = (Detail(True, True), Detail(False, True), Detail(False, False))


def table(
    name: str,
    what: str,
    caption: str,
    columns: Sequence[Column],
    body: Html,
    *,
    most: int = 25,
    **attributes: str | None,
) -> Html:
    head = "".join(map(_head, columns))
    inner = tag(
        "table",
        Html(f"<caption id={name}-caption>{text(caption, 1_000)}</caption><thead><tr>{head}</thead>{body}"),
        id=name,
        data_what=what,
        data_most=str(most),
        **attributes,
    )
    return Html(
        f"<div class=tools id={name}-tools></div>"
        f"<div class=scroll tabindex=0 role=region aria-labelledby={name}-caption>{inner}</div>"
    )


def _head(column: Column) -> str:
    number = " class=n" if column.sort == "n" else ""
    sort = f" data-sort={column.sort}" if column.sort else ""
    return f"<th scope=col{number}{sort}>{column.name}"


def teams(report: Report) -> Html:
    body = "".join(_team(each) for each in report.teams)
    return table(
        "teams",
        "teams",
        f"Would-be-blocked workloads by team, worst first. {_window(report)}",
        (
            Column("Team"),
            Column("Workloads", "n"),
            Column("New", "n"),
            Column("Settled", "n"),
            Column("Worst", "rank"),
            Column("Policies"),
            Column("Last seen", "d"),
            Column("Reviewed", "n"),
            Column("Trend", "no"),
        ),
        Html(f"<tbody>{body}</tbody>"),
        data_leads="team",
    )


def _team(row: Team) -> str:
    return (
        f"<tr><th scope=row{'' if row.name else ' data-none=1'}>{text(row.name or NOBODY)}"
        f"<td class=n data-to>{row.workloads:,}<td class=n>{row.new:,}<td class=n>{row.settled:,}"
        f"<td>{severity(row.severity)}<td class=ids>{text(listed(row.policies, 2) or '–', 600)}"
        f"<td class=d>{date(row.last)}<td class=n>{share(row.coverage)}<td>{sparkline(row.trend)}"
    )


def policies(report: Report) -> Html:
    exempted = any(each.exempted for each in report.policies)
    body = "".join(_policy(each, exempted) for each in report.policies)
    return table(
        "policies",
        "policies",
        f"What each policy would block if it were enforced, and how to mend it. {_window(report)}",
        (
            Column("Policy"),
            Column("Severity", "rank"),
            Column("Workloads", "n"),
            Column("Teams", "n"),
            Column("New", "n"),
            Column("Settled", "n"),
            *((Column("Exempted", "n"),) if exempted else ()),
            Column("First seen", "d"),
            Column("Last seen", "d"),
            Column("Reviewed", "n"),
            Column("Trend", "no"),
        ),
        Html(f"<tbody>{body}</tbody>"),
        most=60,
        data_leads="policies",
    )


def _policy(row: Policy, exempted: bool) -> str:
    notes = [row.title]
    if row.remediation:
        notes.append(f"Fix: {row.remediation}")
    if row.references:
        notes.append(f"See {listed(row.references, 3)}")
    if row.errors:
        notes.append(f"Of its findings {row.errors:,} are errors of the expression, which enforcement denies too.")
    if row.not_comparable:
        notes.append(f"On {row.not_comparable:,} writes the verdict may differ from the API server's.")
    if row.unproven:
        notes.append(f"{row.unproven:,} of its workloads were written since, unproven to pass.")
    if set(row.sources) - {"wouldblock"}:
        notes.append(f"Found by {', '.join(row.sources)}.")
    small = "".join(f"<small>{text(note, 600)}</small>" for note in notes if note)
    return (
        f"<tr><th scope=row>{text(row.id)}{small}<td>{severity(row.severity)}"
        f"<td class=n data-to>{row.workloads:,}<td class=n>{row.owners:,}<td class=n>{row.new:,}"
        f"<td class=n>{row.settled:,}{f'<td class=n>{row.exempted:,}' if exempted else ''}"
        f"<td class=d>{date(row.first)}<td class=d>{date(row.last)}"
        f"<td class=n>{share(row.coverage)}<td>{sparkline(row.trend)}"
    )


def namespaces(report: Report) -> Html:
    many = len(report.clusters) > 1
    body = "".join(
        f"<tr><th scope=row>{text(row.name or CLUSTER_SCOPED)}{f'<td>{text(row.cluster)}' if many else ''}"
        f"<td class=ids>{text(row.owner or NOBODY)}{'<td class=n data-to>' if row.name else '<td class=n>'}"
        f"{row.workloads:,}<td class=n>{row.new:,}<td class=n>{row.settled:,}<td>{severity(row.severity)}"
        f"<td class=d>{date(row.last)}<td class=n>{share(row.coverage)}"
        for row in report.namespaces
    )
    return table(
        "namespaces",
        "namespaces",
        f"The same by namespace, with the team that owns it. {_window(report)}",
        (
            Column("Namespace"),
            *((Column("Cluster"),) if many else ()),
            Column("Team"),
            Column("Workloads", "n"),
            Column("New", "n"),
            Column("Settled", "n"),
            Column("Worst", "rank"),
            Column("Last seen", "d"),
            Column("Reviewed", "n"),
        ),
        Html(f"<tbody>{body}</tbody>"),
        data_leads="namespace",
    )


def clients(report: Report) -> Html:
    body = "".join(
        f"<tr><th scope=row>{text(row.name or '(unknown)', 120)}<td class=n>{row.workloads:,}<td class=n>{row.new:,}"
        f"<td class=n>{row.users:,}<td class=n>{row.namespaces:,}<td class=ids>{text(listed(row.policies, 3), 600)}"
        f"<td class=d>{date(row.last)}"
        for row in report.clients
    )
    return table(
        "clients",
        "clients",
        "Which programs would have been refused, by the product in their User-Agent. What a controller made of an "
        f"object counts for who wrote the object. {_window(report)}",
        (
            Column("Client"),
            Column("Workloads", "n"),
            Column("New", "n"),
            Column("Users", "n"),
            Column("Namespaces", "n"),
            Column("Policies"),
            Column("Last seen", "d"),
        ),
        Html(f"<tbody>{body}</tbody>"),
    )


def denials(report: Report) -> Html:
    body = "".join(
        f"<tr><th scope=row>{text(row.policy or '(unknown)')}{_small(row.message)}"
        f"<td class=n>{row.writes:,}<td class=n>{row.workloads:,}<td class=n>{row.namespaces:,}"
        f"<td class=ids>{text(listed(row.clients, 4), 600)}<td class=d>{date(row.first)}<td class=d>{date(row.last)}"
        for row in report.denials
    )
    return table(
        "denials",
        "refusals",
        f"What was really refused, by what refused it. It is in none of the other figures. {_window(report)}",
        (
            Column("Refused by"),
            Column("Writes", "n"),
            Column("Workloads", "n"),
            Column("Namespaces", "n"),
            Column("Clients"),
            Column("First seen", "d"),
            Column("Last seen", "d"),
        ),
        Html(f"<tbody>{body}</tbody>"),
    )


def workloads(report: Report, rows: Sequence[Workload], detail: Detail, codes: dict[str, str]) -> Html:
    """Grouped by namespace; the script makes columns of the groups. `codes`: policy → short name, or its own."""
    many = len(report.clusters) > 1
    ordered = sorted(rows, key=lambda row: (row.cluster, row.namespace, row.owner))
    bodies = []
    for (cluster, namespace, owner), group in groupby(ordered, key=lambda row: (row.cluster, row.namespace, row.owner)):
        name = f"{cluster}/{namespace or CLUSTER_SCOPED}" if many else namespace or CLUSTER_SCOPED
        bodies.append(
            f"<tbody><tr class=g><th colspan=6 scope=rowgroup><b>{text(name, 500)}</b>"
            f"<span>{text(owner or NOBODY)}</span>{''.join(_workload(row, detail, codes) for row in group)}"
        )
    return table(
        "workloads",
        "workloads",
        f"Every workload that would be blocked, by namespace. {_window(report)}",
        (
            Column("Workload"),
            Column("Policies"),
            Column("Worst", "rank"),
            Column("Last seen", "d"),
            Column("New", "new"),
            *((Column("Written by"),) if detail.whole_ids else ()),
        ),
        Html("".join(bodies)),
        most=50,
        data_groups="Namespace Team",
        data_codes=None if detail.whole_ids else "Policies",
    )


SHORT_KINDS = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "ReplicaSet": "rs",
    "CronJob": "cj",
    "Job": "job",
    "Pod": "po",
}
"""As `kubectl` takes them, where the page has to be small."""


def _workload(row: Workload, detail: Detail, codes: dict[str, str]) -> str:
    found = [each for each in row.found if each.blocked]
    ids = text((", " if detail.whole_ids else " ").join(codes.get(each.policy, each.policy) for each in found), 2_000)
    if detail.messages:
        ids = join((ids, *(_message(each) for each in found)))
    new = "<td>new" if row.new else ""
    if not detail.whole_ids:
        kind = SHORT_KINDS.get(row.kind) if row.name else None
        name = f"{kind}/{row.name}" if kind else row.title
        return f"<tr><td>{text(name, 300)}<td>{ids}<td>{text(row.severity)}<td>{row.last:%m-%d}{new}"
    return (
        f"<tr><td>{text(row.title, 300)}<td class=p>{ids}<td>{severity(row.severity)}<td class=d>{date(row.last)}"
        f"{new or '<td>'}<td class=ids>{text(row.client, 60)}\n"
    )


def _message(found: Found) -> Html:
    said = " ".join(filter(None, (found.message, f"({found.why})" if found.status == "unproven" else "")))
    return _small(said)


def _small(said: str) -> Html:
    return Html(f"<small>{text(said, 240)}</small>" if said else "")


def severity(name: str) -> Html:
    return Html(f"<i class={name}>{name}</i>" if name else "–")


def date(time: Time | None) -> Html:
    return Html(time.strftime("%Y-%m-%d") if time is not None else "–")


def _window(report: Report) -> str:
    if report.window is None:
        return ""
    return f"{date(report.window.start)} to {date(report.window.end)}; reviewed: {share(report.coverage)} writes."


def short_names(policies: Iterable[str]) -> dict[str, str]:
    """Initials of each id, with a number where two are equal: `image-tag-mutable` → `itm`."""
    codes: dict[str, str] = {}
    taken: set[str] = set()
    for policy in policies:
        letters = "".join(part[0] for part in policy.replace(".", "-").split("-") if part[:1].isalnum()).lower()
        code, number = letters or "p", 1
        while code in taken:
            number += 1
            code = f"{letters or 'p'}{number}"
        taken.add(code)
        codes[policy] = code
    return codes
