"""Flags and reading that `readiness` and `promote` share: logs in, a report out."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from webhook.annotations import WEBHOOK_NAME
from webhook.audit import source
from webhook.audit.events import microseconds
from webhook.audit.fact import Ours
from webhook.audit.facts import Collector, Facts
from webhook.audit.native import Cluster, match_of, stored
from webhook.audit.outcome import Outcomes
from webhook.audit.readiness import Report, assess
from webhook.audit.reading import Interest
from webhook.audit.render import moment as shown
from webhook.audit.render import safe
from webhook.audit.source import Unreadable, parallel
from webhook.audit.subject import Subject, interest_of, subjects_of
from webhook.audit.verdict import SECOND, Limits, Readiness
from webhook.cli.progress import Progress
from webhook.cli.unread import err, nothing_found, warn_of_unreadable
from webhook.errors import UserError
from webhook.policy import SetRecord
from webhook.state import EMPTY, read_snapshot


class Evidence(msgspec.Struct, frozen=True):
    """What the logs say, with what of them could not be read."""

    report: Report
    facts: Facts
    unreadable: Unreadable
    native: bool
    """Whether nothing of ours was in the log, so that only the API server's own annotations speak."""
    digests: Mapping[str, str]
    """Policy → digest of the version that is judged; empty natively."""

    def enforced(self, namespace: str) -> str:
        """The strictest Pod Security level that the log shows to be enforced there already; empty for none."""
        levels = {fact.native.enforced.partition(":")[0] for fact in self.facts.table if fact.namespace == namespace}
        return next((level for level in ("restricted", "baseline") if level in levels), "")


def add_manifest_flag(group: argparse._ActionsContainer) -> None:
    """`--manifest`, for a parser or a group of one."""
    group.add_argument(
        "--manifest",
        nargs="+",
        action="extend",
        type=Path,
        metavar="FILE",
        help="what `wouldblock policies manifest` printed for the sets that served, instead of --policies",
    )


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """How the logs are to be read, and by which policies; but for the logs themselves."""
    from webhook.cli.common import add_policy_flags, add_webhook_name_flag

    add_policy_flags(parser)
    group = parser.add_argument_group("evidence")
    add_manifest_flag(group)
    group.add_argument(
        "--native",
        action="store_true",
        help="only what the API server itself recorded (default when nothing of ours is in the log)",
    )
    add_webhook_name_flag(group)
    group.add_argument("--webhook-config", type=Path, metavar="FILE", help="to know which namespaces it leaves out")
    group.add_argument("--since", metavar="TIME", help="ignore what is older: RFC 3339, or as long ago as 14d, 36h")
    group.add_argument("--until", metavar="TIME", help="ignore what is newer")
    group.add_argument("--now", metavar="TIME", help="what today is, RFC 3339 (default: the clock)")


def add_jobs_flag(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--jobs",
        type=int,
        default=parallel.jobs_here(),
        metavar="N",
        help="processes that read side by side: files, and parts of large ones (default: one a CPU, %(default)s)",
    )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those of reading, and what a verdict asks for."""
    add_reading_flags(parser)
    add_jobs_flag(parser)
    limits = Limits()
    group = parser.add_argument_group("what `enforce` asks for")
    group.add_argument(
        "--min-window", type=span, default=limits.min_window, metavar="TIME", help="time seen (default 14d)"
    )
    group.add_argument(
        "--min-writes",
        type=int,
        default=limits.min_writes,
        metavar="N",
        help="independent changes seen; the replicas of one template are one (default %(default)s)",
    )
    group.add_argument(
        "--min-coverage",
        type=float,
        default=limits.min_coverage,
        metavar="SHARE",
        help="share of the writes that was reviewed (default %(default)s)",
    )
    group.add_argument(
        "--max-gap", type=span, default=limits.max_gap, metavar="TIME", help="longest silence of the log (default 1d)"
    )
    group.add_argument(
        "--max-age", type=span, default=limits.max_age, metavar="TIME", help="how old its end may be (default 7d)"
    )
    group.add_argument(
        "--min-quiet",
        type=span,
        default=limits.min_quiet,
        metavar="TIME",
        help="how long what is left of a mended workload's old template must not have been written (default 10m)",
    )


_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND}


def span(text: str) -> int:
    """`14d`, `36h`, `90m`, `30s`, `0` → microseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is not None:
        return int(float(match[1]) * _UNITS[match[2]])
    if text == "0":
        return 0
    raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write 14d, 36h, 90m or 30s")


