"""Events → facts: one row for each stage of a write, small enough to keep, and everything that could not be seen.

A row is twenty bytes: when, which request, and the number of its `Fact`, which is shared by all writes that say the
same. So a log of any size is read once, in any order, and sorted, de-duplicated and judged afterwards. Bodies,
messages and user names do not get in here.

Knows our annotations (by the codec) and those that the API server writes itself; not which policy is to be judged.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from webhook import annotations as codec
from webhook.audit import events
from webhook.audit.attribution import UNKNOWN, Origin, origin
from webhook.audit.events import Event
from webhook.audit.source import Lines, Unreadable

FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/"
VALIDATION_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
POD_SECURITY = "pod-security.kubernetes.io/"
REGISTRATION = "admissionregistration.k8s.io"
_HOUR = 3_600_000_000
VALIDATION_FAILURES_MAX = 50
"""More failures of one request the API server (1.37) does not list."""


class Review(Struct, frozen=True):
    """What our webhook recorded of one write, without its texts."""

    set_digest: str
    evaluated: int
    violated: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """Policies whose verdict was an evaluation error: enforcement would deny as well."""
    exempted: tuple[str, ...] = ()
    not_comparable: tuple[str, ...] = ()
    unreviewed: tuple[str, ...] = ()
    """Policies that matched and gave no verdict: internal errors, and those that time did not suffice for."""
    incomplete: bool = False
    """Nothing was evaluated: too large, shed, undecodable; or the deadline came before the first policy."""
    standard: str = ""
    """Pod Security `<level>:<version>` that held."""
    snapshot: str = ""


class Native(Struct, frozen=True):
    """What the API server's own engines recorded of one write."""

    failed: tuple[str, ...] = ()
    """ValidatingAdmissionPolicies that failed, from `validation_failure`."""
    errors: tuple[str, ...] = ()
    """Those of them whose failure is an evaluation error."""
    listed: int = 0
    """Failures in the list. Up to 1.36 it is one, however many there were."""
    violates: str = ""
    """Pod Security: the standard of `audit-violations`, `<level>:<version>`."""
    enforced: str = ""
    """Pod Security: `enforce-policy`, which shows that it looked at this pod."""
    exempt: str = ""
    error: bool = False


NOTHING = Native()


class Fact(Struct, frozen=True):
    """Everything that is known of a write but when it came."""

    operation: str
    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    """Empty for what is cluster-scoped."""
    root: str
    trial: str
    name: str
    """Of deletes and of Namespaces only: whose history ends, or begins anew."""
    rank: int
    """`events.FINAL` of the stage."""
    rejected: bool
    dry_run: bool
    collection: bool
    by_controller: bool
    cut: bool
    failed_open: bool
    review: Review | None
    unreadable_review: bool
    native: Native


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
        self._is_ours = is_ours
        self._unreadable = unreadable
        self._index: dict[Fact, int] = {}
        self._reviews: dict[tuple[str, ...], tuple[Review, str, bool, str] | None] = {}
        self._natives: dict[tuple[str, ...], Native] = {}

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
            fact = msgspec.structs.replace(self._fact(event, operation, file, offset), cut=True)
            self.facts.cut.append((_request(event), self._number(fact)))
        self._unreadable.add(reason, file, offset)

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
        review, owner, dry, said, failed_open, unreadable = self._own(notes, file, offset)
        operation = said or operation
        dry = dry or events.dry_run(event, sent)
        where = self._origin(event, operation, owner, sent)
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
            dry_run=dry,
            collection=event.verb == "deletecollection",
            by_controller=events.by_controller(event),
            cut=False,
            failed_open=failed_open,
            review=review,
            unreadable_review=unreadable,
            native=self._native(notes),
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

    def _own(
        self, notes: Mapping[str, str], file: str, offset: int
    ) -> tuple[Review | None, str, bool, str, bool, bool]:
        """(review, owner, dry run, operation, failed open, whether a review of ours could not be read)."""
        failed_open = False
        name = ""
        for key, value in notes.items():
            if key.startswith(FAILED_OPEN):
                failed_open = failed_open or self._is_ours(value)
            elif key.endswith("/reviewed") and self._is_ours(key[: -len("/reviewed")]):
                name = key[: -len("/reviewed")]
        self.facts.own_seen = self.facts.own_seen or failed_open or bool(name)
        if not name:
            return None, "", False, "", failed_open, False
        texts = tuple(notes.get(f"{name}/{each}", "") for each in codec.KEYS)
        if texts not in self._reviews:
            if len(self._reviews) >= _CACHE:
                self._reviews.clear()
            try:
                self._reviews[texts] = _review(codec.decode(notes, name=name))
            except codec.UnreadableAnnotation:
                self._reviews[texts] = None
        found = self._reviews[texts]
        if found is None:
            self._unreadable.add("unreadable_annotation", file, offset)
            return None, "", False, "", failed_open, True
        review, owner, dry, operation = found
        return review, owner, dry, operation, failed_open, False

    def _native(self, notes: Mapping[str, str]) -> Native:
        key = tuple(notes.get(each, "") for each in _NATIVE_KEYS)
        if not any(key):
            return NOTHING
        native = self._natives.get(key)
        if native is None:
            if len(self._natives) >= _CACHE:
                self._natives.clear()
            native = self._natives[key] = _native(*key)
        return native


