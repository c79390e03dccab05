"""A write → its rows in the facts table: the write itself, what each source found in it, what could not be seen.

One pure function: equal records give equal rows, in whatever process, order or engine. Messages are bounded; bodies
are not looked at. What is a gap, and what goes before what, is `outcome`'s to say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from webhook.annotations import clip
from webhook.audit.events import Event
from webhook.audit.fact import GATEKEEPER, POD_SECURITY, STANDARD, VALIDATION_FAILURE, failures, weight
from webhook.audit.outcome import whole
from webhook.audit.reading import Write
from webhook.audit.table.denials import denials
from webhook.audit.table.schema import COLUMNS, MESSAGE

Row = tuple[Any, ...]
"""Values in the order of `COLUMNS`; times in microseconds and days since the epoch."""

DAY = 86_400_000_000
NAME = 253
"""Code points of a name that are kept: no valid one is longer."""
_KYVERNO = ("cpol-", "vpol-")
"""How the ValidatingAdmissionPolicies begin that Kyverno generates of its own."""


class Found(Struct, frozen=True):
    """A finding or a blind spot, as it stands in the row."""

    kind: str
    source: str
    policy: str
    result: str
    reason: str = ""
    message: str = ""
    preexisting: bool = False


def rows_of(write: Write, cluster: str) -> list[Row]:
    """The write's row first, then those of its findings and blind spots."""
    fact, event = write.fact, write.event
    outcome = whole(fact)
    texts = write.own.texts
    reason = ""
    if outcome == "incomplete":
        reason = _why_incomplete(write)
    found = [Found("write", "", "", outcome, reason)]
    found += _findings(write)
    found += _blind(write, outcome, reason)
    kind, _, name = fact.root.partition("/")
    user = event.impersonated_user or event.user
    code = event.response_status.code if event.response_status is not None else 0
    before = (
        clip(cluster, NAME),
        None if write.time is None else write.time // DAY,
        write.time,
        clip(event.audit_id, NAME),
        write.request,
    )
    after = (
        fact.operation,
        clip(fact.group, NAME),
        clip(fact.version, NAME),
        clip(fact.resource, NAME),
        clip(fact.subresource, NAME),
        clip(fact.namespace, NAME),
        clip(event.object_ref.name if event.object_ref is not None else "", NAME),
        clip(kind, NAME),
        clip(name, NAME),
        clip(user.username if user is not None else "", NAME),
        client(event.user_agent),
        fact.by_controller,
        fact.dry_run,
        fact.rejected,
        code if 0 <= code < 1_000 else 0,
        clip(fact.review.set_digest, NAME) if fact.review is not None else "",
        clip(fact.review.snapshot, NAME) if fact.review is not None else "",
        1,
        event.stage,
        clip(fact.trial, NAME),
        f"{texts.evaluated:x}" if texts is not None else "",
        fact.native.enforced,
    )
    said = [
        (
            each.kind,
            each.source,
            clip(each.policy, NAME),
            each.result,
            clip(each.reason, NAME),
            clip(each.message, MESSAGE),
            each.preexisting,
        )
        for each in found
    ]
    digest = hashlib.blake2b(msgspec.json.encode((before, after, said)), digest_size=4).digest()
    heavy = (weight(fact) << 32 | int.from_bytes(digest, "little"),)
    return [before + each + after + heavy for each in said]


_CLIENT = re.compile(r"[^/\s]*")


def client(user_agent: str) -> str:
    """The first product of a User-Agent, without its version: `kubectl`."""
    found = _CLIENT.match(user_agent)
    return clip(found[0], 120) if found else ""


def unreadable(cluster: str, identity: str, reason: str, message: str, count: int) -> Row:
    """A row for what in one input could not be read for one reason, `count` times."""
    request = int.from_bytes(hashlib.blake2b(f"{identity} {reason}".encode(), digest_size=8).digest(), "little")
    values = {
        "cluster": clip(cluster, NAME),
        "request": request,
        "kind": "blind",
        "result": "unreadable",
        "reason": clip(reason, NAME),
        "message": clip(message, MESSAGE),
        "requests": count,
    }
    return tuple(values.get(column.name, EMPTY[column.name]) for column in COLUMNS)


EMPTY: dict[str, Any] = {
    column.name: None if column.nullable else {"text": "", "words": "", "bool": False}.get(column.type, 0)
    for column in COLUMNS
}
"""What a row holds where nothing is known."""


def _why_incomplete(write: Write) -> str:
    texts = write.own.texts
    if write.own.unreadable:
        return "unreadable_annotation"
    return texts.incomplete if texts is not None and texts.incomplete else "deletecollection"


