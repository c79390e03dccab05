"""Facts → verdicts: may this policy be enforced in this namespace?

Every figure has its numerator, its denominator and its window, and each verdict names the first condition that
failed. Nothing that was not seen counts as passed. Knows facts and subjects; no files, no annotations, no output.

The definitions, in short. A write concerns a policy when the webhook evaluated it, or may have to (rules and
namespaces match). Accepted writes that were not a dry run are *reviewed*, or a gap: `failed_open`, `incomplete`,
`truncated`, `not_sent`, `unknown_set`, `unknown`. Coverage is reviewed ÷ (reviewed + gaps). A workload is *open* when
its latest reviewed write would be denied and it has not been deleted since (at level Metadata the log cannot tell a
delete from one that was a dry run by its body). `n` counts changes of templates, not writes: five hundred replicas are
one.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from webhook.audit.bound import upper_bound
from webhook.audit.events import FINAL
from webhook.audit.facts import VALIDATION_FAILURES_MAX, Fact, Facts, Review
from webhook.audit.subject import Labels, Subject, may_concern
from webhook.policy import SetRecord

DAY = 86_400_000_000
SECOND = 1_000_000
IN_FLIGHT = 120 * SECOND
"""A request whose end is not in the log is under way when it began this close to the log's end (to the minute; the API
server ends requests after one)."""

Outcome = Literal[
    "reviewed",
    "failed_open",
    "incomplete",
    "truncated",
    "not_sent",
    "unknown_set",
    "unknown",
    "rejected",
    "dry_run",
    "exempt_namespace",
]
GAPS: tuple[Outcome, ...] = ("failed_open", "incomplete", "truncated", "not_sent", "unknown_set", "unknown")
"""Accepted writes of which it is not known whether the policy would have denied them."""

VerdictName = Literal["fix first", "blind", "not enough evidence", "enforce"]


class Limits(Struct, frozen=True, kw_only=True):
    """What a verdict asks for. Times in microseconds."""

    min_window: int = 14 * DAY
    min_writes: int = 30
    """Least n, the number of independent changes."""
    min_coverage: float = 0.99
    max_gap: int = DAY
    """Longest time in which the log may be silent altogether."""
    max_age: int = 7 * DAY
    """How old the end of the log may be."""


DEFAULTS = Limits()


class Standard(Struct, frozen=True):
    """By which Pod Security standard the API server audits a namespace, and since when that is proven."""

    level: str
    version: str
    since: int
    """Microseconds since the epoch."""


Standards = Callable[[str], Standard | None]
"""Namespace → its standard, None when it is not known."""


class LastViolation(Struct, frozen=True):
    time: int
    workload: str


class Readiness(Struct, frozen=True, kw_only=True):
    """The verdict on one policy in one namespace, with everything it rests on. Times: microseconds, epoch."""

    policy: str
    namespace: str
    version: str = ""
    """Pod Security: the version of the standards that the evidence is about."""
    basis: Literal["webhook", "native"] = "webhook"
    verdict: VerdictName
    condition: str
    """Name of the first condition that failed; empty for `enforce`."""
    reason: str
    """The same for people."""
    start: int
    end: int
    outcomes: Mapping[Outcome, int]
    before_start: int = 0
    violations: int = 0
    errors: int = 0
    exempted: int = 0
    not_comparable: int = 0
    open_exempted: int = 0
    k: int = 0
    n: int = 0
    bound: float = 1.0
    last_violation: LastViolation | None = None
    snapshots: tuple[str, ...] = ()

    @property
    def reviewed(self) -> int:
        return self.outcomes.get("reviewed", 0)

    @property
    def writes(self) -> int:
        """Accepted writes that concern the policy: the denominator of coverage."""
        return self.reviewed + sum(self.outcomes.get(gap, 0) for gap in GAPS)


class Gap(Struct, frozen=True):
    """A time in which the log says nothing at all. Microseconds."""

    start: int
    end: int


class Report(Struct, frozen=True, kw_only=True):
    rows: tuple[Readiness, ...]
    policies: tuple[str, ...] = ()
    """All that were judged, also those that no write in the log concerns."""
    start: int
    end: int
    gaps: tuple[Gap, ...] = ()
    unknown_sets: Mapping[str, int] = {}
    """Set digests in the log that no manifest explains → reviews under them."""
    cut: int = 0


class _Evidence:
    """What reviews of one policy in one namespace (and version) have shown."""

    __slots__ = ("counts", "exempt", "last", "open", "snapshots", "trials", "unresolved")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.open: set[tuple[str, str]] = set()
        """(root, part of it) whose latest reviewed write would be denied."""
        self.exempt: set[tuple[str, str]] = set()
        self.unresolved: set[str] = set()
        """Parts of violating writes whose workload is unknown: no later write can be told to repair them."""
        self.trials: dict[str, tuple[int, set[str]]] = {}
        self.last: LastViolation | None = None
        self.snapshots: set[str] = set()

    def add(self, time: int, fact: Fact, found: _Found) -> None:
        self.counts["reviewed"] += 1
        if fact.review is not None and fact.review.snapshot:
            self.snapshots.add(fact.review.snapshot)
        if found.not_comparable:
            self.counts["not_comparable"] += 1
            return
        own, hashes = self.trials.get(fact.root, (0, set()))
        if fact.trial:
            hashes.add(fact.trial)
        elif not fact.by_controller or not own:
            own += 1
        self.trials[fact.root] = own, hashes
        self.judge(time, fact, found)

    def judge(self, time: int, fact: Fact, found: _Found) -> None:
        """Whether the workload is open from now on. Violations count also where coverage has a gap."""
        where = (fact.root, _part(fact))
        if found.violated:
            self.counts["errors" if found.error else "violations"] += 1
            self.last = LastViolation(time, fact.root)
            self.exempt.discard(where)
            (self.open.add(where) if fact.root else self.unresolved.add(where[1]))
        elif found.exempted:
            self.counts["exempted"] += 1
            self.open.discard(where)
            self.exempt.add(where)
        else:
            self.open.discard(where)
            self.exempt.discard(where)

    def forget(self, root: str | None) -> None:
        """The workload (None: the namespace) is gone."""
        for held in (self.open, self.exempt):
            held -= {where for where in held if root in (None, where[0])}
        if root is None:
            self.unresolved.clear()

    @property
    def k(self) -> int:
        return len({root for root, _ in self.open}) + len(self.unresolved)

    @property
    def n(self) -> int:
        """A roll-out writes the root, its ReplicaSet and its pods: one change, so the larger number and not the sum."""
        return sum(max(own, len(hashes)) for own, hashes in self.trials.values())


def _part(fact: Fact) -> str:
    """What of a workload a write is about: that a pod is fit says nothing of its Deployment, nor of a delete."""
    return f"{fact.resource}/{fact.subresource}{' delete' if fact.operation == 'DELETE' else ''}"


class _Found(Struct, frozen=True):
    violated: bool = False
    error: bool = False
    exempted: bool = False
    not_comparable: bool = False


class _Plan(Struct, frozen=True):
    """What a fact says of one subject, whenever it happened."""

    subject: int
    outcome: Outcome
    found: _Found = _Found()
    version: str = ""


class _Tally:
    __slots__ = ("before", "gaps", "versions")

    def __init__(self) -> None:
        self.gaps: Counter[Outcome] = Counter()
        self.before = 0
        self.versions: dict[str, _Evidence] = {}


def assess(
    facts: Facts,
    *,
    subjects: Sequence[Subject],
    sets: Iterable[SetRecord] = (),
    labels: Labels = lambda _namespace: None,
    standards: Standards = lambda _namespace: None,
    excluded: frozenset[str] = frozenset(),
    limits: Limits = DEFAULTS,
    since: int = 0,
    until: int = 0,
    now: int = 0,
) -> Report:
    """The verdicts on all subjects in all namespaces in which the log shows writes that concern them.

    `sets` explain the set digests in the log. `since`, `until`, `now`: microseconds since the epoch, 0 for the
    log's own bounds. `excluded` are the namespaces that the webhook's configuration leaves out.
    """
    return _Judge(facts, subjects, sets, labels, standards, excluded, limits, since, until, now).report()


class _Judge:
    def __init__(
        self,
        facts: Facts,
        subjects: Sequence[Subject],
        sets: Iterable[SetRecord],
        labels: Labels,
        standards: Standards,
        excluded: frozenset[str],
        limits: Limits,
        since: int,
        until: int,
        now: int,
    ) -> None:
        self.facts = facts
        self.subjects = list(subjects)
        self.positions = {
            each.digest: {policy.id: (position, policy.digest) for position, policy in enumerate(each.policies)}
            for each in sets
        }
        self.labels = labels
        self.standards = standards
        self.excluded = excluded
        self.limits = limits
        minutes = sorted(filter(None, map(_minute, facts.minutes)))
        self.start = max(since, minutes[0] if minutes else 0)
        # What was skipped is known to the minute.
        last = max(max(facts.times, default=-1) + 1, minutes[-1] if minutes else 0)
        self.end = min(until, last) if until else last
        self.now = now or self.end
        self.silences = _silences([each for each in minutes if self.start <= each <= self.end], limits.max_gap)
        self.plans: dict[int, list[_Plan]] = {}
        self.tallies: dict[tuple[int, str], _Tally] = {}
        self.inside: dict[str, list[_Tally]] = {}
        """Tallies by namespace."""
        self.namespace_starts: dict[tuple[int, str], int] = {}
        self.unknown_sets: Counter[str] = Counter()

    def report(self) -> Report:
        starts = self._starts()
        for time, fact in self.facts.rows():
            if self.start <= time < self.end:
                self._add(time, fact, starts)
        cut = self.facts.cut_rows()
        for fact in cut:
            self._add(self.end - 1, fact, starts)
        return Report(
            rows=tuple(
                row
                for key in sorted(self.tallies, key=self._order)
                for row in self._rows(key, self._start(key, starts))
            ),
            policies=tuple(sorted({subject.id for subject in self.subjects})),
            start=self.start,
            end=self.end,
            gaps=tuple(self.silences),
            unknown_sets=dict(self.unknown_sets),
            cut=len(cut),
        )

    def _order(self, key: tuple[int, str]) -> tuple[str, str]:
        return self.subjects[key[0]].id, key[1]

    def _start(self, key: tuple[int, str], starts: Sequence[int]) -> int:
        """The same for one namespace: natively, the standard in force there has to be known for the time."""
        start = self.namespace_starts.get(key)
        if start is None:
            subject = self.subjects[key[0]]
            standard = self.standards(key[1]) if subject.native and subject.level else None
            start = max(starts[key[0]], standard.since if standard is not None else 0)
            self.namespace_starts[key] = start
        return start

    def _starts(self) -> list[int]:
        """From when on the evidence on each subject counts: its first review, or after the last of another version."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for time, fact in self.facts.rows():
            if fact.review is not None and self.start <= time < self.end:
                first.setdefault(fact.review.set_digest, time)
                last[fact.review.set_digest] = time
        starts = []
        for subject in self.subjects:
            if subject.native:
                starts.append(max(self.start, subject.since))
                continue
            held = {digest for digest, policies in self.positions.items() if self._holds(policies, subject)}
            installed = min((first[digest] for digest in held & first.keys()), default=self.start)
            changed = max((last[each] + 1 for each in (self.positions.keys() - held) & last.keys()), default=0)
            starts.append(max(self.start, installed, changed))
        return starts

    @staticmethod
    def _holds(policies: Mapping[str, tuple[int, str]], subject: Subject) -> bool:
        return policies.get(subject.id, (0, None))[1] == subject.digest

    def _add(self, time: int, fact: Fact, starts: Sequence[int]) -> None:
        if fact.rank == FINAL["RequestReceived"] and not fact.cut and time >= self.end - IN_FLIGHT:
            return
        plans = self.plans.get(id(fact))
        if plans is None:
            plans = self.plans[id(fact)] = [
                plan for number, subject in enumerate(self.subjects) if (plan := self._plan(number, subject, fact))
            ]
        if fact.review is not None and fact.review.set_digest not in self.positions:
            self.unknown_sets[fact.review.set_digest] += 1
        if fact.operation == "DELETE" and not (fact.rejected or fact.dry_run or fact.collection or fact.subresource):
            self._gone(fact)
        for plan in plans:
            tally = self._tally(plan.subject, fact.namespace)
            if time < self._start((plan.subject, fact.namespace), starts):
                tally.before += 1
                continue
            if plan.outcome != "reviewed":
                tally.gaps[plan.outcome] += 1
            if plan.outcome == "reviewed" or plan.found.violated:
                evidence = tally.versions.get(plan.version)
                if evidence is None:
                    evidence = tally.versions[plan.version] = _Evidence()
                if plan.outcome == "reviewed":
                    evidence.add(time, fact, plan.found)
                else:
                    evidence.judge(time, fact, plan.found)

    def _gone(self, fact: Fact) -> None:
        whole = fact.resource == "namespaces" and not fact.group
        if not whole and (fact.trial or not fact.root):
            return
        for tally in self.inside.get(fact.namespace, ()):
            for evidence in tally.versions.values():
                evidence.forget(None if whole else fact.root)

    def _tally(self, subject: int, namespace: str) -> _Tally:
        tally = self.tallies.get((subject, namespace))
        if tally is None:
            tally = self.tallies[subject, namespace] = _Tally()
            self.inside.setdefault(namespace, []).append(tally)
        return tally

    def _plan(self, number: int, subject: Subject, fact: Fact) -> _Plan | None:
        return self._native(number, subject, fact) if subject.native else self._own(number, subject, fact)

    def _own(self, number: int, subject: Subject, fact: Fact) -> _Plan | None:
        """By our annotations; a failure that the API server itself recorded counts as well."""
        review = fact.review
        version = review.standard.partition(":")[2] if review is not None and subject.level else ""
        denied, error = _failed(subject, fact, version)
        if denied and subject.level and not version:
            version = fact.native.violates.partition(":")[2]
        known = self.positions.get(review.set_digest) if review is not None else None
        position, digest = (known or {}).get(subject.id, (0, ""))
        found = _Found(violated=denied, error=error)
        outcome: Outcome = "reviewed"
        if review is None or known is None or review.incomplete or digest != subject.digest:
            if not denied and not may_concern(subject, fact, self.labels):
                return None
            outcome = self._unreviewed(fact, known is not None)
        else:
            verdict = _reviewed(subject, review, position)
            if verdict is None and not denied:
                return None
            outcome, found = verdict or (outcome, found)
            if denied:
                found = _Found(violated=True, error=found.error or error)
        if fact.collection:
            # One annotation for many objects: what was found in the others is lost.
            outcome = "incomplete"
        return _Plan(number, _first(fact, outcome), _Found() if fact.rejected or fact.dry_run else found, version)

    def _unreviewed(self, fact: Fact, known: bool) -> Outcome:
        """Why there is no complete review by the policy as it is now. (Reviews by a former version of it all lie
        before the evidence begins.)"""
        if fact.unreadable_review or (known and fact.review is not None and fact.review.incomplete):
            return "incomplete"
        if fact.review is not None and not known:
            return "unknown_set"
        return "exempt_namespace" if fact.namespace in self.excluded else "not_sent"

    def _native(self, number: int, subject: Subject, fact: Fact) -> _Plan | None:
        """By the API server's annotations alone. That there is none is a pass only where the engine provably ran."""
        native = fact.native
        if subject.level:
            return self._pod_security(number, subject, fact)
        denied, error = _failed(subject, fact, "")
        if not denied and not may_concern(subject, fact, self.labels):
            return None
        outcome: Outcome = "reviewed"
        if not denied and (subject.unproven or native.error or self._may_hide(fact)):
            outcome = "unknown"
        found = _Found() if fact.rejected or fact.dry_run else _Found(violated=denied, error=error)
        return _Plan(number, _first(fact, outcome), found)

    def _may_hide(self, fact: Fact) -> bool:
        """Whether the list of failures may be cut: up to Kubernetes 1.36 it holds the first one only."""
        listed = fact.native.listed
        minors = self.facts.server_minors
        return listed >= VALIDATION_FAILURES_MAX or (listed == 1 and (not minors or min(minors) < 37))

    def _pod_security(self, number: int, subject: Subject, fact: Fact) -> _Plan | None:
        native = fact.native
        denied, _ = _failed(subject, fact, "")
        version = native.violates.partition(":")[2] if denied else ""
        outcome: Outcome = "reviewed"
        if not denied:
            if native.exempt or subject.match is None or not may_concern(subject, fact, self.labels):
                return None
            pod = fact.resource == "pods"
            if pod and not native.enforced and fact.operation == "UPDATE" and not native.error:
                return None  # containers and images unchanged: Pod Security did not look, and would not when enforced
            passed = self._passed(subject, fact)
            outcome, version = ("unknown", "") if passed is None else ("reviewed", passed)
        found = _Found() if fact.rejected or fact.dry_run else _Found(violated=denied)
        return _Plan(number, _first(fact, outcome), found, version)

    def _passed(self, subject: Subject, fact: Fact) -> str | None:
        """The version at which an accepted write without violations provably met the level; None for no proof.
        Who passes restricted passes baseline."""
        native = fact.native
        enforced, _, version = native.enforced.partition(":")
        if enforced in (subject.level, "restricted"):
            return version
        standard = self.standards(fact.namespace)
        if standard is None or native.violates or native.error or standard.level not in (subject.level, "restricted"):
            return None
        return standard.version if native.enforced or fact.resource != "pods" else None

    def _rows(self, key: tuple[int, str], start: int) -> Iterable[Readiness]:
        subject, tally = self.subjects[key[0]], self.tallies[key]
        if subject.native and not tally.before and not any(tally.gaps[gap] for gap in GAPS) and not tally.versions:
            return  # only refused writes and dry runs: natively that is no question anybody asked
        versions = {version: evidence for version, evidence in tally.versions.items() if version or not subject.level}
        if not versions:
            versions = {"": tally.versions.get("", _Evidence())}
        for version, evidence in sorted(versions.items()):
            yield self._row(subject, key[1], version, tally, evidence, start)

    def _unproven(self, subject: Subject, namespace: str) -> str:
        if not (subject.native and subject.level):
            return subject.unproven
        standard = self.standards(namespace)
        if standard is None:
            return "the namespace's audit level is not known (--snapshot with its labels shows it)"
        if standard.level not in (subject.level, "restricted"):
            return f"the namespace is audited at {standard.level}, which says nothing of {subject.level}"
        return ""

    def _row(
        self, subject: Subject, namespace: str, version: str, tally: _Tally, evidence: _Evidence, start: int
    ) -> Readiness:
        counts = evidence.counts
        outcomes: dict[Outcome, int] = {"reviewed": counts["reviewed"], **tally.gaps}
        row = Readiness(
            policy=subject.id,
            namespace=namespace,
            version=version,
            basis="native" if subject.native else "webhook",
            verdict="enforce",
            condition="",
            reason="",
            start=min(start, self.end),
            end=self.end,
            outcomes=outcomes,
            before_start=tally.before,
            violations=counts["violations"],
            errors=counts["errors"],
            exempted=counts["exempted"],
            not_comparable=counts["not_comparable"],
            open_exempted=len({root for root, _ in evidence.exempt - evidence.open}),
            k=evidence.k,
            n=evidence.n,
            bound=upper_bound(evidence.k, evidence.n),
            last_violation=evidence.last,
            snapshots=tuple(sorted(evidence.snapshots)),
        )
        verdict, condition, reason = judge(
            row, self.limits, unproven=self._unproven(subject, namespace), silences=self.silences, now=self.now
        )
        return _with(row, verdict, condition, reason)