_CACHE = 50_000
"""Distinct annotation values whose reading is remembered: the replicas of one template say the same."""


def _request(event: Event) -> int:
    """Names the request together with its time. Without an id (stripped exports) the target has to do."""
    name = event.audit_id or f"{event.verb} {event.request_uri}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _review(reviewed: codec.Reviewed | None) -> tuple[Review, str, bool, str] | None:
    if reviewed is None:
        return None
    outcome = reviewed.outcome
    return (
        Review(
            set_digest=outcome.set_digest,
            evaluated=outcome.evaluated,
            violated=_ids(each.policy for each in outcome.findings if not each.error),
            errors=_ids(each.policy for each in outcome.findings if each.error),
            exempted=_ids(each.policy for each in outcome.exempted),
            not_comparable=_ids(policy for policy, _ in outcome.not_comparable),
            unreviewed=_ids([*(policy for policy, _ in outcome.internal_errors), *outcome.skipped]),
            incomplete=bool(outcome.incomplete) and not outcome.skipped,
            standard=dict(outcome.notes).get("pss", "").partition("/")[0],
            snapshot=outcome.snapshot,
        ),
        outcome.owner,
        reviewed.dry_run,
        reviewed.operation,
    )


def _ids(policies: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(policies)))


class _Failure(Struct):
    policy: str = ""
    message: str = ""


_failures = msgspec.json.Decoder(list[_Failure])
_NATIVE_KEYS = (
    VALIDATION_FAILURE,
    POD_SECURITY + "audit-violations",
    POD_SECURITY + "enforce-policy",
    POD_SECURITY + "exempt",
    POD_SECURITY + "error",
)
_STANDARD = re.compile(r'would violate PodSecurity "([a-z]+:(?:latest|v1\.\d+))": ')
_LEVEL = re.compile(r"[a-z]+:(?:latest|v1\.\d+)")
_EVALUATION_ERROR = re.compile(r"(?s)expression '.*' resulted in error: ")


def _native(failure: str, violations: str, enforced: str, exempt: str, error: str) -> Native:
    failures: Sequence[_Failure] = ()
    broken = bool(error)
    if failure:
        try:
            failures = _failures.decode(failure)
        except msgspec.DecodeError:
            broken = True
    standard = _STANDARD.match(violations)
    return Native(
        failed=_ids(each.policy for each in failures),
        errors=_ids(each.policy for each in failures if _EVALUATION_ERROR.match(each.message)),
        listed=len(failures),
        violates=standard[1] if standard else "",
        enforced=enforced if _LEVEL.fullmatch(enforced) else "",
        exempt=exempt,
        error=broken or (bool(violations) and standard is None),
    )
