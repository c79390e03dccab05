"""The numbers that a verdict rests on, and the verdict that follows from them.

Every verdict names the first condition that failed. Knows numbers only: neither logs nor policies.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

DAY = 86_400_000_000
SECOND = 1_000_000
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
    "exempt",
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
    min_quiet: int = 10 * 60 * SECOND
    """How long what is left of an old template must not have been written: then no roll-out is under way that
    enforcement would stop."""


DEFAULTS = Limits()


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
    superseded: int = 0
    """Mended workloads of which something is left that violates as last written: ReplicaSets and pods of an old
    template. Enforcement would refuse writes to those."""
    draining: int = 0
    """Of them: where that was written just before the end of the log."""
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
    if row.draining:
        return (
            "not enough evidence",
            "draining",
            "enforcement would refuse writes to leftovers of an old template "
            f"({_count(row.draining, 'mended workload')}), "
            f"last seen less than {limits.min_quiet / SECOND / 60:g} minutes before the end of the log",
        )
    if row.end - row.start < limits.min_window:
        return (
            "not enough evidence",
            "window",
            f"{(row.end - row.start) / DAY:.1f} of {limits.min_window / DAY:g} days seen, since {_moment(row.start)}",
        )
    if row.n < limits.min_writes:
        return "not enough evidence", "sample", f"{row.n} of {limits.min_writes} independent changes seen"
    return "enforce", "", f"0 of {row.n} changes open; at most {row.bound:.1%} of such changes would be denied"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _moment(time: int) -> str:
    return datetime.datetime.fromtimestamp(time / SECOND, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(time: int) -> str:
    return _moment(time)[:10]
