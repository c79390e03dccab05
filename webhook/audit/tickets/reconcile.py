"""The tickets there are × what a log says → the tickets there have to be, each with what changes.

Done twice with the same log, the second time changes nothing. A closed ticket comes back only when the log shows a new
violation; an open one closes only when all of its workloads are settled. Pure: the time is given.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from webhook.audit.tickets.calendar import Calendar
from webhook.audit.tickets.model import Coverage, Ticket, Time, Workload, latest, merged, ordered
from webhook.audit.tickets.settle import DEFAULTS, Proof, resource_of, settle
from webhook.audit.tickets.template import BY_ID, Template

Kind = Literal["create", "update", "reopen", "close", "none"]
SETS = 8
"""How many digests of policy sets a ticket remembers."""


class Case(Struct, frozen=True, kw_only=True):
    """All that a log says under one fingerprint."""

    fingerprint: str
    template: Template
    policy: str
    title: str
    severity: str
    remediation: str = ""
    references: tuple[str, ...] = ()
    cluster: str = ""
    scope: Literal["namespace", "owner"] = "namespace"
    namespace: str = ""
    owner: str = ""
    sets: tuple[str, ...] = ()
    coverage: Coverage = Coverage()
    seen: tuple[Workload, ...] = ()
    """Settled by this log alone."""


class Change(Struct, frozen=True, kw_only=True):
    """What becomes of one ticket."""

    kind: Kind
    before: Ticket | None = None
    after: Ticket

    @property
    def fields(self) -> tuple[str, ...]:
        """What an update touches, but for the workloads."""
        before = self.before
        if before is None:
            return ()
        return tuple(
            name
            for name in Ticket.__struct_fields__
            if name not in ("workloads", "coverage", "sets") and getattr(before, name) != getattr(self.after, name)
        )

    @property
    def workloads(self) -> tuple[tuple[Workload | None, Workload], ...]:
        """(before, after) of those that are not what they were."""
        before = {each.key: each for each in self.before.workloads} if self.before is not None else {}
        return tuple((before.get(each.key), each) for each in self.after.workloads if before.get(each.key) != each)


def reconcile(
    stored: Mapping[str, Ticket],
    cases: Iterable[Case],
    *,
    now: Time,
    calendar: Calendar | None = None,
    proof: Proof = DEFAULTS,
) -> list[Change]:
    """A change for every ticket that is stored or has to be. Raises `UserError` (no business day)."""
    by_fingerprint = {case.fingerprint: case for case in cases}
    dates = _Dates(now, calendar or Calendar())
    changes = []
    for key, case in by_fingerprint.items():
        change = _change(stored.get(key), case, dates, proof)
        if change is not None:
            changes.append(change)
    untouched = (ticket for key, ticket in stored.items() if key not in by_fingerprint)
    changes += [Change(kind="none", before=ticket, after=ticket) for ticket in untouched]
    return sorted(changes, key=_place)


class _Dates(Struct, frozen=True):
    now: Time
    calendar: Calendar

    def due(self, template: str) -> Time:
        known = BY_ID[template]
        return self.calendar.after(self.now, hours=known.hours, business_days=known.business_days)


def _place(change: Change) -> tuple[str, str, str, str]:
    ticket = change.after
    return ticket.cluster, ticket.namespace or ticket.owner, ticket.policy, ticket.fingerprint


def _change(before: Ticket | None, case: Case, dates: _Dates, proof: Proof) -> Change | None:
    workloads = _workloads(before, case, proof)
    unsettled = any(not each.settled for each in workloads)
    if before is None:
        return Change(kind="create", after=_created(case, workloads, dates)) if unsettled else None
    if before.state == "closed":
        if not unsettled:
            return Change(kind="none", before=before, after=before)
        again = replace(
            _described(before, case),
            state="open",
            opened=dates.now,
            due=dates.due(case.template.id),
            closed=None,
            reopened=before.reopened + 1,
            workloads=workloads,
        )
        return Change(kind="reopen", before=before, after=again)
    after = replace(_described(before, case), workloads=workloads)
    if not unsettled:
        return Change(kind="close", before=before, after=replace(after, state="closed", closed=dates.now))
    # That only others were written here is no news of it.
    same = replace(after, coverage=before.coverage) == before
    return (
        Change(kind="none", before=before, after=before) if same else Change(kind="update", before=before, after=after)
    )


def _created(case: Case, workloads: tuple[Workload, ...], dates: _Dates) -> Ticket:
    return Ticket(
        fingerprint=case.fingerprint,
        template=case.template.id,
        priority=case.template.priority,
        policy=case.policy,
        title=case.title,
        severity=case.severity,
        cluster=case.cluster,
        scope=case.scope,
        namespace=case.namespace,
        owner=case.owner,
        opened=dates.now,
        due=dates.due(case.template.id),
        remediation=case.remediation,
        references=case.references,
        sets=tuple(sorted(case.sets)[-SETS:]),
        coverage=case.coverage,
        workloads=workloads,
    )


def _described(before: Ticket, case: Case) -> Ticket:
    """With what the policy set and the owners now say."""
    new = [each for each in sorted(case.sets) if each not in before.sets]
    return replace(
        before,
        title=case.title,
        severity=case.severity,
        owner=case.owner,
        remediation=case.remediation,
        references=case.references,
        sets=(*before.sets, *new)[-SETS:],
        coverage=case.coverage if case.coverage.writes else before.coverage,
    )


def _workloads(before: Ticket | None, case: Case, proof: Proof) -> tuple[Workload, ...]:
    stored = {each.key: each for each in before.workloads} if before is not None else {}
    result = dict(stored)
    for seen in case.seen:
        old = stored.get(seen.key)
        new = settle(merged(old, seen), resources=resource_of, proof=proof)
        if old is not None and old.settled and not _violated_since(old, new):
            continue  # what is proven stays proven: that nothing more is known is no violation
        if old is None and new.settled:
            continue  # over before anybody was told
        result[new.key] = new
    return ordered(result.values())


def _violated_since(old: Workload, new: Workload) -> bool:
    """Whether a settled workload violates again."""
    if new.settled:
        return False
    before, now = (latest(*(part.violated for part in each.parts.values())) for each in (old, new))
    return now is not None and (before is None or now > before)


def utc(time: datetime.datetime) -> datetime.datetime:
    """The same moment, in UTC, to the second: times that people read."""
    return time.astimezone(datetime.UTC).replace(microsecond=0)
