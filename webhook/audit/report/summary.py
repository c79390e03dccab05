"""What the figures say, in sentences: the same ones on the terminal, on the page and in Markdown.

Plain words, numbers first, and never a claim without how much was not seen. Knows figures only; texts may hold names
from the log, which whoever shows them has to escape.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from webhook.audit.report.figures import Coverage, Report, Time

CAUSES = {
    "failed_open": "the webhook did not answer in time, so the API server admitted the write unseen",
    "truncated": "the record in the log is cut off before its annotations",
    "incomplete": "too large, too much at once, or out of time: not every policy ran",
    "shed": "the webhook was overloaded and admitted it unseen",
    "not_sent": "the API server did not ask the webhook (its rules, selectors or match conditions)",
    "unknown_set": "reviewed by a policy set that is not known here: give --manifest",
    "unknown": "nothing in the log shows whether a policy looked at it",
    "not_comparable": "the webhook knew less than the API server, so the verdicts may differ",
    "unreviewed": "a policy that should have run gave no verdict",
    "unreadable": "the record could not be read",
}
"""What each cause of a blind spot means."""

STATUSES = {
    "open": "its latest write would be denied",
    "unproven": "written again since, but nothing proves that it passes",
    "fixed": "reviewed again without a finding",
    "exempted": "covered by an exemption",
    "gone": "deleted",
}


def headline(report: Report) -> str:
    """The one sentence that matters."""
    totals = report.totals
    if report.window is None:
        return "There is nothing in the log to judge by."
    if not totals.workloads:
        return "Nothing that was seen would be blocked." if report.coverage.reviewed else "Nothing was seen."
    whose = f" of {count(totals.owners, 'team')}" if totals.owners else ""
    policies = "the policy" if totals.policies == 1 else f"all {totals.policies:,} policies"
    return f"{count(totals.workloads, 'workload')}{whose} would be blocked if {policies} were enforced."


def lead(report: Report) -> str:
    """What to know beside it."""
    totals, sentences = report.totals, []
    if report.window is None:
        return ""
    if totals.new and report.new_since is not None:
        sentences.append(f"{_are(totals.new)} new since {day(report.new_since)}.")
    if totals.settled:
        sentences.append(
            f"{count(totals.settled, 'other workload')} violated in this time and {_have(totals.settled)}."
        )
    if totals.unproven:
        sentences.append(f"Of {totals.unproven:,} it is not proven that they still do.")
    if totals.unowned:
        sentences.append(
            f"{count(totals.unowned, 'workload')} {'has' if totals.unowned == 1 else 'have'} no known team."
        )
    if totals.exempted:
        sentences.append(f"{count(totals.exempted, 'workload')} {_rely(totals.exempted)}: enforcement knows none.")
    if totals.denied:
        sentences.append(f"Apart from these, {count(totals.denied, 'write')} {_were(totals.denied)} really refused.")
    return " ".join(sentences)


def seen(report: Report) -> str:
    """How much it rests on."""
    if report.window is None:
        return "Nothing was seen: no coverage."
    return f"{covered(report.coverage)}, {span(report.window.start, report.window.end)}."


def covered(coverage: Coverage) -> str:
    """Numerator, denominator, share."""
    if not coverage.writes:
        return "0 of 0 writes were reviewed: no coverage is known"
    missed = coverage.writes - coverage.reviewed
    said = f"{coverage.reviewed:,} of {count(coverage.writes, 'write')} {_were(coverage.writes)} reviewed"
    return f"{said} ({percent(coverage.reviewed, coverage.writes)}){f'; {missed:,} were not' if missed else ''}"


def percent(part: int, whole: int) -> str:
    """Rounded down: what is not whole is never shown as 100 %."""
    return f"{part * 1000 // whole / 10:g} %" if whole else "–"


def share(coverage: Coverage | None) -> str:
    """`95.2 % of 1,524`, `–` when nothing is known."""
    if coverage is None or not coverage.writes:
        return "–"
    return f"{percent(coverage.reviewed, coverage.writes)} of {coverage.writes:,}"


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def day(time: Time | datetime.date) -> str:
    return f"{time.day} {time.strftime('%B %Y')}"


def span(start: Time, end: Time) -> str:
    days = (end.date() - start.date()).days + 1
    return f"{day(start)} to {day(end)} ({count(days, 'day')})"


def listed(names: Sequence[str], most: int) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} +{len(names) - most:,}" if len(names) > most else shown


def _are(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _have(number: int) -> str:
    return "has been mended or deleted" if number == 1 else "have been mended or deleted"


def _rely(number: int) -> str:
    return "relies on an exemption" if number == 1 else "rely on exemptions"
