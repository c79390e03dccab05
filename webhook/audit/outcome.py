"""What became of one write for one policy: reviewed or not, and what was found.

The order is that of the definitions: dry run, rejected, truncated, failed open, incomplete, reviewed, not sent. Nothing
that was not seen counts as passed. Knows facts and subjects; no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from webhook.audit.events import FINAL
from webhook.audit.fact import VALIDATION_FAILURES_MAX, Fact, Review
from webhook.audit.subject import Labels, Subject, may_concern
from webhook.audit.tally import Found
from webhook.audit.verdict import Outcome
from webhook.policy import SetRecord


class Standard(Struct, frozen=True):
    """By which Pod Security standard the API server audits a namespace, and since when that is proven."""

    level: str
    version: str
    since: int
    """Microseconds since the epoch."""


Standards = Callable[[str], Standard | None]
"""Namespace → its standard, None when it is not known."""


class Plan(Struct, frozen=True):
    """What a fact says of one subject, whenever it happened."""

    outcome: Outcome
    found: Found = Found()
    version: str = ""


class Outcomes:
    """Reads facts by what is known of sets, namespaces, standards and the server's versions."""

    def __init__(
        self,
        *,
        sets: Iterable[SetRecord] = (),
        labels: Labels = lambda _namespace: None,
        standards: Standards = lambda _namespace: None,
        excluded: frozenset[str] = frozenset(),
        minors: frozenset[int] = frozenset(),
    ) -> None:
        """`sets` explain the set digests in the log; `excluded` are the namespaces that the webhook's configuration
        leaves out; `minors` are the server's versions 1.N."""
        self._positions = {
            each.digest: {policy.id: (position, policy.digest) for position, policy in enumerate(each.policies)}
            for each in sets
        }
        self._labels = labels
        self._standards = standards
        self._excluded = excluded
        self._minors = minors

    def of(self, subject: Subject, fact: Fact) -> Plan | None:
        """None when the write is none of the policy's business."""
        return self._native(subject, fact) if subject.native else self._own(subject, fact)

    def knows(self, digest: str) -> bool:
        return digest in self._positions

    def holding(self, subject: Subject) -> frozenset[str]:
        """Digests of the known sets that hold this very version of the policy."""
        return frozenset(
            digest
            for digest, policies in self._positions.items()
            if policies.get(subject.id, (0, None))[1] == subject.digest
        )

    def others(self, subject: Subject) -> frozenset[str]:
        """Digests of the known sets that do not."""
        return frozenset(self._positions) - self.holding(subject)

    def since(self, subject: Subject, namespace: str) -> int:
        """From when on it is known by which standard a native level is audited; microseconds, epoch."""
        standard = self._standards(namespace) if subject.native and subject.level else None
        return standard.since if standard is not None else 0

    def unproven(self, subject: Subject, namespace: str) -> str:
        """Why the log cannot show natively what passes in this namespace; empty when it can."""
        if not (subject.native and subject.level):
            return subject.unproven
        standard = self._standards(namespace)
        if standard is None:
            return "the namespace's audit level is not known (--snapshot with its labels shows it)"
        if standard.level not in (subject.level, "restricted"):
            return f"the namespace is audited at {standard.level}, which says nothing of {subject.level}"
        return ""

    def _own(self, subject: Subject, fact: Fact) -> Plan | None:
        """By our annotations; a failure that the API server itself recorded counts as well."""
        review = fact.review
        version = review.standard.partition(":")[2] if review is not None and subject.level else ""
        denied, error = _failed(subject, fact, version)
        if denied and subject.level and not version:
            version = fact.native.violates.partition(":")[2]
        known = self._positions.get(review.set_digest) if review is not None else None
        position, digest = (known or {}).get(subject.id, (0, ""))
        found = Found(violated=denied, error=error)
        outcome: Outcome = "reviewed"
        if review is None or known is None or review.incomplete or digest != subject.digest:
            if not denied and not may_concern(subject, fact, self._labels):
                return None
            outcome = self._unreviewed(fact, known is not None)
        else:
            verdict = _reviewed(subject, review, position)
            if verdict is None and not denied:
                return None
            outcome, found = verdict or (outcome, found)
            if denied:
                found = Found(violated=True, error=found.error or error)
        if fact.collection:
            # One annotation for many objects: what was found in the others is lost.
            outcome = "incomplete"
        return Plan(_first(fact, outcome), Found() if fact.rejected or fact.dry_run else found, version)

    def _unreviewed(self, fact: Fact, known: bool) -> Outcome:
        """Why there is no complete review by the policy as it is now. (Reviews by a former version of it all lie
        before the evidence begins.)"""
        if fact.unreadable_review or (known and fact.review is not None and fact.review.incomplete):
            return "incomplete"
        if fact.review is not None and not known:
            return "unknown_set"
        return "exempt_namespace" if fact.namespace in self._excluded else "not_sent"

    def _native(self, subject: Subject, fact: Fact) -> Plan | None:
        """By the API server's annotations alone. That there is none is a pass only where the engine provably ran."""
        native = fact.native
        if subject.level:
            return self._pod_security(subject, fact)
        denied, error = _failed(subject, fact, "")
        if not denied and not may_concern(subject, fact, self._labels):
            return None
        outcome: Outcome = "reviewed"
        if not denied and (subject.unproven or native.error or self._may_hide(fact)):
            outcome = "unknown"
        found = Found() if fact.rejected or fact.dry_run else Found(violated=denied, error=error)
        return Plan(_first(fact, outcome), found)

    def _may_hide(self, fact: Fact) -> bool:
        """Whether the list of failures may be cut: up to Kubernetes 1.36 it holds the first one only."""
        listed = fact.native.listed
        minors = self._minors
        return listed >= VALIDATION_FAILURES_MAX or (listed == 1 and (not minors or min(minors) < 37))

    def _pod_security(self, subject: Subject, fact: Fact) -> Plan | None:
        native = fact.native
        denied, _ = _failed(subject, fact, "")
        version = native.violates.partition(":")[2] if denied else ""
        outcome: Outcome = "reviewed"
        if not denied:
            if subject.match is None or not may_concern(subject, fact, self._labels):
                return None
            if native.exempt:
                return Plan(_first(fact, "exempt"))  # by the server's own configuration: from enforcement as well
            pod = fact.resource == "pods"
            if pod and not native.enforced and fact.operation == "UPDATE" and not native.error:
                return None  # containers and images unchanged: Pod Security did not look, and would not when enforced
            passed = self._passed(subject, fact)
            outcome, version = ("unknown", "") if passed is None else ("reviewed", passed)
        found = Found() if fact.rejected or fact.dry_run else Found(violated=denied)
        return Plan(_first(fact, outcome), found, version)

    def _passed(self, subject: Subject, fact: Fact) -> str | None:
        """The version at which an accepted write without violations provably met the level; None for no proof.
        Who passes restricted passes baseline."""
        native = fact.native
        enforced, _, version = native.enforced.partition(":")
        if enforced in (subject.level, "restricted"):
            return version
        standard = self._standards(fact.namespace)
        if standard is None or native.violates or native.error or standard.level not in (subject.level, "restricted"):
            return None
        return standard.version if native.enforced or fact.resource != "pods" else None