def moment(text: str | None, *, flag: str, now: int) -> int:
    """A time, or how long ago, → microseconds since the epoch; 0 for None. Raises `UserError`."""
    if text is None:
        return 0
    try:
        return now - span(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        return microseconds(text)
    except (ValueError, OverflowError):
        raise UserError(f"{flag} {text!r} is no time: write 2026-07-23T18:00:00Z, or 14d for as long ago") from None


class Collecting(msgspec.Struct, frozen=True):
    """What is done with each part of the logs, in whichever process."""

    interest: Interest
    ours: Ours

    def __call__(self, part: parallel.Part, progress: source.Progress) -> tuple[Facts, Unreadable]:
        unreadable = Unreadable()
        collector = Collector(interest=self.interest, is_ours=self.ours, unreadable=unreadable)
        wanted = self.interest.wants
        for found in parallel.read_part(part, unreadable, skip_reads=True, wanted=wanted, progress=progress):
            collector.add(found)
        return collector.facts, unreadable


class _Question:
    """What is asked of the logs: which policies, which state, which time."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._state = read_snapshot(args.snapshot) if args.snapshot else EMPTY
        self._records = [] if args.native else records_of(args)
        subjects = [subject for record in self._records for subject in subjects_of(record)]
        stated = [
            Subject(id=name, match=match_of(each["spec"].get("matchConstraints") or {}))
            for name, each in stored(self._state).items()
        ]
        self.work = Collecting(interest_of([*subjects, *stated]), Ours(tuple(args.webhook_name or (WEBHOOK_NAME,))))
        self.judge(Facts(), Unreadable())  # flags that are wrong are better known before hours of reading

    def judge(self, facts: Facts, unreadable: Unreadable) -> Evidence:
        """What follows from the facts, as of now."""
        args = self._args
        now = moment(args.now, flag="--now", now=0) or time.time_ns() // 1_000
        since = moment(args.since, flag="--since", now=now)
        until = moment(args.until, flag="--until", now=now)
        if not args.now:
            # A log cannot be of tomorrow: then this machine's clock is behind.
            now = max(now, max(facts.times, default=0) + 1)
        until = min(until or now, now)
        native = args.native or not facts.own_seen
        target = None if native else _target(self._records, facts)
        own = subjects_of(target) if target is not None else []
        cluster = Cluster(facts, self._state)
        known = frozenset(each.id for each in own)
        report = assess(
            facts,
            subjects=[*own, *cluster.subjects(known=known, pod_security=not any(each.level for each in own))],
            outcomes=Outcomes(
                sets=self._records,
                labels=cluster.labels,
                standards=cluster.standard,
                excluded=_excluded(args.webhook_config),
                minors=frozenset(facts.server_minors),
            ),
            limits=Limits(
                min_window=args.min_window,
                min_writes=args.min_writes,
                min_coverage=args.min_coverage,
                max_gap=args.max_gap,
                max_age=args.max_age,
                min_quiet=args.min_quiet,
            ),
            since=since,
            until=until,
            now=until,
        )
        return Evidence(report, facts, unreadable, native, {each.id: each.digest for each in own})


def collect(args: argparse.Namespace, logs: Sequence[str]) -> Evidence:
    """Reads the logs and judges. Raises `UserError` when nothing in them is an audit event."""
    question = _Question(args)
    facts, unreadable = Facts(), Unreadable()
    with Progress(logs) as progress:
        parts = parallel.parts(logs, args.jobs)
        for found, trouble in parallel.each(parts, question.work, jobs=args.jobs, progress=progress):
            facts.merge(found)
            unreadable.merge(trouble)
    if not sum(facts.counts.values()):
        raise nothing_found(logs, unreadable)
    return question.judge(facts, unreadable)


def follow(
    args: argparse.Namespace,
    logs: Sequence[str],
    *,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Evidence]:
    """What the logs say so far, then again whenever they have grown, at most every `--every`; without end."""
    question = _Question(args)
    unreadable = Unreadable()
    collector = Collector(interest=question.work.interest, is_ours=question.work.ours, unreadable=unreadable)
    due, news = clock(), True
    wanted = question.work.interest.wants
    for found in source.follow(logs, unreadable, skip_reads=True, wanted=wanted, wait=wait):
        if found is not None:
            collector.add(found)
            news = True
        elif news and clock() >= due:
            yield question.judge(collector.facts, unreadable)
            due, news = clock() + args.every / SECOND, False
    if news:
        yield question.judge(collector.facts, unreadable)


def select(evidence: Evidence, policies: Sequence[str], namespaces: Sequence[str]) -> list[Readiness]:
    """The verdicts that are asked for; empty lists ask for all, but beside our own not for native ones of which the
    log shows nothing. Raises `UserError` for policies that nobody knows."""
    rows = evidence.report.rows
    known = sorted({row.policy for row in rows} | set(evidence.report.policies))
    for policy in policies:
        if policy not in known:
            raise UserError(
                f"no policy {safe(policy)!r} in the set or the log; there are {safe(', '.join(known)) or 'none'}"
            )
    found = [
        row
        for row in rows
        if (row.policy in policies if policies else evidence.native or row.basis == "webhook" or row.reviewed)
        and (not namespaces or row.namespace in namespaces)
    ]
    seen = {(row.policy, row.namespace) for row in found}
    missing = [
        (policy, namespace) for policy in policies for namespace in namespaces if (policy, namespace) not in seen
    ]
    return found + [unseen(evidence.report, policy, namespace) for policy, namespace in missing]


def unseen(report: Report, policy: str, namespace: str) -> Readiness:
    """The verdict on what the log does not mention."""
    return Readiness(
        policy=policy,
        namespace=namespace,
        verdict="not enough evidence",
        condition="no_reviews",
        reason="0 of 0 writes reviewed: nothing that concerns it was written",
        start=report.start,
        end=report.end,
        outcomes={},
    )


def with_rows(report: Report, rows: Sequence[Readiness]) -> Report:
    return msgspec.structs.replace(report, rows=tuple(rows))


def warn_of_blind_spots(evidence: Evidence) -> None:
    """What was not seen, on stderr."""
    report, facts = evidence.report, evidence.facts
    counts = facts.counts
    err(
        f"log: {counts['events']} records of writes; skipped {counts['reads']} of reads and "
        f"{counts['other_resources']} of writes to other resources"
    )
    warn_of_unreadable(evidence.unreadable)
    if report.cut:
        err(f"blind: {report.cut} write(s) are cut off before their annotations")
    for digest, count in sorted(report.unknown_sets.items()):
        err(
            f"blind: {count} review(s) under the policy set {safe(digest)!r}, which is not known here: give --manifest "
            "with the output of `wouldblock policies manifest` of the set that served, or the flags that `serve` had"
        )
    for gap in report.gaps:
        err(f"blind: the log says nothing from {shown(gap.start)} to {shown(gap.end)}")
    changes = sorted(facts.registrations.values())
    if changes:
        err(f"note: {len(changes)} write(s) to admissionregistration.k8s.io, on which the evidence rests:")
        for change in changes[-5:]:
            what = f"{change.verb} {safe(change.resource)}/{safe(change.name)}"
            err(f"  {shown(change.time)} {what} by {safe(change.user)}")


def records_of(args: argparse.Namespace) -> list[SetRecord]:
    """The policy sets that `--manifest` or the policy flags name. Raises `UserError`."""
    if args.manifest:
        return [record for path in args.manifest for record in _manifest(path)]
    return compiled(args)


def compiled(args: argparse.Namespace) -> list[SetRecord]:
    """The set of the policy flags, compiled; broken policies are named on stderr and left out."""
    # Only here: reading a log does not need the compiler.
    from webhook.cli.common import policies_of
    from webhook.policyset import archive

    policies, _ = policies_of(args)
    for problem in policies.broken:
        print(f"{problem}\n  this policy is left out", file=sys.stderr)
    return [archive(policies)]


def _manifest(path: Path) -> list[SetRecord]:
    """One SetRecord, a JSON list of them, or one a line."""
    text = path.read_bytes()
    try:
        if text.lstrip().startswith(b"["):
            records = msgspec.json.decode(text, type=list[SetRecord])
        else:
            try:
                records = [msgspec.json.decode(text, type=SetRecord)]
            except msgspec.DecodeError:
                records = [msgspec.json.decode(line, type=SetRecord) for line in text.splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}; expected the output of `wouldblock policies manifest`") from None
    if not records:
        raise UserError(f"{path}: holds nothing; expected the output of `wouldblock policies manifest`")
    return records


def _target(records: Sequence[SetRecord], facts: Facts) -> SetRecord | None:
    """The set that is judged: of those that are known, the one that reviewed last; else the last given."""
    last: dict[str, int] = {}
    for time_, which in zip(facts.times, facts.which, strict=True):
        review = facts.table[which].review
        if review is not None:
            last[review.set_digest] = max(last.get(review.set_digest, 0), time_)
    return max(enumerate(records), key=lambda each: (last.get(each[1].digest, 0), each[0]))[1] if records else None


def _excluded(config: Path | None) -> frozenset[str]:
    """Namespaces that every entry of a ValidatingWebhookConfiguration leaves out by name."""
    if config is None:
        return frozenset()
    state = read_snapshot([config])
    excluded: list[set[str]] = []
    for stored_config in state.list("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"):
        for entry in stored_config.get("webhooks") or ():
            terms = (entry.get("namespaceSelector") or {}).get("matchExpressions") or ()
            excluded.append(
                {
                    value
                    for term in terms
                    if term.get("key") == "kubernetes.io/metadata.name" and term.get("operator") == "NotIn"
                    for value in term.get("values") or ()
                }
            )
    return frozenset(set.intersection(*excluded)) if excluded else frozenset()