def _with(row: Readiness, verdict: VerdictName, condition: str, reason: str) -> Readiness:
    return replace(row, verdict=verdict, condition=condition, reason=reason)


def judge(
    row: Readiness, limits: Limits, *, unproven: str = "", silences: Sequence[Gap] = (), now: int = 0
) -> tuple[VerdictName, str, str]:
    """(verdict, first failed condition, the same in words) of a row whose numbers are complete."""
    if row.k:
        last = row.last_violation
        seen = f", last seen {_day(last.time)}: {last.workload or 'a workload without a name'}" if last else ""
        return "fix first", "open_violations", f"{_count(row.k, 'workload')} would be denied as last written{seen}"
    if row.open_exempted:
        return (
            "fix first",
            "open_exempted",
            f"{_count(row.open_exempted, 'exempted workload')} would be denied: enforcement knows no exemptions",
        )
    reviewed, writes = row.reviewed, row.writes
    gaps = ", ".join(f"{row.outcomes[gap]} {gap}" for gap in GAPS if row.outcomes.get(gap))
    unknown = row.outcomes.get("unknown", 0)
    if unproven or (unknown and reviewed < limits.min_coverage * writes):
        why = unproven or "the log does not show that the API server evaluated them"
        return "not enough evidence", "not_proven", f"{unknown} of {writes} writes not proven to pass: {why}"
    if writes and reviewed < limits.min_coverage * writes:
        return "blind", "coverage", f"{reviewed} of {writes} writes reviewed ({gaps})"
    if row.not_comparable:
        return "blind", "not_comparable", f"{row.not_comparable} of {reviewed} reviews gave no comparable verdict"
    for gap in silences:
        if gap.end > row.start:
            return "blind", "log_gap", f"the log says nothing from {_moment(gap.start)} to {_moment(gap.end)}"
    if now - row.end > limits.max_age:
        return "blind", "log_age", f"the log ends {_moment(row.end)}, {(now - row.end) / DAY:.0f} days ago"
    if not reviewed:
        return "not enough evidence", "no_reviews", "0 of 0 writes reviewed: nothing that concerns it was written"
    if row.end - row.start < limits.min_window:
        return (
            "not enough evidence",
            "window",
            f"{(row.end - row.start) / DAY:.1f} of {limits.min_window / DAY:g} days seen, since {_moment(row.start)}",
        )
    if row.n < limits.min_writes:
        return "not enough evidence", "sample", f"{row.n} of {limits.min_writes} independent changes seen"
    return "enforce", "", f"0 of {row.n} changes open; at most {row.bound:.1%} of such changes would be denied"


