"""The page as a whole: head, summary, what was not seen, and the tables in the order in which people need them."""

from __future__ import annotations

from collections.abc import Sequence

from webhook.audit.report import summary
from webhook.audit.report.figures import Report, Workload
from webhook.audit.report.page import charts, tables
from webhook.audit.report.page.markup import Html, asset, digest, join, tag, text
from webhook.audit.report.page.tables import DETAILS, Detail

BUDGET = 1_000_000
"""Bytes. The list of workloads says less of each before the page grows beyond."""
_ROW = 60
"""Bytes that a workload takes at least, but for the last of the details."""
LISTED = 50_000
"""Workloads on one page. Of more, the worst are listed, and the page says so."""


def render(report: Report, *, title: str = "", generated: str = "") -> str:
    """The page. `title`: of what; `generated`: by what and when, for the foot of the page."""
    page = ""
    listed = min(LISTED, report.totals.workloads)
    for detail in DETAILS if listed * _ROW < BUDGET else DETAILS[-1:]:
        page = _page(report, detail, title, generated)
        if len(page.encode()) <= BUDGET:
            break
    return page


def _page(report: Report, detail: Detail, title: str, generated: str) -> str:
    style, script = asset("style.css"), asset("script.js")
    allowed = f"style-src {digest(style)}; script-src {digest(script)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    name = title or "Who would be blocked"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(name)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{_header(report, name)}\n<main id=main>\n{_main(report, detail)}\n</main>\n"
        f"<footer>{text(generated, 500)}</footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _header(report: Report, name: str) -> Html:
    clusters = ", ".join(each for each in report.clusters if each)
    when = summary.span(report.window.start, report.window.end) if report.window else "nothing in the log"
    where = " · ".join(filter(None, (name, clusters, when)))
    links = "".join(f'<li><a href="#{anchor}">{label}</a>' for anchor, label in _sections(report))
    return Html(
        '<a class=skip href="#main">Skip to the figures</a>\n<header>\n'
        f"<p class=where>{text(where, 600)}</p>\n<h1>{text(summary.headline(report), 500)}</h1>\n"
        f"<p class=lead>{text(summary.lead(report), 1_500)}</p>\n{_key(report)}\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>'
    )


def _sections(report: Report) -> list[tuple[str, str]]:
    return [
        ("seen", "What was seen"),
        *((("teams-h", "Teams"),) if report.teams else ()),
        *((("policies-h", "Policies"),) if report.policies else ()),
        *((("namespaces-h", "Namespaces"),) if report.namespaces else ()),
        *((("clients-h", "Clients"),) if report.clients else ()),
        *((("workloads-h", "Workloads"),) if report.totals.workloads else ()),
        *((("denials-h", "Refused already"),) if report.denials else ()),
    ]


def _key(report: Report) -> Html:
    totals = report.totals
    since = f"new since {summary.day(report.new_since)}" if report.new_since else "new"
    figures = (
        (f"{totals.workloads:,}", "workloads would be blocked"),
        (f"{totals.new:,}", since),
        (f"{totals.owners:,}", "teams"),
        (f"{totals.namespaces:,}", "namespaces"),
        (f"{totals.policies:,}", "policies find something"),
        (
            summary.percent(report.coverage.reviewed, report.coverage.writes),
            f"of {report.coverage.writes:,} writes reviewed",
        ),
    )
    cells = "".join(f"<div><dt>{text(what)}</dt><dd>{value}</dd></div>" for value, what in figures)
    return Html(f"<dl class=key>{cells}</dl>")


def _main(report: Report, detail: Detail) -> Html:
    parts = [Html(f"<div class=two>{_trend(report)}{_seen(report)}</div>")]
    if report.teams:
        parts.append(_section("teams", "Teams", "Who has to act.", tables.teams(report)))
    if report.policies:
        text_ = "What would change if a policy were enforced, and what to do about each."
        parts.append(_section("policies", "Policies", text_, tables.policies(report)))
    if report.namespaces:
        parts.append(_section("namespaces", "Namespaces", "", tables.namespaces(report)))
    if report.clients:
        text_ = "The pipelines and people behind the writes: whom to talk to before anything is enforced."
        parts.append(_section("clients", "Clients", text_, tables.clients(report)))
    if report.totals.workloads:
        parts.append(_workloads(report, detail))
    if report.denials:
        text_ = "Enforcing one more policy changes nothing for these."
        parts.append(_section("denials", "Refused already", text_, tables.denials(report)))
    return join(parts)


