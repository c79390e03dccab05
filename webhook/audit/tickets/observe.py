"""The facts table × the tickets there are → what a log says under each fingerprint.

Which policy opens a ticket of which kind, where it belongs and whose it is. How workloads stand is asked of
`report.standing`, the same as reports ask. Knows no files, and not what becomes of a ticket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from webhook.audit.owners import Owners
from webhook.audit.render import masked
from webhook.audit.report.covering import Covered
from webhook.audit.report.standing import Catalogue, Root, Seed, Standing, moment, standings
from webhook.audit.tickets.model import EXAMPLES, Coverage, Ticket, Workload, fingerprint, latest
from webhook.audit.tickets.reconcile import Case
from webhook.audit.tickets.settle import DEFAULTS, Proof
from webhook.audit.tickets.template import BY_ID, Template, template_of
from webhook.policy import PolicyRecord, Severity

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Scope = Literal["namespace", "owner"]
_Key = tuple[str, str, str, str, str]
"""(policy, cluster, namespace, kind, name) of a workload."""


class Observed(Struct, frozen=True):
    """What a log says."""

    cases: tuple[Case, ...]
    without_ticket: Mapping[str, int]
    """Policy → workloads that violate it, of which nobody is told: it names no ticket, or matters too little."""


def observe(
    facts: DuckDBPyConnection,
    catalogue: Catalogue,
    owners: Owners,
    *,
    stored: Mapping[str, Ticket],
    scope: Scope = "namespace",
    least: Severity = Severity.MEDIUM,
    proof: Proof = DEFAULTS,
) -> Observed:
    """Everything behind this connection (views `writes`, `findings`) that concerns tickets, new ones or `stored`."""
    for ticket in stored.values():
        catalogue.held.update((ticket.policy, digest) for digest in ticket.sets)
    observer = _Observer(facts, catalogue, owners, stored, scope, least)
    for standing in standings(facts, catalogue, proof=proof, seeds=_seeds(stored.values()), examples=EXAMPLES):
        observer.add(standing)
    return observer.observed()


def _seeds(tickets: Iterable[Ticket]) -> list[Seed]:
    """What is to be followed up: the workloads of open tickets that are not settled."""
    seeds = []
    for ticket in tickets:
        for each in ticket.unsettled if ticket.state == "open" else ():
            since = latest(each.last_seen, *(part.violated for part in each.parts.values()))
            if since is not None:
                seeds.append(Seed(_root(ticket.cluster, each), ticket.policy, since))
    return seeds


def _root(cluster: str, workload: Workload) -> Root:
    if workload.name:
        return cluster, workload.namespace, workload.kind, workload.name, ""
    return cluster, workload.namespace, "", "", workload.kind


class _Observer:
    def __init__(
        self,
        facts: DuckDBPyConnection,
        catalogue: Catalogue,
        owners: Owners,
        stored: Mapping[str, Ticket],
        scope: Scope,
        least: Severity,
    ) -> None:
        self._catalogue = catalogue
        self._owners = owners
        self._stored = stored
        self._scope = scope
        self._least = least
        self._covered = Covered(facts, catalogue)
        self._sets = _sets(facts)
        self._windows = {
            (row[0], row[1]): (moment(row[2]), moment(row[3])) for row in facts.execute(_WINDOWS).fetchall()
        }
        self._followed: dict[_Key, str] = {
            (ticket.policy, ticket.cluster, *each.key): ticket.fingerprint
            for ticket in stored.values()
            if ticket.state == "open"
            for each in ticket.unsettled
        }
        self._cases: dict[str, _Draft] = {}
        self._without: Counter[str] = Counter()

    def add(self, standing: Standing) -> None:
        cluster, policy = standing.root[0], standing.policy
        workload = replace(standing.workload, message=masked(standing.workload.message))
        followed = self._followed.get((policy, cluster, *workload.key))
        if followed is not None:
            # It stays in the ticket that it is in, whatever policy and owner are called by now.
            ticket = self._stored[followed]
            draft = _Draft(BY_ID[ticket.template], policy, cluster, ticket.scope, ticket.namespace, ticket.owner)
            self._cases.setdefault(followed, draft).seen.append(workload)
            return
        if standing.found is None:
            return
        record = self._catalogue.policies.get(policy)
        template = template_of(record.meta.ticket) if record is not None else None
        if record is None or template is None or record.meta.severity.rank > self._least.rank:
            self._without[policy] += not workload.settled
            return
        owner = self._owners.of(workload.namespace, _title(workload), cluster=cluster).name
        scope: Scope = self._scope if owner else "namespace"
        namespace, owner = ("", owner) if scope == "owner" else (workload.namespace, "")
        key = fingerprint(template=template.id, policy=policy, scope=scope, place=owner or namespace, cluster=cluster)
        self._cases.setdefault(key, _Draft(template, policy, cluster, scope, namespace, owner)).seen.append(workload)

    def observed(self) -> Observed:
        cases = tuple(self._case(key, draft) for key, draft in sorted(self._cases.items()))
        return Observed(cases, {policy: count for policy, count in sorted(self._without.items()) if count})

    def _case(self, key: str, draft: _Draft) -> Case:
        record, ticket = self._catalogue.policies.get(draft.policy), self._stored.get(key)
        meta = record.meta if record is not None else None
        return Case(
            fingerprint=key,
            template=draft.template,
            policy=draft.policy,
            title=meta.title if meta is not None else ticket.title if ticket is not None else "",
            severity=meta.severity if meta is not None else ticket.severity if ticket is not None else "",
            remediation=meta.remediation if meta is not None else ticket.remediation if ticket is not None else "",
            references=meta.references if meta is not None else ticket.references if ticket is not None else (),
            cluster=draft.cluster,
            scope=draft.scope,
            namespace=draft.namespace,
            owner=draft.owner if draft.scope == "owner" else self._owner(draft),
            sets=self._sets.get(draft.policy, ()),
            coverage=self._coverage(draft, record),
            seen=tuple(draft.seen),
        )

    def _owner(self, draft: _Draft) -> str:
        """Of a whole namespace; or of its workloads, when they have the same one."""
        names = {
            self._owners.of(each.namespace, _title(each), cluster=draft.cluster).name
            for each in draft.seen
            if not each.settled
        }
        return names.pop() if len(names) == 1 else self._owners.of(draft.namespace, cluster=draft.cluster).name

    def _coverage(self, draft: _Draft, record: PolicyRecord | None) -> Coverage:
        places = {(draft.cluster, each.namespace) for each in draft.seen}
        found = self._covered.of_policy(draft.policy, places) if record is not None else None
        if found is None:
            return Coverage()
        windows = [self._windows[place] for place in places if place in self._windows]
        return Coverage(
            reviewed=found.reviewed,
            writes=found.writes,
            gaps=found.gaps,
            start=min((start for start, _ in windows if start is not None), default=None),
            end=latest(*(end for _, end in windows)),
        )


class _Draft:
    """A case in the making."""

    def __init__(self, template: Template, policy: str, cluster: str, scope: Scope, namespace: str, owner: str) -> None:
        self.template = template
        self.policy = policy
        self.cluster = cluster
        self.scope = scope
        self.namespace = namespace
        self.owner = owner
        self.seen: list[Workload] = []


_WINDOWS = "SELECT cluster, namespace, epoch_us(min(first)), epoch_us(max(last)) FROM cells GROUP BY ALL"
_SETS = (
    "SELECT DISTINCT policy, set_digest FROM sightings WHERE source = 'wouldblock' AND set_digest <> '' ORDER BY ALL"
)


def _sets(facts: DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    """Policy → digests of the sets by which it found something."""
    found: dict[str, list[str]] = {}
    for policy, digest in facts.execute(_SETS).fetchall():
        found.setdefault(policy, []).append(digest)
    return {policy: tuple(digests) for policy, digests in found.items()}


def _title(workload: Workload) -> str:
    return f"{workload.kind}/{workload.name}" if workload.name else ""
