"""The facts table and the owners → the figures of a report.

Every figure is a sum over the same standings, so that tables agree with each other and with the headline. Knows no
files, no command line, and nothing of how it is shown.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from webhook.audit.owners import Owner, Owners
from webhook.audit.report import covering, figures
from webhook.audit.report.covering import Covered
from webhook.audit.report.figures import Day, Direction, Found, Report, Time, Totals, Window, Workload
from webhook.audit.report.standing import Catalogue, Standing, moment, standings
from webhook.audit.tickets.model import Status
from webhook.audit.tickets.settle import DEFAULTS, Proof
from webhook.policy import Severity

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DAY = datetime.timedelta(days=1)
NEW = 7 * DAY
"""New is what was first seen this short before the end of the log, and not on its first day, unless it is said since
when."""
_WEEK = 7
_COMPARABLE = 0.9
"""Coverage that both weeks need before a direction is named."""

Hit = tuple[Workload, Found]


class Selection(Struct, frozen=True, kw_only=True):
    """What is asked for; empty asks for all. Teams are chosen after owners are known, so all other figures follow."""

    policies: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()


ALL = Selection()
Key = TypeVar("Key")


def build(
    facts: DuckDBPyConnection,
    *,
    owners: Owners,
    catalogue: Catalogue,
    new_since: Time | None = None,
    proof: Proof = DEFAULTS,
    selection: Selection = ALL,
) -> Report:
    """The report on all of the facts behind this connection (views `facts`, `writes`, `findings`, `blind`)."""
    row = facts.execute("SELECT epoch_us(min(time)), epoch_us(max(time)) FROM facts").fetchone()
    start, end = (moment(each) for each in row or (None, None))
    if start is None or end is None:
        return Report(window=None, new_since=new_since)
    window = Window(start=start, end=end)
    # What the log begins with may be older than the log.
    since = new_since or max(end - NEW, start + DAY)
    known = standings(facts, catalogue, proof=proof)
    return _Builder(facts, owners, catalogue, window, since, known, selection).report()


class _Builder:
    def __init__(
        self,
        facts: DuckDBPyConnection,
        owners: Owners,
        catalogue: Catalogue,
        window: Window,
        since: Time,
        known: Sequence[Standing],
        selection: Selection,
    ) -> None:
        self.facts = facts
        self.owners = owners
        self.catalogue = catalogue
        self.window = window
        self.since = since
        self.selection = selection
        self.known = [each for each in known if self._asked(each)]
        self.days = _days(window)
        self.workloads = self._workloads()
        self.hits: list[Hit] = [(workload, found) for workload in self.workloads for found in workload.found]
        self.covered = Covered(facts, catalogue, self._covers if selection != ALL else None)

    def report(self) -> Report:
        clusters = [
            row[0] for row in self.facts.execute("SELECT DISTINCT cluster FROM report_cell ORDER BY ALL").fetchall()
        ]
        denials = covering.denials(self.facts, self._covers)
        days = self._trend()
        blocked = [each for each in self.workloads if each.policies]
        return Report(
            window=self.window,
            new_since=self.since if self.since <= self.window.end else None,
            clusters=tuple(clusters),
            totals=Totals(
                workloads=len(blocked),
                unproven=sum(each.status == "unproven" for each in blocked),
                new=sum(each.new for each in blocked),
                settled=len(self.workloads) - len(blocked),
                exempted=len({each.root for each in self.known if each.exempted}),
                policies=len({policy for each in blocked for policy in each.policies}),
                namespaces=len({(each.cluster, each.namespace) for each in blocked if each.namespace}),
                owners=len({each.owner for each in blocked if each.owner}),
                unowned=sum(not each.owner for each in blocked),
                writes=sum(each.writes for each in blocked),
                denied=sum(each.writes for each in denials),
            ),
            coverage=self.covered.total,
            direction=_direction(days),
            days=days,
            policies=self._policies(),
            teams=self._teams(),
            namespaces=self._namespaces(),
            clients=self._clients(),
            workloads=self.workloads,
            denials=denials,
            blind=covering.blind(self.facts, self._covers),
        )

    def _asked(self, standing: Standing) -> bool:
        cluster, namespace, kind, name, _ = standing.root
        asked = self.selection
        return (
            (not asked.policies or standing.policy in asked.policies)
            and (not asked.namespaces or namespace in asked.namespaces)
            and (not asked.teams or self.owners.of(namespace, _title(kind, name), cluster=cluster).name in asked.teams)
        )

    def _covers(self, cluster: str, namespace: str) -> bool:
        """Whether a place is asked for; a team's are those that it owns."""
        asked = self.selection
        return (not asked.namespaces or namespace in asked.namespaces) and (
            not asked.teams or self._owner(cluster, namespace).name in asked.teams
        )

    def _workloads(self) -> tuple[Workload, ...]:
        found: dict[tuple[str, ...], list[Standing]] = {}
        for each in self.known:
            if each.found is not None:
                found.setdefault(each.root, []).append(each)
        workloads = [self._workload(group) for group in found.values()]
        return tuple(sorted(workloads, key=_worst))

    def _workload(self, group: Sequence[Standing]) -> Workload:
        cluster, namespace, kind, name, resource = group[0].root
        every = [each.found for each in group if each.found is not None]
        every.sort(key=lambda each: (not each.blocked, self._rank(each.policy), each.policy))
        blocked = [each for each in every if each.blocked]
        first, newest = min(each.first for each in every), max(blocked or every, key=lambda each: each.last)
        return Workload(
            cluster=cluster,
            namespace=namespace,
            kind=kind or resource,
            name=name,
            owner=self.owners.of(namespace, _title(kind, name), cluster=cluster).name,
            severity=min((self._severity(each.policy) for each in blocked or every), key=_rank),
            status=_status(every),
            new=bool(blocked) and min(each.first for each in blocked) >= self.since,
            writes=sum(each.writes for each in every),
            first=first,
            last=max(each.last for each in every),
            client=newest.client,
            user=newest.user,
            found=tuple(every),
        )

    def _policies(self) -> tuple[figures.Policy, ...]:
        groups = _grouped(self.hits, lambda hit: hit[1].policy)
        exempted = Counter(each.policy for each in self.known if each.exempted)
        incomparable = Counter[str]()
        for each in self.known:
            incomparable[each.policy] += each.not_comparable
        rows = []
        for policy in {*groups, *exempted, *incomparable}:
            hits = groups.get(policy, [])
            known = self.catalogue.policies.get(policy)
            blocked = [hit for hit in hits if hit[1].blocked]
            rows.append(
                figures.Policy(
                    id=policy,
                    title=known.meta.title if known else "",
                    severity=self._severity(policy),
                    remediation=known.meta.remediation if known else "",
                    references=known.meta.references if known else (),
                    sources=tuple(sorted({source for _, found in hits for source in found.sources})),
                    workloads=len(blocked),
                    unproven=sum(found.status == "unproven" for _, found in blocked),
                    settled=len(hits) - len(blocked),
                    exempted=exempted[policy],
                    namespaces=len({(each.cluster, each.namespace) for each, _ in blocked}),
                    owners=len({each.owner for each, _ in blocked if each.owner}),
                    writes=sum(found.writes for _, found in hits),
                    errors=sum(found.errors for _, found in hits),
                    not_comparable=incomparable[policy],
                    new=sum(found.first >= self.since for _, found in blocked),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=self._open(hits),
                    coverage=self.covered.of_policy(policy),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, _rank(row.severity), row.id)))

    def _teams(self) -> tuple[figures.Team, ...]:
        groups = _grouped(self.hits, lambda hit: hit[0].owner)
        places: dict[str, list[tuple[str, str]]] = {}
        sources: dict[str, set[str]] = {}
        for place in self.covered.by_namespace:
            owner = self._owner(*place)
            places.setdefault(owner.name, []).append(place)
            if owner.source:
                sources.setdefault(owner.name, set()).add(owner.source)
        rows = []
        for name in {*groups, *places}:
            hits = groups.get(name, [])
            blocked = [hit for hit in hits if hit[1].blocked]
            by_policy = Counter(found.policy for _, found in blocked)
            rows.append(
                figures.Team(
                    name=name,
                    sources=tuple(sorted(sources.get(name, ()))),
                    namespaces=len({(each.cluster, each.namespace) for each, _ in blocked}),
                    **_counts(hits),
                    policies=tuple(sorted(by_policy, key=lambda each: (-by_policy[each], each))),
                    severity=self._worst(hits),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=self._open(hits),
                    coverage=covering.add(self.covered.by_namespace[place] for place in places.get(name, ())),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, _rank(row.severity), not row.name, row.name)))

    def _namespaces(self) -> tuple[figures.Namespace, ...]:
        groups = _grouped(self.hits, lambda hit: (hit[0].cluster, hit[0].namespace))
        rows = []
        for cluster, name in {*groups, *self.covered.by_namespace}:
            hits = groups.get((cluster, name), [])
            owner = self._owner(cluster, name)
            rows.append(
                figures.Namespace(
                    cluster=cluster,
                    name=name,
                    owner=owner.name,
                    owner_source=owner.source,
                    **_counts(hits),
                    policies=tuple(sorted({found.policy for _, found in hits if found.blocked})),
                    severity=self._worst(hits),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=self._open(hits),
                    coverage=self.covered.by_namespace.get((cluster, name), figures.Coverage()),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, _rank(row.severity), row.cluster, row.name)))

    def _clients(self) -> tuple[figures.Client, ...]:
        rows = []
        blocked = [(workload, found) for workload, found in self.hits if found.blocked]
        for name, hits in _grouped(blocked, lambda hit: hit[1].client).items():
            rows.append(
                figures.Client(
                    name=name,
                    workloads=len(_ids(hits)),
                    new=len(_ids((each, found) for each, found in hits if each.new)),
                    users=len({found.user for _, found in hits if found.user}),
                    namespaces=len({(each.cluster, each.namespace) for each, _ in hits}),
                    policies=tuple(sorted({found.policy for _, found in hits})),
                    last=max(found.last for _, found in hits),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, row.name)))

    def _owner(self, cluster: str, namespace: str) -> Owner:
        return self.owners.of(namespace, cluster=cluster)

    def _severity(self, policy: str) -> str:
        known = self.catalogue.policies.get(policy)
        return str(known.meta.severity) if known else ""

    def _rank(self, policy: str) -> int:
        return _rank(self._severity(policy))

    def _worst(self, hits: Iterable[Hit]) -> str:
        return min((self._severity(found.policy) for _, found in hits if found.blocked), key=_rank, default="")

    def _trend(self) -> tuple[Day, ...]:
        opened, closed = _spans(self.hits)
        new, settled = Counter(opened), Counter(closed)
        return tuple(
            Day(
                day=day,
                open=count,
                new=new[day],
                settled=settled[day],
                reviewed=self.covered.days.get(day, (0, 0))[0],
                writes=self.covered.days.get(day, (0, 0))[1],
            )
            for day, count in zip(self.days, self._open(self.hits), strict=True)
        )

    def _open(self, hits: Sequence[Hit]) -> tuple[int, ...]:
        """Open workloads at the end of each day."""
        opened, closed = _spans(hits)
        change = Counter(opened)
        change.subtract(closed)
        counts, count = [], 0
        for day in self.days:
            count += change[day]
            counts.append(count)
        return tuple(counts)


