"""Facts → verdicts: may this policy be enforced in this namespace?

Every figure has its numerator, its denominator and its window, and each verdict names the first condition that
failed. Nothing that was not seen counts as passed. Knows facts and subjects; no files, no annotations, no output.

The definitions, in short. A write concerns a policy when the webhook evaluated it, or may have to (rules and
namespaces match). Accepted writes that were not a dry run are *reviewed*, or a gap: `failed_open`, `incomplete`,
`truncated`, `not_sent`, `unknown_set`, `unknown`. Coverage is reviewed ÷ (reviewed + gaps). A workload is *open* when
its latest reviewed write would be denied and it has not been deleted since (at level Metadata the log cannot tell a
delete from one that was a dry run by its body). Once the workload itself is written again and passes, ReplicaSets and
pods of its old template that still violate are *superseded*: shown apart, not open. `n` counts changes of
templates, not writes: five hundred replicas are one.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from webhook.audit.bound import upper_bound
from webhook.audit.events import FINAL
from webhook.audit.fact import Fact
from webhook.audit.facts import Facts
from webhook.audit.outcome import Outcomes, Plan
from webhook.audit.subject import Subject
from webhook.audit.tally import Evidence, Tally
from webhook.audit.verdict import DEFAULTS, GAPS, SECOND, Gap, Limits, Outcome, Readiness, judge

IN_FLIGHT = 120 * SECOND
"""A request whose end is not in the log is under way when it began this close to the log's end (to the minute; the API
server ends requests after one)."""


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


def assess(
    facts: Facts,
    *,
    subjects: Sequence[Subject],
    outcomes: Outcomes,
    limits: Limits = DEFAULTS,
    since: int = 0,
    until: int = 0,
    now: int = 0,
) -> Report:
    """The verdicts on all subjects in all namespaces in which the log shows writes that concern them.

    `since`, `until`, `now`: microseconds since the epoch, 0 for the log's own bounds.
    """
    return _Assessment(facts, subjects, outcomes, limits, since, until, now).report()


class _Assessment:
    def __init__(
        self,
        facts: Facts,
        subjects: Sequence[Subject],
        outcomes: Outcomes,
        limits: Limits,
        since: int,
        until: int,
        now: int,
    ) -> None:
        self.facts = facts
        self.subjects = list(subjects)
        self.outcomes = outcomes
        self.limits = limits
        minutes = sorted(filter(None, map(_minute, facts.minutes)))
        self.start = max(since, minutes[0] if minutes else 0)
        # What was skipped is known to the minute.
        last = max(max(facts.times, default=-1) + 1, minutes[-1] if minutes else 0)
        self.end = min(until, last) if until else last
        self.now = now or self.end
        self.silences = _silences([each for each in minutes if self.start <= each <= self.end], limits.max_gap)
        self.plans: dict[int, list[tuple[int, Plan]]] = {}
        """What each fact says of which subjects, by the fact's identity."""
        self.tallies: dict[tuple[int, str], Tally] = {}
        """By subject and namespace."""
        self.inside: dict[str, list[Tally]] = {}
        """The same by namespace."""
        self.starts: dict[tuple[int, str], int] = {}
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
            rows=tuple(row for key in sorted(self.tallies, key=self._order) for row in self._rows(key)),
            policies=tuple(sorted({subject.id for subject in self.subjects})),
            start=self.start,
            end=self.end,
            gaps=tuple(self.silences),
            unknown_sets=dict(self.unknown_sets),
            cut=len(cut),
        )

    def _order(self, key: tuple[int, str]) -> tuple[str, str]:
        return self.subjects[key[0]].id, key[1]

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
            held, others = self.outcomes.holding(subject), self.outcomes.others(subject)
            installed = min((first[digest] for digest in held & first.keys()), default=self.start)
            changed = max((last[digest] + 1 for digest in others & last.keys()), default=0)
            starts.append(max(self.start, installed, changed))
        return starts

    def _add(self, time: int, fact: Fact, starts: Sequence[int]) -> None:
        if fact.rank == FINAL["RequestReceived"] and not fact.cut and time >= self.end - IN_FLIGHT:
            return
        plans = self.plans.get(id(fact))
        if plans is None:
            plans = self.plans[id(fact)] = [
                (number, plan)
                for number, subject in enumerate(self.subjects)
                if (plan := self.outcomes.of(subject, fact)) is not None
            ]
        if fact.review is not None and not self.outcomes.knows(fact.review.set_digest):
            self.unknown_sets[fact.review.set_digest] += 1
        if fact.operation == "DELETE" and fact.rank and not (fact.rejected or fact.dry_run or fact.cut):
            self._gone(fact)
        for number, plan in plans:
            tally = self._tally(number, fact.namespace, starts)
            if time < self.starts[number, fact.namespace]:
                tally.before += 1
                continue
            if plan.outcome != "reviewed":
                tally.gaps[plan.outcome] += 1
            if plan.outcome == "reviewed" or plan.found.violated:
                evidence = tally.versions.get(plan.version)
                if evidence is None:
                    evidence = tally.versions[plan.version] = Evidence()
                if plan.outcome == "reviewed":
                    evidence.add(time, fact, plan.found)
                else:
                    evidence.judge(time, fact, plan.found)

    def _gone(self, fact: Fact) -> None:
        whole = fact.resource == "namespaces" and not fact.group
        if fact.collection or fact.subresource or (not whole and not fact.root):
            return
        if fact.trial and not whole:
            # A pod of many tells nothing of the others; a ReplicaSet takes all of its own with it.
            if fact.resource == "replicasets":
                for tally in self.inside.get(fact.namespace, ()):
                    for evidence in tally.versions.values():
                        evidence.drained(fact.root, fact.trial)
            return
        for tally in self.inside.get(fact.namespace, ()):
            for evidence in tally.versions.values():
                evidence.forget(None if whole else fact.root)

    def _tally(self, number: int, namespace: str, starts: Sequence[int]) -> Tally:
        tally = self.tallies.get((number, namespace))
        if tally is None:
            tally = self.tallies[number, namespace] = Tally()
            since = self.outcomes.since(self.subjects[number], namespace)
            self.starts[number, namespace] = max(starts[number], since)
            self.inside.setdefault(namespace, []).append(tally)
        return tally

    def _rows(self, key: tuple[int, str]) -> Iterable[Readiness]:
        subject, tally = self.subjects[key[0]], self.tallies[key]
        if subject.native and not tally.before and not any(tally.gaps[gap] for gap in GAPS) and not tally.versions:
            return  # only refused writes and dry runs: natively that is no question anybody asked
        versions = {version: evidence for version, evidence in tally.versions.items() if version or not subject.level}
        if not versions:
            versions = {"": tally.versions.get("", Evidence())}
        for version, evidence in sorted(versions.items()):
            yield self._row(subject, key[1], version, tally, evidence, self.starts[key])

    def _row(
        self, subject: Subject, namespace: str, version: str, tally: Tally, evidence: Evidence, start: int
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
            open_exempted=len({root for root, _ in evidence.exempt - evidence.open.keys()}),
            k=evidence.k,
            superseded=evidence.superseded(),
            draining=evidence.superseded(since=self.end - self.limits.min_quiet) if self.limits.min_quiet else 0,
            n=evidence.n,
            bound=upper_bound(evidence.k, evidence.n),
            last_violation=evidence.last,
            snapshots=tuple(sorted(evidence.snapshots)),
        )
        verdict, condition, reason = judge(
            row, self.limits, unproven=self.outcomes.unproven(subject, namespace), silences=self.silences, now=self.now
        )
        return replace(row, verdict=verdict, condition=condition, reason=reason)


def _minute(text: bytes) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text.decode("ascii") + ":00+00:00")
    except (ValueError, UnicodeDecodeError):
        return 0
    return int(moment.timestamp()) * SECOND


def _silences(minutes: Sequence[int], longest: int) -> list[Gap]:
    return [Gap(one + 60 * SECOND, two) for one, two in pairwise(minutes) if two - one - 60 * SECOND > longest]