def _blind(write: Write, outcome: str, reason: str) -> Iterator[Found]:
    """What could not be seen in an accepted write that was to be stored. Of the others nothing is asked."""
    if outcome in ("dry_run", "rejected"):
        return
    texts = write.own.texts
    if outcome in ("failed_open", "truncated"):
        yield Found("blind", "", "", outcome)
        return
    if outcome == "incomplete":
        yield Found("blind", "", "", "shed" if reason == "shed" else outcome, reason)
    elif texts is not None and texts.incomplete:
        yield Found("blind", "", "", "incomplete", texts.incomplete)
    if texts is not None:
        for policy, what in sorted(dict(reversed(texts.internal_errors)).items()):
            yield Found("blind", "wouldblock", policy, "incomplete", f"internal error: {what}")
        for policy, why in sorted(dict(reversed(texts.not_comparable)).items()):
            yield Found("blind", "wouldblock", policy, "not_comparable", why)
    if write.fact.native.error:
        yield Found("blind", "", "", "incomplete", "unreadable_annotation of the API server")


def _findings(write: Write) -> Iterator[Found]:
    yield from _ours(write)
    notes = write.event.annotations or {}
    if write.fact.native.failed:
        yield from _policies(write, notes)
    yield from _pod_security(write, notes)
    if GATEKEEPER in notes:
        yield from _gatekeeper(notes[GATEKEEPER])
    status = write.event.response_status
    if write.fact.rejected and status is not None:
        for each in denials(status.message):
            yield Found("finding", "denial", each.policy, "denied", each.reason, each.message)


def _ours(write: Write) -> Iterator[Found]:
    """One finding for each policy: no verdict goes before none that compares, a violation before an exemption."""
    review, texts = write.fact.review, write.own.texts
    if review is None or texts is None or review.incomplete:
        return
    said: dict[str, Found] = {}
    for exempted in texts.exempted:
        said.setdefault(
            exempted.policy, Found("finding", "wouldblock", exempted.policy, "exempted", exempted.exemption)
        )
    standard = review.standard
    for result, error in (("error", True), ("violation", False)):
        per: dict[str, list[Any]] = {}
        for each in texts.findings:
            if each.error is error:
                per.setdefault(each.policy, []).append(each)
        for policy, findings in per.items():
            said[policy] = Found(
                "finding",
                "wouldblock",
                policy,
                result,
                standard if policy.startswith("pod-security-") else "",
                findings[0].message,
                all(each.pre_existing for each in findings),
            )
    for policy, why in texts.not_comparable:
        said[policy] = Found("finding", "wouldblock", policy, "not_comparable", why)
    for policy in texts.skipped:
        said[policy] = Found("finding", "wouldblock", policy, "unreviewed", texts.incomplete)
    for policy, what in texts.internal_errors:
        said[policy] = Found("finding", "wouldblock", policy, "unreviewed", f"internal error: {what}")
    yield from (said[policy] for policy in sorted(said))


def _policies(write: Write, notes: Mapping[str, str]) -> Iterator[Found]:
    """ValidatingAdmissionPolicies, Kyverno's generated ones told by their names."""
    native = write.fact.native
    messages: dict[str, str] = {}
    for each in failures.decode(notes.get(VALIDATION_FAILURE, "[]")):
        messages.setdefault(each.policy, each.message)
    for policy in native.failed:
        yield Found(
            "finding",
            "kyverno" if policy.startswith(_KYVERNO) else "vap",
            policy,
            "error" if policy in native.errors else "violation",
            "",
            messages.get(policy, ""),
        )


def _pod_security(write: Write, notes: Mapping[str, str]) -> Iterator[Found]:
    native = write.fact.native
    if native.violates:
        text = notes.get(POD_SECURITY + "audit-violations", "")
        found = STANDARD.match(text)
        level = native.violates.partition(":")[0]
        yield Found(
            "finding",
            "pod-security",
            f"pod-security-{level}",
            "violation",
            native.violates,
            text[found.end() :] if found else text,
        )
    if native.exempt:
        yield Found("finding", "pod-security", "pod-security", "exempted", native.exempt)


class _Violation(Struct, rename="camel"):
    constraint_kind: str = ""
    constraint_name: str = ""
    message: str = ""
    enforcement_action: str = ""


class _Evaluation(Struct):
    violations: list[_Violation] = []


_evaluation = msgspec.json.Decoder(_Evaluation)


def _gatekeeper(text: str) -> Iterator[Found]:
    """What Gatekeeper found (`--emit-admission-audit-annotations`). That it found nothing proves nothing."""
    try:
        violations = _evaluation.decode(text).violations
    except (msgspec.DecodeError, RecursionError):
        yield Found("blind", "gatekeeper", "", "incomplete", "unreadable_annotation")
        return
    first: dict[str, _Violation] = {}
    for each in violations:
        first.setdefault(f"{each.constraint_kind}/{each.constraint_name}", each)
    for policy, each in sorted(first.items()):
        yield Found("finding", "gatekeeper", policy, "violation", each.enforcement_action, each.message)


__all__ = ["DAY", "EMPTY", "Event", "Row", "client", "rows_of", "unreadable"]
