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

import msgspec
from msgspec import Struct

from webhook.audit import events
from webhook.audit.events import Event
from webhook.audit.lifecycle import KNOWN, Lifecycle
from webhook.audit.source import Events, Lines, Unreadable

DEPRECATED = "k8s.io/deprecated"
REMOVED = "k8s.io/removed-release"
EXAMPLES = 3
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
    """Reads in the log, of whatever resource. None: the audit policy drops them, and readers are not seen."""
    writes: int
    server_minors: tuple[int, ...]

    @property
    def breaking(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.effect != "deprecated" and not row.control_plane)


class Usage:
    """Reads lines and events; `report` says what they come to."""

    def __init__(self, unreadable: Unreadable) -> None:
        self._unreadable = unreadable
        self._calls: dict[tuple[Api, Caller, bool], Calls] = {}
        self._seen: set[tuple[str, str]] = set()
        self._unfinished: dict[tuple[str, str], Event] = {}
        self._resources_read: set[tuple[str, str]] = set()
        self._times: tuple[str, str] = ("", "")
        self.reads = self.writes = 0
        self.server_minors: set[int] = set()

    def add(self, found: Lines | Events) -> None:
        if isinstance(found, Events):
            for record in found.records:
                self._take(record.event, found.file, record.offset)
            return
        last = len(found.lines) - 1 if found.open_end else -1
        for number, (offset, line) in enumerate(found.places()):
            if line and not line.isspace() and not self._skip(line):
                self._parse(line, found.file, offset, open_end=number == last)

    def _skip(self, line: bytes) -> bool:
        """Whether a whole line in the API server's own field order is of no interest, told without parsing it."""
        glance = events.glance(line)
        if glance is None or _MARK in line:
            return False
        read, _, _ = glance
        reference = _REFERENCE.search(line)
        if reference is None:
            # Without an object it is of no API; else its fields are in another order than we know.
            return b'"objectRef"' not in line and self._count(line, read=read)
        resource, group, version = ((reference[each] or b"").decode("utf-8", "replace") for each in (1, 2, 3))
        if (group, version, resource) in KNOWN:
            return False
        if read:
            self._resources_read.add((group, resource))
        return self._count(line, read=read)

    def _count(self, line: bytes, *, read: bool) -> bool:
        if read:
            self.reads += 1
        else:
            self.writes += 1
        self._reaches(events.minute(line).decode("ascii", "replace"))
        return True

    def _reaches(self, minute: str) -> None:
        if minute:
            first, last = self._times
            self._times = min(first or minute, minute), max(last, minute)

    def _parse(self, line: bytes, file: str, offset: int, *, open_end: bool) -> None:
        try:
            event = events.decode(line)
        except msgspec.ValidationError:
            self._unreadable.add("not_audit_event", file, offset)
        except UnicodeDecodeError:
            self._unreadable.add("invalid_utf8", file, offset)
            self._parse(line.decode("utf-8", "replace").encode(), file, offset, open_end=open_end)
        except (msgspec.DecodeError, RecursionError):
            salvaged = events.salvage(line)
            self._unreadable.add(
                "incomplete_last_line" if open_end else "cut_event" if salvaged else "not_json", file, offset
            )
            if salvaged is not None:
                self._take(salvaged, file, offset)
        else:
            if events.is_event(event):
                self._take(event, file, offset)
            else:
                self._unreadable.add("not_audit_event", file, offset)

    def _take(self, event: Event, file: str, offset: int) -> None:
        if minor := events.server_minor(event):
            self.server_minors.add(minor)
        time = event.request_received_timestamp or event.timestamp
        key = (event.audit_id or f"{event.verb} {event.request_uri}", time)
        self._reaches(time[:16])
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
        if read:
            self.reads += 1
        else:
            self.writes += 1
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
            start=_start(self._times[0]),
            end=_start(self._times[1]),
            reads=self.reads,
            writes=self.writes,
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


def _start(minute: str) -> int:
    try:
        return events.microseconds(minute) if minute else 0
    except ValueError:
        return 0