def _section(name: str, head: str, note: str, inside: Html) -> Html:
    said = f"<p class=note>{text(note, 500)}</p>" if note else ""
    return Html(f"\n<section aria-labelledby={name}-h><h2 id={name}-h>{head}</h2>{said}\n{inside}</section>")


def _trend(report: Report) -> Html:
    days = report.days
    if not days:
        return Html("<section></section>")
    label = (
        f"Open workloads at the end of each day: {days[0].open:,} on {summary.day(days[0].day)}, "
        f"{days[-1].open:,} on {summary.day(days[-1].day)}, at most {max(day.open for day in days):,}."
    )
    said = {
        "rising": "More were open in the last seven days than in the seven before.",
        "falling": "Fewer were open in the last seven days than in the seven before.",
        "steady": "As many were open in the last seven days as in the seven before.",
        "unknown": "Two weeks with at least 90 % of the writes reviewed are needed to name a direction.",
    }[report.direction]
    rows = "".join(
        f"<tr><th scope=row>{day.day.isoformat()}<td class=n>{day.open:,}<td class=n>{day.new:,}"
        f"<td class=n>{day.settled:,}<td class=n>{summary.percent(day.reviewed, day.writes)} of {day.writes:,}"
        for day in days
    )
    return Html(
        "<section aria-labelledby=trend-h><h2 id=trend-h>Open workloads, day by day</h2>"
        f"<figure>{charts.open_per_day(days, label=label)}"
        "<figcaption><span class='swatch old'></span>open before <span class='swatch new'></span>new that day "
        "<span class='swatch blind'></span>less than 90 % of the day’s writes reviewed. A workload is open from its "
        f"first violation until the proof that it is gone. {said}</figcaption></figure>"
        "<details><summary>The numbers</summary><div class=scroll tabindex=0 role=region aria-labelledby=days-c>"
        "<table id=days><caption id=days-c>Workloads by UTC day</caption><thead><tr><th scope=col>Day"
        "<th scope=col class=n>Open<th scope=col class=n>New<th scope=col class=n>Settled"
        f"<th scope=col class=n>Reviewed</thead><tbody>{rows}"
        "</tbody></table></div></details></section>"
    )


def _seen(report: Report) -> Html:
    coverage = report.coverage
    said = summary.covered(coverage)
    parts = [tag("p", f"{said}."), charts.coverage_bar(coverage, label=f"{said}.")]
    gaps = [(cause, f"{number:,}", "") for cause, number in sorted(coverage.gaps.items(), key=lambda each: -each[1])]
    named = set(coverage.gaps)
    gaps += [(each.cause, f"{each.count:,}", each.reason) for each in report.blind if each.cause not in named]
    if gaps:
        parts.append(
            tag(
                "dl",
                [_gap(*each) for each in gaps],
                class_="gaps",
            )
        )
    else:
        parts.append(tag("p", "No blind spot is known.", class_="note"))
    outside = (
        f"Outside the count: {coverage.rejected:,} refused, {coverage.dry_run:,} dry runs, {coverage.exempt:,} exempt "
        "by configuration. What was not seen is not counted as passing."
    )
    parts.append(tag("p", outside, class_="note"))
    inside = join(parts)
    return Html(
        f"<section class=box aria-labelledby=seen><h2 id=seen>What was seen, and what was not</h2>{inside}</section>"
    )


def _gap(cause: str, number: str, reason: str) -> Html:
    more = f" ({text(reason, 120)})" if reason else ""
    means = text(summary.CAUSES.get(cause, ""))
    return Html(f"<dt>{number} {text(cause.replace('_', ' '))}{more}</dt><dd>{means}</dd>")


def _workloads(report: Report, detail: Detail) -> Html:
    rows: Sequence[Workload] = [each for each in report.workloads if each.policies]
    note, key, codes = "", Html(""), {}
    if len(rows) > LISTED:
        note = f"The worst {LISTED:,} of {len(rows):,} are listed here; all of them are in --output csv."
        rows = rows[:LISTED]
    if not detail.whole_ids:
        codes = tables.short_names(each.id for each in report.policies)
        items = "".join(f"<li><b>{text(code)}</b> = <span>{text(policy)}</span>" for policy, code in codes.items())
        key = Html(f"<p class=note>Policies by their initials:</p><ul class=codes id=codes>{items}</ul>")
    return _section("workloads", "Workloads", note, join((key, tables.workloads(report, rows, detail, codes))))
