"""Events → writes: what one event says of one write, read once for every use of it.

`Reading` takes what sources give and hands each write to `_keep`; what is made of it is its heirs' business: `facts`
keeps twenty bytes of it, `table` makes rows. Counts what it leaves out, and names what it cannot read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec import Struct

from webhook.audit import events
from webhook.audit.attribution import UNKNOWN, Origin, origin
from webhook.audit.events import Event
from webhook.audit.fact import Annotations, Fact, Own
from webhook.audit.source import Events, Lines, Unreadable


class Write(Struct):
    """One record of one write: a stage of it, or a copy."""

    time: int | None
    """Microseconds since the epoch; None where it was cut off, and the annotations with it."""
    request: int
    """64-bit hash of `auditID`: with the time it names the request."""
    event: Event
    fact: Fact
    own: Own


class Interest(Struct, frozen=True):
    """Which resources are worth parsing. `everything` for policies that match any."""

    resources: frozenset[bytes]
    subresources: frozenset[tuple[bytes, bytes]] = frozenset()
    everything: bool = False
    dull: frozenset[bytes] = frozenset()
    """Resources and subresources that are left out of `everything`, unless somebody reviewed the write."""

    def wants(self, resource: bytes, subresource: bytes) -> bool:
        """Whether writes to it are worth parsing, also when nobody reviewed them."""
        if subresource and (resource, subresource) in self.subresources:
            return True
        if not subresource and resource in self.resources:
            return True
        return self.everything and resource not in self.dull and subresource not in self.dull


class Reading:
    """`interest` bounds what is parsed; `is_ours` tells our webhook names from others'; with `texts`, what the reviews
    said is handed on whole."""

    def __init__(
        self, *, interest: Interest, is_ours: Callable[[str], bool], unreadable: Unreadable, texts: bool = False
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.minutes: set[bytes] = set()
        """Minutes in which the log says anything at all, `2026-11-24T21:43`."""
        self.server_minors: set[int] = set()
        self._interest = interest
        self._annotations = Annotations(is_ours, texts=texts)
        self.unreadable = unreadable

    def _keep(self, write: Write) -> None:
        """Takes a write."""
        raise NotImplementedError

    def add(self, found: Lines | Events) -> None:
        """Takes what a source has found."""
        if isinstance(found, Events):
            self.add_events(found)
            return
        counts, minutes = self.counts, self.minutes
        if found.reads:
            counts["reads"] += found.reads
        if found.others:
            counts["other_resources"] += found.others
        minutes |= found.minutes
        self.server_minors |= found.server_minors
        if found.sifted:
            for offset, line in found.places():
                self._parse(line, found.file, offset, open_end=False)
            return
        glance, minute = events.glance, events.minute
        last = len(found.lines) - 1 if found.open_end else -1
        for number, (offset, line) in enumerate(found.places()):
            seen = glance(line)
            if seen is not None and not self._matters(line, seen):
                if stamp := minute(line):
                    minutes.add(stamp)
                counts["reads" if seen[0] else "other_resources"] += 1
                if not self.server_minors and b'"userAgent":"kube-' in line:
                    self._sniff(line)
            elif line and not line.isspace():
                self._parse(line, found.file, offset, open_end=number == last)

    def _sniff(self, line: bytes) -> None:
        """Looks for the server's version in a line that is otherwise of no interest."""
        try:
            minor = events.server_minor(events.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if minor:
            self.server_minors.add(minor)

    def _matters(self, line: bytes, seen: tuple[bool, bytes, bytes]) -> bool:
        if seen[0]:
            return False
        return self._interest.wants(*seen[1:]) or events.reviewed(line, max(line.rfind(events.RECEIVED), 0), len(line))

    def _parse(self, line: bytes, file: str, offset: int, *, open_end: bool) -> None:
        try:
            event = events.decode(line)
        except UnicodeDecodeError:
            # Whatever damaged the text, the rest of the event still counts.
            self.unreadable.add("invalid_utf8", file, offset)
            self._parse(line.decode("utf-8", "replace").encode(), file, offset, open_end=open_end)
            return
        except (msgspec.DecodeError, RecursionError) as error:
            self._broken(line, error, file, offset, open_end=open_end)
            return
        if not events.is_event(event):
            self.unreadable.add("not_audit_event", file, offset)
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
            self.unreadable.add("no_time", file, offset)
            return
        self.minutes.add((event.request_received_timestamp or event.timestamp)[:16].encode())
        if minor := events.server_minor(event):
            self.server_minors.add(minor)
        operation = events.operation(event)
        if not operation:
            self.counts["reads"] += 1
            return
        self.counts["events"] += 1
        own = self._own(event, file, offset)
        self._keep(Write(time, _request(event), event, self._fact(event, operation, own), own))

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
        self.unreadable.add(reason, file, offset)

    def _cut(self, event: Event, operation: str, file: str, offset: int) -> None:
        own = self._own(event, file, offset)
        fact = msgspec.structs.replace(self._fact(event, operation, own), cut=True)
        self._keep(Write(None, _request(event), event, fact, own))

    def _own(self, event: Event, file: str, offset: int) -> Own:
        own = self._annotations.own(event.annotations or {})
        if own is None:
            return NOTHING_OF_OURS
        if own.unreadable:
            self.unreadable.add("unreadable_annotation", file, offset)
        return own

    def _fact(self, event: Event, operation: str, own: Own) -> Fact:
        ref = event.object_ref or events.ObjectRef()
        notes = event.annotations or {}
        sent = events.body(event)
        operation = own.operation or operation
        where = self._origin(event, operation, own.owner, sent)
        code = event.response_status.code if event.response_status is not None else 0
        return Fact(  # by position, which takes a seventh of the time
            operation,
            ref.api_group,
            ref.api_version,
            ref.resource,
            ref.subresource,
            ref.namespace,
            where.root,
            where.trial,
            ref.name if operation == "DELETE" or ref.resource == "namespaces" else "",
            events.FINAL.get(event.stage, 3 if code else 0),
            code >= 400,  # rejected
            own.dry_run or events.dry_run(event, sent),
            event.verb == "deletecollection",
            events.by_controller(event),
            False,  # cut
            own.failed_open,
            own.review,
            own.unreadable,
            self._annotations.native(notes),
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
        if not name and event.response_status is not None and event.response_status.code >= 400:
            # The server had made up a name before it refused, and says it.
            refused = _REFUSED.match(event.response_status.message)
            name = refused[2] if refused and refused[1] == ref.resource else ""
        return origin(ref.api_group, ref.resource, name, owner)


_REFUSED = re.compile(r'([a-z0-9-]+)[a-z0-9.-]* "([^"]{1,253})" is forbidden: ')
NOTHING_OF_OURS = Own()


def _request(event: Event) -> int:
    """Names the request together with its time. Without an id (stripped exports) the target has to do."""
    name = event.audit_id or f"{event.verb} {event.request_uri}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