def _title(kind: str, name: str) -> str:
    return f"{kind}/{name}" if name else ""


def _spans(hits: Iterable[Hit]) -> tuple[list[datetime.date], list[datetime.date]]:
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


def _counts(hits: Sequence[Hit]) -> dict[str, int]:
    blocked = _ids(hit for hit in hits if hit[1].blocked)
    return {
        "workloads": len(blocked),
        "new": len(_ids(hit for hit in hits if hit[0].new)),
        "settled": len(_ids(hits) - blocked),
        "writes": sum(found.writes for _, found in hits),
    }


def _ids(hits: Iterable[Hit]) -> set[int]:
    return {id(workload) for workload, _ in hits}


def _grouped(hits: Iterable[Hit], key: Callable[[Hit], Key]) -> dict[Key, list[Hit]]:
    groups: dict[Key, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(key(hit), []).append(hit)
    return groups


def _status(found: Sequence[Found]) -> Status:
    """Of the workload as a whole: the least settled of them."""
    order: tuple[Status, ...] = ("open", "unproven", "exempted", "fixed", "gone")
    return min((each.status for each in found), key=order.index)


def _worst(workload: Workload) -> tuple[bool, int, int, str, str, str, str]:
    return (
        not workload.policies,
        _rank(workload.severity),
        -len(workload.policies),
        workload.cluster,
        workload.namespace,
        workload.kind,
        workload.name,
    )


_RANKS = {str(severity): severity.rank for severity in Severity}


def _rank(severity: str) -> int:
    """0 for critical, rising; what is not known comes last."""
    return _RANKS.get(severity, len(_RANKS))


def _days(window: Window) -> list[datetime.date]:
    first, last = window.start.date(), window.end.date()
    return [first + datetime.timedelta(days=n) for n in range((last - first).days + 1)]


def _direction(days: Sequence[Day]) -> Direction:
    weeks = days[-2 * _WEEK : -_WEEK], days[-_WEEK:]
    if len(days) < 2 * _WEEK:
        return "unknown"
    for week in weeks:
        reviewed, writes = sum(day.reviewed for day in week), sum(day.writes for day in week)
        if not writes or reviewed < _COMPARABLE * writes:
            return "unknown"
    before, now = (sum(day.open for day in week) for week in weeks)
    return "steady" if before == now else "rising" if now > before else "falling"
