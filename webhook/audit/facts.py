"""Events → facts: one row for each stage of a write, small enough to keep, and everything that could not be seen.

A row is twenty bytes: when, which request, and the number of its `Fact`, which is shared by all writes that say the
same. So a log of any size is read once, in any order, and sorted, de-duplicated and judged afterwards. Knows nothing of
which policy is to be judged.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from webhook.audit import events
from webhook.audit.attribution import UNKNOWN, Origin, origin
from webhook.audit.events import Event
from webhook.audit.fact import Annotations, Fact, Own
from webhook.audit.source import Events, Lines, Unreadable

_HOUR = 3_600_000_000
REGISTRATION = "admissionregistration.k8s.io"


class Registration(Struct, frozen=True, order=True):
    """A write to what decides who may review: the evidence is as strong as the right to make these."""

    time: int
    verb: str
    resource: str
    name: str
    user: str


class Facts:
    """Rows of all stages of all writes, and what was counted on the way."""

    def __init__(self) -> None:
        self.table: list[Fact] = []
        self.times = array("q")
        """Microseconds since the epoch."""
        self.requests = array("Q")
        """64-bit hash of `auditID`: with the time it names a request."""
        self.which = array("L")
        """Index in `table`."""
        self.cut: list[tuple[int, int]] = []
        """(request, index in `table`) of writes whose time was cut off with their annotations."""
        self.counts: Counter[str] = Counter()
        self.minutes: set[bytes] = set()
        """Minutes in which the log says anything at all, `2026-11-24T21:43`."""
        self.server_minors: set[int] = set()
        self.registrations: dict[tuple[int, int], Registration] = {}
        self.own_seen = False
        """Whether anything of ours is in the log."""

    def rows(self) -> Iterator[tuple[int, Fact]]:
        """(microseconds, fact) of each write once, in the order of time. The stage that says most speaks for it."""
        best: Fact | None = None
        previous = (0, 0)
        for i in self._in_order():
            fact, request = self.table[self.which[i]], (self.times[i], self.requests[i])
            if best is not None and request == previous:
                best = _better(best, fact)
                continue
            if best is not None:
                yield previous[0], best
            best, previous = fact, request
        if best is not None:
            yield previous[0], best

    def _in_order(self) -> Iterator[int]:
        """Positions of the rows by time and request; sorted an hour at a time, to hold little at once."""
        hours: dict[int, array[int]] = {}
        for i, time in enumerate(self.times):
            hours.setdefault(time // _HOUR, array("L")).append(i)
        for hour in sorted(hours):
            yield from sorted(hours.pop(hour), key=lambda i: (self.times[i], self.requests[i]))

    def cut_rows(self) -> list[Fact]:
        """Cut writes of which no whole event is in the log, each once."""
        if not self.cut:
            return []
        whole = set(self.requests)
        return [self.table[fact] for request, fact in dict(self.cut).items() if request not in whole]


def _better(one: Fact, other: Fact) -> Fact:
    """The fact that says more; the choice does not depend on the order."""
    return max(one, other, key=lambda fact: (fact.rank, fact.review is not None, msgspec.json.encode(fact)))


class Interest(Struct, frozen=True):
    """Which resources are worth parsing. `everything` for policies that match any."""

    resources: frozenset[bytes]
    subresources: frozenset[tuple[bytes, bytes]] = frozenset()
    everything: bool = False


class Collector:
    """Reads lines into `facts`. `interest` bounds what is parsed; `is_ours` tells our webhook names from others'."""

    def __init__(self, *, interest: Interest, is_ours: Callable[[str], bool], unreadable: Unreadable) -> None:
        self.facts = Facts()
        self._interest = interest
        self._annotations = Annotations(is_ours)
        self._unreadable = unreadable
        self._index: dict[Fact, int] = {}

    def add(self, lines: Lines) -> None:
        counts, minutes = self.facts.counts, self.facts.minutes
        glance, minute = events.glance, events.minute
        offset = lines.offset
        last = len(lines.lines) - 1 if lines.open_end else -1
        for number, line in enumerate(lines.lines):
            seen = glance(line)
            if seen is not None and not self._matters(line, seen):
                minutes.add(minute(line))
                counts["reads" if seen[0] else "other_resources"] += 1
                if not self.facts.server_minors and b'"userAgent":"kube-' in line:
                    self._sniff(line)
            elif line and not line.isspace():
                self._parse(line, lines.file, offset, open_end=number == last)
            offset += len(line) + 1

    def _sniff(self, line: bytes) -> None:
        """Looks for the server's version in a line that is otherwise of no interest."""
        try:
            minor = events.server_minor(events.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if minor:
            self.facts.server_minors.add(minor)

    def _matters(self, line: bytes, seen: tuple[bool, bytes, bytes]) -> bool:
        read, resource, subresource = seen
        if read:
            return False
        interest = self._interest
        known = (resource, subresource) in interest.subresources if subresource else resource in interest.resources
        return known or interest.everything or b'/reviewed":' in line or b'/validation_failure":' in line

    def _parse(self, line: bytes, file: str, offset: int, *, open_end: bool) -> None:
        try:
            event = events.decode(line)
        except UnicodeDecodeError:
            # Whatever damaged the text, the rest of the event still counts.
            self._unreadable.add("invalid_utf8", file, offset)
            self._parse(line.decode("utf-8", "replace").encode(), file, offset, open_end=open_end)
            return
        except (msgspec.DecodeError, RecursionError) as error:
            self._broken(line, error, file, offset, open_end=open_end)
            return
        if not events.is_event(event):
            self._unreadable.add("not_audit_event", file, offset)
            return
        self._take(event, file, offset)

    def add_events(self, found: Events) -> None:
        """What an export format's reader took out of its envelopes."""
        for record in found.records:
            if not record.cut:
                self._take(record.event, found.file, record.offset)
            elif operation := events.operation(record.event):
                self._cut(record.event, operation, found.file, record.offset)

    def _take(self, event: Event, file: str, offset: int) -> None:
        try:
            time = events.received(event)
        except (ValueError, OverflowError):
            self._unreadable.add("no_time", file, offset)
            return
        self.facts.minutes.add((event.request_received_timestamp or event.timestamp)[:16].encode())
        if minor := events.server_minor(event):
            self.facts.server_minors.add(minor)
        operation = events.operation(event)
        if not operation:
            self.facts.counts["reads"] += 1
            return
        self.facts.counts["events"] += 1
        fact = self._fact(event, operation, file, offset)
        request = _request(event)
        self.facts.times.append(time)
        self.facts.requests.append(request)
        self.facts.which.append(self._number(fact))
        ref = event.object_ref
        if ref is not None and ref.api_group == REGISTRATION and fact.rank and not (fact.rejected or fact.dry_run):
            user = event.user.username if event.user is not None else ""
            self.facts.registrations[time, request] = Registration(
                time, event.verb, ref.resource, ref.name or "(collection)", user
            )

    def _broken(self, line: bytes, error: Exception, file: str, offset: int, *, open_end: bool) -> None:
        if isinstance(error, msgspec.ValidationError):
            reason = "not_audit_event"
        elif open_end:
            reason = "incomplete_last_line"
        else:
            reason = "not_json"
        event = None if reason == "not_audit_event" else events.salvage(line)
        if event is not None and (operation := events.operation(event)):
            reason = "cut_event" if not open_end else reason
            self._cut(event, operation, file, offset)
        self._unreadable.add(reason, file, offset)

    def _cut(self, event: Event, operation: str, file: str, offset: int) -> None:
        fact = msgspec.structs.replace(self._fact(event, operation, file, offset), cut=True)
        self.facts.cut.append((_request(event), self._number(fact)))

    def _number(self, fact: Fact) -> int:
        number = self._index.get(fact)
        if number is None:
            number = self._index[fact] = len(self.facts.table)
            self.facts.table.append(fact)
        return number

    def _fact(self, event: Event, operation: str, file: str, offset: int) -> Fact:
        ref = event.object_ref or events.ObjectRef()
        notes = event.annotations or {}
        sent = events.body(event)
        own = self._annotations.own(notes)
        if own is None:
            own = _NOTHING_OF_OURS
        else:
            self.facts.own_seen = True
            if own.unreadable:
                self._unreadable.add("unreadable_annotation", file, offset)
        operation = own.operation or operation
        where = self._origin(event, operation, own.owner, sent)
        code = event.response_status.code if event.response_status is not None else 0
        return Fact(
            operation=operation,
            group=ref.api_group,
            version=ref.api_version,
            resource=ref.resource,
            subresource=ref.subresource,
            namespace=ref.namespace,
            root=where.root,
            trial=where.trial,
            name=ref.name if operation == "DELETE" or ref.resource == "namespaces" else "",
            rank=events.FINAL.get(event.stage, 0),
            rejected=code >= 400,
            dry_run=own.dry_run or events.dry_run(event, sent),
            collection=event.verb == "deletecollection",
            by_controller=events.by_controller(event),
            cut=False,
            failed_open=own.failed_open,
            review=own.review,
            unreadable_review=own.unreadable,
            native=self._annotations.native(notes),
        )

    def _origin(self, event: Event, operation: str, owner: str, sent: events.Body) -> Origin:
        ref = event.object_ref
        if ref is None:
            return UNKNOWN
        if operation in ("DELETE", "CONNECT"):
            return origin(ref.api_group, ref.resource, ref.name, "")
        if not owner and sent.metadata is not None and event.verb != "patch":
            owners = sent.metadata.owner_references or []
            controller = next((each for each in owners if each.controller), owners[0] if len(owners) == 1 else None)
            owner = f"{controller.kind}/{controller.name}" if controller is not None else ""
        name = ref.name or (sent.metadata.name if sent.metadata is not None and event.verb == "create" else "")
        return origin(ref.api_group, ref.resource, name, owner)


_NOTHING_OF_OURS = Own()


def _request(event: Event) -> int:
    """Names the request together with its time. Without an id (stripped exports) the target has to do."""
    name = event.audit_id or f"{event.verb} {event.request_uri}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
