"""How workloads stand → the workloads of a report, each with its owner and all that was found in it.

Takes standings as they come, one workload after another, and keeps of each only what is shown. Knows no tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Struct

from webhook.audit.owners import Owners
from webhook.audit.report.figures import Found, Time, Workload
from webhook.audit.report.standing import Catalogue, Root, Standing
from webhook.audit.tickets.model import Status
from webhook.policy import Severity

Hit = tuple[Workload, Found]


class Selection(Struct, frozen=True, kw_only=True):
    """What is asked for; empty asks for all. Teams are chosen after owners are known, so all other figures follow."""

    policies: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()


ALL = Selection()


class Gathered(Struct, frozen=True):
    """What is asked for of all workloads, worst first."""

    workloads: tuple[Workload, ...]
    exempted: int
    """Workloads with a finding that an exemption covers."""
    exempted_by: Counter[str]
    """Those by policy."""
    incomparable_by: Counter[str]
    """Writes by policy."""

    @property
    def hits(self) -> list[Hit]:
        return [(workload, found) for workload in self.workloads for found in workload.found]


def gather(
    standings: Iterable[Standing], *, owners: Owners, catalogue: Catalogue, since: Time, selection: Selection
) -> Gathered:
    """`since`: what was first seen then or later is new."""
    workloads: list[Workload] = []
    exempted = 0
    exempted_by, incomparable_by = Counter[str](), Counter[str]()
    for root, standing in groupby(standings, key=lambda each: each.root):
        group = [each for each in standing if _asked(each, owners, selection)]
        for each in group:
            exempted_by[each.policy] += each.exempted
            incomparable_by[each.policy] += each.not_comparable
        exempted += any(each.exempted for each in group)
        if found := [each.found for each in group if each.found is not None]:
            workloads.append(_workload(root, found, owners, catalogue, since))
    workloads.sort(key=_worst)
    return Gathered(tuple(workloads), exempted, exempted_by, incomparable_by)


def rank(severity: str) -> int:
    """0 for critical, rising; what is not known comes last."""
    return _RANKS.get(severity, len(_RANKS))


_RANKS = {str(severity): severity.rank for severity in Severity}


def _asked(standing: Standing, owners: Owners, asked: Selection) -> bool:
    cluster, namespace, kind, name, _ = standing.root
    return (
        (not asked.policies or standing.policy in asked.policies)
        and (not asked.namespaces or namespace in asked.namespaces)
        and (not asked.teams or owners.of(namespace, _title(kind, name), cluster=cluster).name in asked.teams)
    )


def _workload(root: Root, every: list[Found], owners: Owners, catalogue: Catalogue, since: Time) -> Workload:
    cluster, namespace, kind, name, resource = root
    every.sort(key=lambda each: (not each.blocked, rank(catalogue.severity(each.policy)), each.policy))
    blocked = [each for each in every if each.blocked]
    first, newest = min(each.first for each in every), max(blocked or every, key=lambda each: each.last)
    return Workload(
        cluster=cluster,
        namespace=namespace,
        kind=kind or resource,
        name=name,
        owner=owners.of(namespace, _title(kind, name), cluster=cluster).name,
        severity=min((catalogue.severity(each.policy) for each in blocked or every), key=rank),
        status=_status(every),
        new=bool(blocked) and min(each.first for each in blocked) >= since,
        writes=sum(each.writes for each in every),
        first=first,
        last=max(each.last for each in every),
        client=newest.client,
        user=newest.user,
        found=tuple(every),
    )


def _title(kind: str, name: str) -> str:
    return f"{kind}/{name}" if name else ""


def _status(found: Sequence[Found]) -> Status:
    """Of the workload as a whole: the least settled of them."""
    order: tuple[Status, ...] = ("open", "unproven", "exempted", "fixed", "gone")
    return min((each.status for each in found), key=order.index)


def _worst(workload: Workload) -> tuple[bool, int, int, str, str, str, str]:
    return (
        not workload.policies,
        rank(workload.severity),
        -len(workload.policies),
        workload.cluster,
        workload.namespace,
        workload.kind,
        workload.name,
    )
