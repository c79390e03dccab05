"""What a report says, as values: who would be blocked, by whom, since when, and how much was not seen.

Workloads are counted, not writes: a Deployment with five hundred refused pods is one. Each figure carries the coverage
it rests on. Frozen structs with one JSON form, which is documented here and stays: fields may be added, none changes
its meaning. Times are UTC. Knows neither the facts table nor how anything is shown.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from webhook.audit.tickets.model import Status

SCHEMA = "wouldblock.dev/report/v1"
Time = datetime.datetime

BLOCKED: tuple[Status, ...] = ("open", "unproven")
"""What counts as would-be-blocked: nothing proves that the violation is gone."""


class Window(Struct, frozen=True, kw_only=True):
    """What the log covers: from the first fact to the last."""

    start: Time
    end: Time

    @property
    def days(self) -> float:
        return (self.end - self.start) / datetime.timedelta(days=1)


class Coverage(Struct, frozen=True, kw_only=True):
    """How many of the accepted writes that policies are about were reviewed. Dry runs and refusals are outside."""

    reviewed: int = 0
    writes: int = 0
    gaps: Mapping[str, int] = {}
    """Cause → writes that were not reviewed; together with `reviewed` they make `writes`."""
    rejected: int = 0
    dry_run: int = 0
    exempt: int = 0
    """In namespaces, or by users, that the webhook's configuration leaves out."""

    @property
    def share(self) -> float | None:
        """None for 0 of 0: no evidence is not full evidence."""
        return self.reviewed / self.writes if self.writes else None


class Day(Struct, frozen=True, kw_only=True):
    """One UTC day. A workload is open from its first violation until the proof that it is gone."""

    day: datetime.date
    open: int
    """Workloads open at the day's end."""
    new: int
    settled: int
    reviewed: int = 0
    writes: int = 0


class Policy(Struct, frozen=True, kw_only=True):
    """One policy, and whom it would block."""

    id: str
    title: str = ""
    severity: str = ""
    """Empty when the policy is not known here."""
    remediation: str = ""
    references: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Who said so: `wouldblock`, `vap`, `pod-security`, `gatekeeper`, `kyverno`."""
    workloads: int = 0
    unproven: int = 0
    """Of `workloads`: written again since, but not proven to pass."""
    settled: int = 0
    exempted: int = 0
    """Workloads whose findings an exemption covers: enforcement knows no exemptions."""
    namespaces: int = 0
    owners: int = 0
    writes: int = 0
    errors: int = 0
    """Of `writes`: the expression failed, and failurePolicy would deny."""
    not_comparable: int = 0
    """Writes on which our verdict may differ from the API server's."""
    new: int = 0
    first: Time | None = None
    last: Time | None = None
    trend: tuple[int, ...] = ()
    """Open workloads at the end of each of `Report.days`."""
    coverage: Coverage | None = None
    """None when it is not known what the policy is about."""


class Namespace(Struct, frozen=True, kw_only=True):
    """One namespace; name empty for cluster-scoped objects."""

    cluster: str
    name: str
    owner: str = ""
    owner_source: str = ""
    workloads: int = 0
    new: int = 0
    settled: int = 0
    policies: tuple[str, ...] = ()
    severity: str = ""
    writes: int = 0
    first: Time | None = None
    last: Time | None = None
    trend: tuple[int, ...] = ()
    coverage: Coverage = Coverage()


class Team(Struct, frozen=True, kw_only=True):
    """One owner; name empty for what nobody is known to own."""

    name: str
    sources: tuple[str, ...] = ()
    namespaces: int = 0
    """In which it has something that would be blocked."""
    workloads: int = 0
    new: int = 0
    settled: int = 0
    policies: tuple[str, ...] = ()
    """The most frequent first."""
    severity: str = ""
    """The worst of them."""
    writes: int = 0
    first: Time | None = None
    last: Time | None = None
    trend: tuple[int, ...] = ()
    coverage: Coverage = Coverage()
    """Of the namespaces that it owns."""


class Client(Struct, frozen=True, kw_only=True):
    """A program that wrote what would be blocked; what controllers made of it counts for who wrote the root."""

    name: str
    workloads: int = 0
    new: int = 0
    users: int = 0
    namespaces: int = 0
    policies: tuple[str, ...] = ()
    last: Time | None = None


class Found(Struct, frozen=True, kw_only=True, gc=False):
    """One policy's finding on one workload."""

    policy: str
    status: Status
    why: str = ""
    first: Time
    last: Time
    writes: int
    errors: int = 0
    preexisting: bool = False
    """Its latest finding was on an object that violated before the write."""
    sources: tuple[str, ...] = ()
    message: str = ""
    client: str = ""
    user: str = ""
    audit_id: str = ""
    """Of the latest violating write: look it up in the log."""
    settled: datetime.date | None = None

    @property
    def blocked(self) -> bool:
        return self.status in BLOCKED


class Workload(Struct, frozen=True, kw_only=True, gc=False):
    """One workload with everything that was found. `name` empty: writes that no workload is known of."""

    cluster: str
    namespace: str
    kind: str
    name: str
    owner: str = ""
    severity: str = ""
    status: Status = "open"
    new: bool = False
    writes: int = 0
    first: Time
    last: Time
    client: str = ""
    user: str = ""
    found: tuple[Found, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else f"{self.kind or 'object'} (name not in the log)"

    @property
    def policies(self) -> tuple[str, ...]:
        """Those that would block it."""
        return tuple(each.policy for each in self.found if each.blocked)


class Denial(Struct, frozen=True, kw_only=True):
    """What is refused already: by whom, and how often. Never part of the other figures."""

    policy: str
    workloads: int
    namespaces: int
    writes: int
    first: Time
    last: Time
    clients: tuple[str, ...] = ()
    message: str = ""


class Blind(Struct, frozen=True, kw_only=True):
    """One cause for which something was not seen."""

    cause: str
    reason: str = ""
    count: int
    namespaces: int = 0
    first: Time | None = None
    last: Time | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """The headline. A workload counts once, however many policies would block it."""

    workloads: int = 0
    unproven: int = 0
    new: int = 0
    settled: int = 0
    exempted: int = 0
    policies: int = 0
    namespaces: int = 0
    owners: int = 0
    unowned: int = 0
    """Workloads of which no owner is known."""
    writes: int = 0
    denied: int = 0
    """Writes that were really refused."""


Direction = Literal["falling", "steady", "rising", "unknown"]


class Report(Struct, frozen=True, kw_only=True):
    """Everything. Sequences are in the order in which people should look at them: the worst first."""

    schema: str = SCHEMA
    window: Window | None
    """None when there is not a single fact."""
    new_since: Time | None
    clusters: tuple[str, ...] = ()
    totals: Totals = Totals()
    coverage: Coverage = Coverage()
    direction: Direction = "unknown"
    """Open workloads of the last seven days against the seven before; unknown where either is below 90 % coverage."""
    days: tuple[Day, ...] = ()
    policies: tuple[Policy, ...] = ()
    teams: tuple[Team, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    clients: tuple[Client, ...] = ()
    workloads: tuple[Workload, ...] = ()
    """Those that would be blocked, and those that were."""
    denials: tuple[Denial, ...] = ()
    blind: tuple[Blind, ...] = ()
