"""Audit events → who still calls an API version that an upgrade takes away.

The API server marks requests to deprecated APIs (`k8s.io/deprecated`, `k8s.io/removed-release`); what it does not
mark, because its own release does not deprecate it yet or has removed it already, a table of lifecycles knows. Reads
count: who lists a removed API fails as surely as who writes it. So it is also said where the log holds no reads. Knows
events; no facts, no policies, no output.

Source: `apiserver pkg/endpoints/installer.go`, `pkg/endpoints/deprecation`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from webhook.audit import events
from webhook.audit.events import Event
from webhook.audit.lifecycle import KNOWN, Lifecycle
from webhook.audit.reading import Interest, Reading, Write
from webhook.audit.source import Unreadable

DEPRECATED = "k8s.io/deprecated"
REMOVED = "k8s.io/removed-release"
EXAMPLES = 3
MANY = 12
"""Resources that are read in any log that keeps reads: the control plane alone watches more."""
_MARK = DEPRECATED.encode()

Effect = Literal["gone", "breaks", "deprecated"]
READS = ("get", "list", "watch")


class Api(Struct, frozen=True, order=True):
    """One resource in one version."""

    group: str
    version: str
    resource: str

    @property
    def title(self) -> str:
        return f"{self.group}/{self.version} {self.resource}" if self.group else f"{self.version} {self.resource}"


class Caller(Struct, frozen=True, order=True):
    """Who asked, and where."""

    client: str
    """First product of the User-Agent."""
    user: str
    namespace: str


class Calls:
    """What one caller asked of one API."""

    __slots__ = ("audit_ids", "first", "last", "marked", "refused", "removed", "verbs", "versions")

    def __init__(self) -> None:
        self.verbs: Counter[str] = Counter()
        self.refused = 0
        """Requests answered by 404 or 410: the API is gone, or only the object."""
        self.first = self.last = 0
        """Microseconds since the epoch."""
        self.versions: set[str] = set()
        """Of the client."""
        self.marked = False
        """The API server itself called it deprecated."""
        self.removed = 0
        """By its annotation: the release, or 0."""
        self.audit_ids: list[str] = []

    @property
    def requests(self) -> int:
        return self.verbs.total()


class Row(Struct, frozen=True, kw_only=True):
    """One line of the report."""

    api: Api
    caller: Caller
    effect: Effect
    """`breaks`: removed at the target; `gone`: it does not answer any more; `deprecated`: it goes on for now."""
    deprecated: int
    """Release of the deprecation and of the removal, minors of Kubernetes 1; 0 is not known."""
    removed: int
    replacement: str
    control_plane: bool
    """A component of Kubernetes itself: it is upgraded along."""
    calls: Calls
    reads_seen: bool
    """Whether the log holds reads of this resource at all, of whatever version."""


class Report(Struct, frozen=True, kw_only=True):
    target: int
    rows: tuple[Row, ...]
    start: int
    end: int
    reads: int
    """Reads in the log, of whatever resource."""
    read: tuple[tuple[str, str], ...]
    """(group, resource) of what was read at all. Controllers list and watch some dozens: if there are none, or few, the
    audit policy drops reads, and who only reads is not seen."""
    writes: int
    server_minors: tuple[int, ...]

    @property
    def sees_reads(self) -> bool:
        return len(self.read) >= MANY

    @property
    def breaking(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.effect != "deprecated" and not row.control_plane)


class Usage(Reading):
    """Reads lines and events, reads among them; `report` says what they come to."""

    def __init__(self, unreadable: Unreadable) -> None:
        super().__init__(interest=Interest(frozenset()), is_ours=lambda _name: False, unreadable=unreadable)
        self._calls: dict[tuple[Api, Caller, bool], Calls] = {}
        self._seen: set[tuple[str, str]] = set()
        self._unfinished: dict[tuple[str, str], Event] = {}
        self._resources_read: set[tuple[str, str]] = set()

    def _keep(self, write: Write) -> None:
        raise AssertionError("reads count as well: `_take` keeps all")

    def _matters(self, line: bytes, seen: tuple[bool, bytes, bytes]) -> bool:
        """Whether a whole line in the API server's own field order has to be parsed."""
        if _MARK in line:
            return True
        reference = _REFERENCE.search(line)
        if reference is None:
            # Without an object it is of no API; else its fields are in another order than we know.
            return b'"objectRef"' in line
        resource, group, version = ((reference[each] or b"").decode("utf-8", "replace") for each in (1, 2, 3))
        if (group, version, resource) in KNOWN:
            return True
        if seen[0]:
            self._resources_read.add((group, resource))
        return False

    def _cut(self, event: Event, operation: str, file: str, offset: int) -> None:
        self._take(event, file, offset)

    def _take(self, event: Event, file: str, offset: int) -> None:
        if minor := events.server_minor(event):
            self.server_minors.add(minor)
        time = event.request_received_timestamp or event.timestamp
        key = (event.audit_id or f"{event.verb} {event.request_uri}", time)
        if time:
            self.minutes.add(time[:16].encode())
        if event.stage == "RequestReceived":
            # Its annotations and its answer are in a later stage; without one it was a request all the same.
            if key not in self._seen:
                self._unfinished[key] = event
            return
        self._unfinished.pop(key, None)
        if key in self._seen:
            return
        self._seen.add(key)
        self._add(event)

    def _add(self, event: Event) -> None:
        read = event.verb in READS
        self.counts["reads" if read else "events"] += 1
        reference, notes = event.object_ref, event.annotations or {}
        if reference is None:
            return
        if read:
            self._resources_read.add((reference.api_group, reference.resource))
        api = Api(reference.api_group, reference.api_version, reference.resource)
        marked = notes.get(DEPRECATED) == "true"
        if not marked and (api.group, api.version, api.resource) not in KNOWN:
            return
        name, version = product(event.user_agent)
        who = event.impersonated_user or event.user
        user = who.username if who is not None else ""
        caller = Caller(name, user, reference.namespace)
        calls = self._calls.setdefault((api, caller, _control_plane(name, user)), Calls())
        calls.verbs[event.verb] += 1
        calls.versions.add(version)
        calls.marked = calls.marked or marked
        calls.removed = calls.removed or minor_of(notes.get(REMOVED, ""))
        calls.refused += event.response_status is not None and event.response_status.code in (404, 410)
        try:
            time = events.received(event)
        except (ValueError, OverflowError):
            return
        calls.first, calls.last = min(calls.first or time, time), max(calls.last, time)
        if event.audit_id and len(calls.audit_ids) < EXAMPLES:
            calls.audit_ids.append(event.audit_id)

    def report(self, target: int) -> Report:
        """What is called that the release 1.`target` removes or deprecates; the worst first."""
        for key, event in sorted(self._unfinished.items()):
            if key not in self._seen:
                self._seen.add(key)
                self._add(event)
        self._unfinished.clear()
        rows = [row for key, calls in self._calls.items() if (row := self._row(*key, calls, target)) is not None]
        return Report(
            target=target,
            rows=tuple(sorted(rows, key=_order)),
            start=_start(min(filter(None, self.minutes), default=b"")),
            end=_start(max(self.minutes, default=b"")),
            reads=self.counts["reads"],
            read=tuple(sorted(self._resources_read)),
            writes=self.counts["events"] + self.counts["other_resources"],
            server_minors=tuple(sorted(self.server_minors)),
        )

    def _row(self, api: Api, caller: Caller, own: bool, calls: Calls, target: int) -> Row | None:
        known = KNOWN.get((api.group, api.version, api.resource), _UNKNOWN)
        removed = calls.removed or known.removed
        if removed and removed <= target:
            # Every answer was 404: the server had it no more. One that found something is proof that it has.
            effect: Effect = "gone" if calls.refused == calls.requests and not calls.marked else "breaks"
        elif calls.marked or (known.deprecated and known.deprecated <= target):
            effect = "deprecated"
        else:
            return None
        return Row(
            api=api,
            caller=caller,
            effect=effect,
            deprecated=known.deprecated,
            removed=removed,
            replacement=known.replacement,
            control_plane=own,
            calls=calls,
            reads_seen=(api.group, api.resource) in self._resources_read,
        )


