"""What a ticket is: one violated policy in one place, with every workload that violates it and the proof of each.

Frozen values with one form on disk. Merging what is stored with what is seen anew never loses anything and gives the
same when done twice. Knows no facts table, no files, no clock. Times are in UTC, to the microsecond.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

SCHEMA = "wouldblock.dev/ticket/v1"
EXAMPLES = 5
"""How many audit ids of a workload are kept, the latest ones."""

Time = datetime.datetime
Status = Literal["open", "unproven", "fixed", "exempted", "gone"]
SETTLED: tuple[Status, ...] = ("fixed", "exempted", "gone")


class Part(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one part of a workload: of the object itself, of its pods, of their subresources."""

    violated: Time | None = None
    """Latest write that would be denied."""
    remnant: Time | None = None
    """Latest update that left a violation as it was. Of what was made of an older template it says nothing new."""
    passed: Time | None = None
    passes: int = 0
    """Reviewed writes without a finding after `violated`."""
    passed_from: Time | None = None
    """The first of them."""
    exempted: Time | None = None
    blind: Time | None = None
    """Latest write of which it is not known whether it violates."""
    cause: str = ""
    """Why not."""


class Workload(Struct, frozen=True, kw_only=True, gc=False):
    """One workload of a ticket."""

    kind: str = ""
    """The resource, where no workload is known of and `name` is empty."""
    name: str = ""
    namespace: str = ""
    status: Status = "open"
    why: str = ""
    first_seen: Time | None = None
    last_seen: Time | None = None
    writes: int = 0
    """Writes that would be denied."""
    gone: Time | None = None
    """When it was deleted last."""
    message: str = ""
    client: str = ""
    audit_ids: tuple[str, ...] = ()
    parts: Mapping[str, Part] = {}
    """By `resource`, `resource/subresource`; `resource delete`, `resource connect` for what is done to it."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.namespace, self.kind, self.name

    @property
    def title(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else f"{self.kind or 'workloads'} without a name"

    @property
    def settled(self) -> bool:
        return self.status in SETTLED


class Coverage(Struct, frozen=True, kw_only=True):
    """How much of what was written where the policy looks was reviewed."""

    reviewed: int = 0
    writes: int = 0
    gaps: Mapping[str, int] = {}
    """Cause → writes that were not."""
    start: Time | None = None
    end: Time | None = None


class Ticket(Struct, frozen=True, kw_only=True):
    """One ticket, as it is stored."""

    schema: str = SCHEMA
    fingerprint: str
    state: Literal["open", "closed"] = "open"
    template: str
    priority: str
    policy: str
    title: str = ""
    severity: str
    cluster: str = ""
    scope: Literal["namespace", "owner"] = "namespace"
    namespace: str = ""
    owner: str = ""
    opened: Time
    due: Time
    closed: Time | None = None
    reopened: int = 0
    """How often it came back."""
    remediation: str = ""
    references: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    """Digests of the policy sets that found it: they hold the policy, whatever else is known of them."""
    coverage: Coverage = Coverage()
    workloads: tuple[Workload, ...] = ()

    @property
    def place(self) -> str:
        """Where, for people."""
        if self.scope == "owner":
            return f"owner {self.owner or '(nobody)'}"
        return f"namespace {self.namespace}" if self.namespace else "cluster-scoped objects"

    @property
    def unsettled(self) -> tuple[Workload, ...]:
        return tuple(each for each in self.workloads if not each.settled)


def fingerprint(*, template: str, policy: str, scope: str, place: str, cluster: str) -> str:
    """What makes a ticket the same one next time."""
    text = "\0".join((template, policy, scope, place, cluster))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def merged(old: Workload | None, new: Workload) -> Workload:
    """What is stored and what a log says, as one. A log that was merged before changes nothing.

    Counts add up where the log begins after what is stored ends; where they overlap the larger one is taken.
    """
    if old is None:
        return new
    newest = new if _later(old.last_seen, new.last_seen) == new.last_seen else old
    return replace(
        newest,
        first_seen=_earlier(old.first_seen, new.first_seen),
        last_seen=_later(old.last_seen, new.last_seen),
        writes=_sum(old.writes, old.last_seen, new.writes, new.first_seen),
        gone=_later(old.gone, new.gone),
        message=newest.message or old.message,
        client=newest.client or old.client,
        audit_ids=newest.audit_ids or old.audit_ids,
        parts={name: _part(old.parts.get(name), new.parts.get(name)) for name in sorted({*old.parts, *new.parts})},
    )


def _part(old: Part | None, new: Part | None) -> Part:
    if old is None or new is None:
        return old or new or Part()
    violated = _later(old.violated, new.violated)
    blind = _later(old.blind, new.blind)
    (passes, passed_from), (more, more_from) = _after(old, violated), _after(new, violated)
    return Part(
        violated=violated,
        remnant=_later(old.remnant, new.remnant),
        passed=_later(old.passed, new.passed),
        passes=_sum(passes, old.passed, more, more_from),
        passed_from=_earlier(passed_from, more_from),
        exempted=_later(old.exempted, new.exempted),
        blind=blind,
        cause=new.cause if blind == new.blind else old.cause,
    )


def _after(part: Part, violated: Time | None) -> tuple[int, Time | None]:
    """(passes, the first of them) that are certainly later than the latest violation."""
    if part.passed is None or part.passed_from is None or violated is None or part.passed_from > violated:
        return part.passes, part.passed_from
    return (1, part.passed) if part.passed > violated else (0, None)


def _sum(old: int, until: Time | None, new: int, since: Time | None) -> int:
    apart = until is None or since is None or since > until
    return old + new if apart else max(old, new)


def _later(one: Time | None, other: Time | None) -> Time | None:
    return max(filter(None, (one, other)), default=None)


def _earlier(one: Time | None, other: Time | None) -> Time | None:
    return min(filter(None, (one, other)), default=None)


def latest(*times: Time | None) -> Time | None:
    """The latest of them; None when there is none."""
    return max(filter(None, times), default=None)


def ordered(workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """What is to be done first; then by name, so that files differ only where something has changed."""
    return tuple(sorted(workloads, key=lambda each: (each.settled, each.key)))
