"""Workloads over the days of a log: how many are open, which have come and gone, and where it is going.

A workload is open from its first violation until the last of them is proven gone.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence

from webhook.audit.report.figures import Day, Direction, Window
from webhook.audit.report.workloads import Hit

_WEEK = 7
_COMPARABLE = 0.9
"""Coverage that both weeks need before a direction is named."""


def days_of(window: Window) -> list[datetime.date]:
    first, last = window.start.date(), window.end.date()
    return [first + datetime.timedelta(days=n) for n in range((last - first).days + 1)]


def open_on(days: Sequence[datetime.date], hits: Iterable[Hit]) -> tuple[int, ...]:
    """Open workloads at the end of each day."""
    opened, closed = spans(hits)
    change = Counter(opened)
    change.subtract(closed)
    counts, count = [], 0
    for day in days:
        count += change[day]
        counts.append(count)
    return tuple(counts)


def spans(hits: Iterable[Hit]) -> tuple[list[datetime.date], list[datetime.date]]:
    """(first days, last days) of workloads: from the first violation to when the last of them was proven gone."""
    spans: dict[int, tuple[datetime.date, datetime.date | None]] = {}
    for workload, found in hits:
        first, last = found.first.date(), None if found.blocked else found.settled or found.last.date()
        before = spans.get(id(workload))
        if before is not None:
            first = min(first, before[0])
            last = None if last is None or before[1] is None else max(last, before[1])
        spans[id(workload)] = first, last
    return [first for first, _ in spans.values()], [last for _, last in spans.values() if last is not None]


def direction(days: Sequence[Day]) -> Direction:
    weeks = days[-2 * _WEEK : -_WEEK], days[-_WEEK:]
    if len(days) < 2 * _WEEK:
        return "unknown"
    for week in weeks:
        reviewed, writes = sum(day.reviewed for day in week), sum(day.writes for day in week)
        if not writes or reviewed < _COMPARABLE * writes:
            return "unknown"
    before, now = (sum(day.open for day in week) for week in weeks)
    return "steady" if before == now else "rising" if now > before else "falling"
