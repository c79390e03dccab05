"""How much was seen: coverage by namespace, policy and day; what was not seen, and what is refused already.

A write counts when some known policy's rules name it, or when it was reviewed. Knows the views of the facts table.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from webhook.audit.report import queries
from webhook.audit.report.figures import Blind, Coverage, Denial
from webhook.audit.report.standing import Catalogue, Combination, at, moment
from webhook.audit.verdict import GAPS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_EXEMPT = ("exempt_namespace", "exempt")


Wanted = Callable[[str, str], bool]
"""(cluster, namespace) → whether it is asked for."""


class _Cell(Struct, frozen=True):
    cluster: str
    namespace: str
    combination: Combination
    outcome: str
    count: int


class Covered:
    """Coverage of everything, by whatever it is asked for."""

    def __init__(self, facts: DuckDBPyConnection, catalogue: Catalogue, wanted: Wanted | None = None) -> None:
        """`wanted`: only these (cluster, namespace)."""
        self._catalogue = catalogue
        facts.execute(queries.CELLS)
        rows = facts.execute(
            'SELECT cluster, namespace, "group", version, resource, subresource, operation, outcome,'
            " sum(number)::BIGINT FROM report_cell GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        asked: dict[Combination, bool] = {}
        self._cells = []
        for cluster, namespace, *combination, outcome, count in rows:
            what: Combination = tuple(combination)
            if what not in asked:
                asked[what] = catalogue.anybody(what)
            if asked[what] or outcome == "reviewed":
                self._cells.append(_Cell(cluster, namespace, what, outcome, count))
        if wanted is not None:
            self._cells = [cell for cell in self._cells if wanted(cell.cluster, cell.namespace)]
        self._at: dict[tuple[str, str], list[_Cell]] = {}
        for cell in self._cells:
            self._at.setdefault((cell.cluster, cell.namespace), []).append(cell)
        self.total = _coverage(self._cells)
        self.by_namespace = {place: _coverage(cells) for place, cells in self._at.items()}
        self.days = self._days(facts, asked)
        clusters = facts.execute("SELECT DISTINCT cluster FROM report_cell ORDER BY ALL").fetchall()
        self.clusters: tuple[str, ...] = tuple(row[0] for row in clusters)

    def of_policy(self, policy: str, places: Iterable[tuple[str, str]] | None = None) -> Coverage | None:
        """Of the writes that the policy's rules name, in these (cluster, namespace) or all; None when the rules are not
        known."""
        if policy not in self._catalogue.policies:
            return None
        about: dict[Combination, bool] = {}
        cells = []
        for cell in self._cells if places is None else (cell for place in places for cell in self._at.get(place, ())):
            if cell.combination not in about:
                about[cell.combination] = bool(self._catalogue.about(policy, cell.combination))
            if about[cell.combination]:
                cells.append(cell)
        return _coverage(cells)

    @staticmethod
    def _days(facts: DuckDBPyConnection, asked: dict[Combination, bool]) -> dict[datetime.date, tuple[int, int]]:
        """Day → (reviewed, accepted writes)."""
        rows = facts.execute(
            'SELECT day, "group", version, resource, subresource, operation, outcome, sum(number)::BIGINT'
            " FROM report_cell WHERE day IS NOT NULL GROUP BY ALL"
        ).fetchall()
        days: dict[datetime.date, tuple[int, int]] = {}
        for day, *combination, outcome, count in rows:
            reviewed, writes = days.get(day, (0, 0))
            if outcome == "reviewed":
                days[day] = reviewed + count, writes + count
            elif outcome in GAPS and asked.get(tuple(combination)):
                days[day] = reviewed, writes + count
        return days


def _coverage(cells: Iterable[_Cell]) -> Coverage:
    counts: Counter[str] = Counter()
    for cell in cells:
        counts[cell.outcome] += cell.count
    return _of_counts(counts)


def _of_counts(counts: Counter[str]) -> Coverage:
    gaps: dict[str, int] = {gap: counts[gap] for gap in GAPS if counts[gap]}
    return Coverage(
        reviewed=counts["reviewed"],
        writes=counts["reviewed"] + sum(gaps.values()),
        gaps=gaps,
        rejected=counts["rejected"],
        dry_run=counts["dry_run"],
        exempt=sum(counts[each] for each in _EXEMPT),
    )


def add(parts: Iterable[Coverage]) -> Coverage:
    """The coverage of several places together."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.gaps)
        counts["reviewed"] += part.reviewed
        counts["rejected"] += part.rejected
        counts["dry_run"] += part.dry_run
        counts["exempt"] += part.exempt
    return _of_counts(counts)


def denials(facts: DuckDBPyConnection, wanted: Wanted = lambda _cluster, _namespace: True) -> tuple[Denial, ...]:
    """What is refused already, by what refused it."""
    rows = facts.execute(
        """
        SELECT policy, cluster, namespace, count(DISTINCT (root_kind, root_name)), count(DISTINCT hash(time, request)),
            epoch_us(min(time)), epoch_us(max(time)), list(DISTINCT client) FILTER (client <> ''),
            arg_max(message, time)
        FROM findings WHERE source = 'denial' AND NOT dry_run AND time IS NOT NULL GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    by_policy: dict[str, list[tuple[Any, ...]]] = {}
    for policy, cluster, namespace, *row in rows:
        if wanted(cluster, namespace):
            by_policy.setdefault(policy, []).append(tuple(row))
    found = [
        Denial(
            policy=policy,
            workloads=sum(row[0] for row in places),
            namespaces=len(places),
            writes=sum(row[1] for row in places),
            first=at(min(row[2] for row in places)),
            last=at(max(row[3] for row in places)),
            clients=tuple(sorted({client for row in places for client in row[4] or ()})),
            message=max(places, key=lambda row: row[3])[5] or "",
        )
        for policy, places in by_policy.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.writes, each.policy)))


def blind(facts: DuckDBPyConnection, wanted: Wanted = lambda _cluster, _namespace: True) -> tuple[Blind, ...]:
    """What was not seen, by cause; the most frequent first. What could not be read at all belongs to no namespace."""
    rows = facts.execute(
        """
        SELECT result, reason, cluster, namespace, sum(number)::BIGINT, epoch_us(min(first)), epoch_us(max(last))
        FROM gaps GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    causes: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for cause, reason, cluster, namespace, *row in rows:
        if cause == "unreadable" or wanted(cluster, namespace):
            causes.setdefault((cause, reason), []).append(tuple(row))
    found = [
        Blind(
            cause=cause,
            reason=reason,
            count=sum(int(row[0]) for row in places),
            namespaces=len(places),
            first=moment(min((row[1] for row in places if row[1] is not None), default=None)),
            last=moment(max((row[2] for row in places if row[2] is not None), default=None)),
        )
        for (cause, reason), places in causes.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.count, each.cause, each.reason)))