_UNKNOWN = Lifecycle(0, 0, "")
_REFERENCE = re.compile(
    rb'"objectRef":\{"resource":"([^"]*)"(?:,"(?:namespace|name|uid)":"(?:[^"\\]|\\.)*")*'
    rb'(?:,"apiGroup":"([^"]*)")?(?:,"apiVersion":"([^"]*)")?[,}]'
)
"""In the API server's own field order."""
_PRODUCT = re.compile(r"([^\s/()]+)(?:/(\S+))?")
_EFFECTS: tuple[Effect, ...] = ("breaks", "gone", "deprecated")


def product(user_agent: str) -> tuple[str, str]:
    """(name, version) of the first product of a User-Agent; empty when there is none."""
    found = _PRODUCT.match(user_agent)
    return (found[1], found[2] or "") if found else ("", "")


def minor_of(release: str) -> int:
    """`1.37`, `v1.37`, `1.37.2` → 37; 0 for what is none."""
    found = re.fullmatch(r"v?1\.(\d{1,3})(?:\.\d+)?", release)
    return int(found[1]) if found else 0


def callers(rows: Iterable[Row]) -> int:
    """How many different clients and users."""
    return len({(row.caller.client, row.caller.user) for row in rows})


def _control_plane(client: str, user: str) -> bool:
    """Kubernetes' own components, by both what they say and who they are: anybody may send their User-Agent."""
    return client in ("kube-apiserver", "kube-controller-manager", "kube-scheduler") and (
        user.startswith(("system:serviceaccount:kube-system:", "system:kube-")) or user == "system:apiserver"
    )


def _order(row: Row) -> tuple[bool, int, int, Api, int, Caller]:
    return row.control_plane, _EFFECTS.index(row.effect), row.removed or 1_000, row.api, -row.calls.requests, row.caller


def _start(minute: bytes) -> int:
    try:
        return events.microseconds(minute.decode()) if minute else 0
    except ValueError:
        return 0