def whole(fact: Fact) -> Outcome:
    """What became of a write, whatever the policy: `unknown` when nothing of ours is on it."""
    if fact.unreadable_review or (fact.review is not None and (fact.review.incomplete or fact.collection)):
        return _first(fact, "incomplete")
    return _first(fact, "unknown" if fact.review is None else "reviewed")


def _failed(subject: Subject, fact: Fact, version: str) -> tuple[bool, bool]:
    """(whether the API server itself recorded a failure, whether that is an evaluation error)."""
    native = fact.native
    if not subject.level:
        return subject.id in native.failed, subject.id in native.errors
    level, _, at = native.violates.partition(":")
    # What violates baseline violates restricted too. Evidence holds for the version it was given at.
    return bool(level) and level in (subject.level, "baseline") and version in ("", at), False


def _reviewed(subject: Subject, review: Review, position: int) -> tuple[Outcome, Found] | None:
    """What a complete review by this policy says; None when the policy had nothing to do with the write."""
    if subject.id in review.unreviewed:
        return "incomplete", Found()
    if subject.id in review.not_comparable:
        return "reviewed", Found(not_comparable=True)
    if not review.evaluated >> position & 1:
        return None
    violated, error = subject.id in review.violated, subject.id in review.errors
    return "reviewed", Found(
        violated=violated or error, error=error and not violated, exempted=subject.id in review.exempted
    )


def _first(fact: Fact, outcome: Outcome) -> Outcome:
    """The outcome that goes before all others."""
    if fact.dry_run:
        return "dry_run"
    if fact.rejected:
        return "rejected"
    if fact.cut or fact.rank == FINAL["RequestReceived"]:
        return "truncated"
    if fact.failed_open:
        return "failed_open"
    return outcome
