"""The tables of a report: by policy, team, namespace and client. All are sums over the same hits."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from webhook.audit.owners import Owner, Owners
from webhook.audit.report import covering
from webhook.audit.report.covering import Covered
from webhook.audit.report.figures import Client, Coverage, Namespace, Policy, Team, Time
from webhook.audit.report.standing import Catalogue
from webhook.audit.report.trend import open_on
from webhook.audit.report.workloads import Gathered, Hit, rank

Key = TypeVar("Key")


class Tables:
    """All of them over what was gathered."""

    def __init__(
        self,
        gathered: Gathered,
        *,
        owners: Owners,
        catalogue: Catalogue,
        covered: Covered,
        days: Sequence[datetime.date],
        since: Time,
    ) -> None:
        self._gathered = gathered
        self.hits = gathered.hits
        """All that the tables are made of."""
        self._owners = owners
        self._catalogue = catalogue
        self._covered = covered
        self._days = days
        self._since = since

    def policies(self) -> tuple[Policy, ...]:
        groups = _grouped(self.hits, lambda hit: hit[1].policy)
        exempted, incomparable = self._gathered.exempted_by, self._gathered.incomparable_by
        rows = []
        for policy in {*groups, *exempted, *incomparable}:
            hits = groups.get(policy, [])
            known = self._catalogue.policies.get(policy)
            blocked = [hit for hit in hits if hit[1].blocked]
            rows.append(
                Policy(
                    id=policy,
                    title=known.meta.title if known else "",
                    severity=self._catalogue.severity(policy),
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
                    new=sum(found.first >= self._since for _, found in blocked),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=open_on(self._days, hits),
                    coverage=self._covered.of_policy(policy),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, rank(row.severity), row.id)))

    def teams(self) -> tuple[Team, ...]:
        groups = _grouped(self.hits, lambda hit: hit[0].owner)
        places: dict[str, list[tuple[str, str]]] = {}
        sources: dict[str, set[str]] = {}
        for place in self._covered.by_namespace:
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
                Team(
                    name=name,
                    sources=tuple(sorted(sources.get(name, ()))),
                    namespaces=len({(each.cluster, each.namespace) for each, _ in blocked}),
                    **_counts(hits),
                    policies=tuple(sorted(by_policy, key=lambda each: (-by_policy[each], each))),
                    severity=self._worst(hits),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=open_on(self._days, hits),
                    coverage=covering.add(self._covered.by_namespace[place] for place in places.get(name, ())),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, rank(row.severity), not row.name, row.name)))

    def namespaces(self) -> tuple[Namespace, ...]:
        groups = _grouped(self.hits, lambda hit: (hit[0].cluster, hit[0].namespace))
        rows = []
        for cluster, name in {*groups, *self._covered.by_namespace}:
            hits = groups.get((cluster, name), [])
            owner = self._owner(cluster, name)
            rows.append(
                Namespace(
                    cluster=cluster,
                    name=name,
                    owner=owner.name,
                    owner_source=owner.source,
                    **_counts(hits),
                    policies=tuple(sorted({found.policy for _, found in hits if found.blocked})),
                    severity=self._worst(hits),
                    first=min((found.first for _, found in hits), default=None),
                    last=max((found.last for _, found in hits), default=None),
                    trend=open_on(self._days, hits),
                    coverage=self._covered.by_namespace.get((cluster, name), Coverage()),
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.workloads, rank(row.severity), row.cluster, row.name)))

    def clients(self) -> tuple[Client, ...]:
        rows = []
        blocked = [(workload, found) for workload, found in self.hits if found.blocked]
        for name, hits in _grouped(blocked, lambda hit: hit[1].client).items():
            rows.append(
                Client(
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
        return self._owners.of(namespace, cluster=cluster)

    def _worst(self, hits: Iterable[Hit]) -> str:
        return min((self._catalogue.severity(found.policy) for _, found in hits if found.blocked), key=rank, default="")


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