def _failed(subject: Subject, fact: Fact, version: str) -> tuple[bool, bool]:
    """(whether the API server itself recorded a failure, whether that is an evaluation error)."""
    native = fact.native
    if not subject.level:
        return subject.id in native.failed, subject.id in native.errors
    level, _, at = native.violates.partition(":")
    # What violates baseline violates restricted too. Evidence holds for the version it was given at.
    return bool(level) and level in (subject.level, "baseline") and version in ("", at), False


def _reviewed(subject: Subject, review: Review, position: int) -> tuple[Outcome, _Found] | None:
    """What a complete review by this policy says; None when the policy had nothing to do with the write."""
    if subject.id in review.unreviewed:
        return "incomplete", _Found()
    if subject.id in review.not_comparable:
        return "reviewed", _Found(not_comparable=True)
    if not review.evaluated >> position & 1:
        return None
    violated, error = subject.id in review.violated, subject.id in review.errors
    return "reviewed", _Found(
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


def _minute(text: bytes) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text.decode("ascii") + ":00+00:00")
    except (ValueError, UnicodeDecodeError):
        return 0
    return int(moment.timestamp()) * SECOND


def _silences(minutes: Sequence[int], longest: int) -> list[Gap]:
    return [Gap(one + 60 * SECOND, two) for one, two in pairwise(minutes) if two - one - 60 * SECOND > longest]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _moment(time: int) -> str:
    return datetime.datetime.fromtimestamp(time / SECOND, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(time: int) -> str:
    return _moment(time)[:10]
