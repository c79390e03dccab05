"""`readiness` and the facts table are one reading: what the one counts in Python, the other counts in SQL."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Fact, Ours
from webhook.audit.facts import Collector, Facts
from webhook.audit.native import Cluster
from webhook.audit.outcome import Outcomes, whole
from webhook.audit.readiness import assess
from webhook.audit.source import Unreadable, read
from webhook.audit.table.engine import open_facts
from webhook.audit.table.mapper import WRITES
from webhook.audit.table.store import Source, update
from webhook.audit.verdict import Limits
from webhook.policy import Exempted, Finding, Outcome
from webhook.state import EMPTY

Any_ = Callable[..., Any]
FAILED_OPEN = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}
LOOSE = Limits(min_window=0, min_writes=1)


@contextmanager
def both(logs: Sequence[str], names: tuple[str, ...], tmp_path: Path) -> Iterator[tuple[Facts, Any]]:
    """The two readings of the same logs."""
    collector = Collector(interest=WRITES, is_ours=Ours(names), unreadable=Unreadable())
    for found in read(logs, Unreadable(), skip_reads=True):
        collector.add(found)
    update(tmp_path / "facts", logs, Source(Ours(names)))
    with open_facts(tmp_path / "facts") as connection:
        yield collector.facts, connection


def of(time: int | None, fact: Fact) -> tuple[Any, ...]:
    review = fact.review
    return (
        time,
        *(fact.operation, fact.group, fact.version, fact.resource, fact.subresource, fact.namespace, fact.root),
        *(fact.trial, fact.rejected, fact.dry_run, fact.by_controller, whole(fact)),
        *((review.set_digest, f"{review.evaluated:x}", review.snapshot) if review is not None else ("", "", "")),
        fact.native.enforced,
    )


SAME = """
    SELECT epoch_us(time), operation, "group", version, resource, subresource, namespace,
        if(root_kind = '', '', root_kind || '/' || root_name), trial, rejected, dry_run, by_controller, result,
        set_digest, evaluated, snapshot, enforced
    FROM writes
"""


def assert_same(facts: Facts, connection: Any) -> None:
    expected = Counter(of(time, fact) for time, fact in facts.rows())
    expected.update(of(None, fact) for fact in facts.cut_rows())
    assert Counter(connection.execute(SAME).fetchall()) == expected
    policies: Counter[tuple[str, ...]] = Counter()
    for _, fact in facts.rows():
        policies.update(
            ("native", policy, "error" if policy in fact.native.errors else "violation")
            for policy in fact.native.failed
        )
        if fact.native.violates:
            policies["native", f"pod-security-{fact.native.violates.partition(':')[0]}", "violation"] += 1
    found = connection.execute(
        "SELECT 'native', policy, result FROM findings WHERE source IN ('vap', 'kyverno') OR (source = 'pod-security' "
        "AND result = 'violation')"
    ).fetchall()
    assert Counter(found) == policies


@pytest.mark.parametrize("names", [("check.example.dev",), (WEBHOOK_NAME,)], ids=str)
def test_the_same_writes_on_what_a_real_api_server_wrote(names: tuple[str, ...], corpora: Path, tmp_path: Path) -> None:
    with both([str(corpora / "audit" / "raw" / "kube-1.37.jsonl")], names, tmp_path) as (facts, connection):
        assert_same(facts, connection)
        assert connection.execute("SELECT count(*) > 700 FROM writes").fetchone() == (True,)


def test_the_same_writes_on_what_openshift_wrote(corpora: Path, tmp_path: Path) -> None:
    logs = sorted(map(str, (corpora / "audit" / "raw").glob("openshift*.jsonl")))
    with both(logs, (WEBHOOK_NAME,), tmp_path) as (facts, connection):
        assert_same(facts, connection)


def test_readiness_by_the_api_servers_own_engines(corpora: Path, tmp_path: Path) -> None:
    with both([str(corpora / "audit" / "raw" / "kube-1.37.jsonl")], (WEBHOOK_NAME,), tmp_path) as (facts, connection):
        cluster = Cluster(facts, EMPTY)
        subjects = cluster.subjects(known=frozenset(), pod_security=False)
        report = assess(facts, subjects=subjects, outcomes=Outcomes(minors=frozenset({37})), limits=LOOSE)
        judged = {
            (row.policy, row.namespace): (row.violations, row.errors, row.reviewed, row.outcomes.get("rejected", 0))
            for row in report.rows
        }
        counted = connection.execute("""
            SELECT policy, namespace, count(*) FILTER (result = 'violation' AND NOT rejected AND NOT dry_run),
                count(*) FILTER (result = 'error' AND NOT rejected AND NOT dry_run),
                count(*) FILTER (NOT rejected AND NOT dry_run), count(*) FILTER (rejected AND NOT dry_run)
            FROM findings WHERE source = 'vap' GROUP BY ALL
        """).fetchall()
    # Policies that only ever refused are no question to `readiness`.
    table = {(policy, namespace): tuple(rest) for policy, namespace, *rest in counted if rest[2]}
    assert {key: value for key, value in judged.items() if value[2]} == table
    assert len(table) == 2


def test_readiness_by_our_reviews(make_log: Any_, make_record: Any_, reporting: Any_, tmp_path: Path) -> None:
    record = make_record("p", "q")
    log = make_log(record)
    random_ = random.Random(11)  # noqa: S311
    log.write(name="first", outcome=log.outcome())
    for number in range(300):
        name, namespace = f"app-{random_.randrange(20)}", random_.choice(("shop", "bank"))
        finding = Finding(policy="p", message="no such key", error=True)
        more: dict[str, Any] = random_.choice(
            (
                {"outcome": log.outcome()},
                {"outcome": log.outcome("p")},
                {"outcome": log.outcome("p", "q")},
                {"outcome": Outcome(set_digest="set-1", evaluated=3, findings=(finding,))},
                {"outcome": log.outcome("p", exempted=(Exempted(policy="q", exemption="e-1"),))},
                {"outcome": log.outcome(ran=["q"], not_comparable=(("p", "no snapshot"),))},
                {"outcome": log.outcome(ran=["q"], internal_errors=(("p", "KeyError"),))},
                {"outcome": log.outcome(ran=["p"], incomplete="deadline", skipped=("q",))},
                {"outcome": Outcome(set_digest="set-1", incomplete="size")},
                {"outcome": log.outcome("p"), "code": 403},
                {"outcome": log.outcome("p"), "dry_run": True},
                {"annotations": FAILED_OPEN},
                {"stage": "RequestReceived"},
                {},
            )
        )
        log.write(namespace, name, audit_id=f"w-{number}", **more)
    log.write(name="last", outcome=log.outcome())
    path = tmp_path / "audit.log"
    path.write_bytes(b"\n".join([*log.lines, *random_.sample(log.lines, 100)]) + b"\n")
    report = reporting(log.lines, record, limits=LOOSE)
    judged = {
        (row.policy, row.namespace): Counter(row.outcomes)
        + Counter(
            violations=row.violations,
            errors=row.errors,
            exempted=row.exempted,
            not_comparable=row.not_comparable,
        )
        for row in report.rows
    }
    with both([str(path)], (WEBHOOK_NAME,), tmp_path) as (facts, connection):
        assert_same(facts, connection)
        table: dict[tuple[str, str], Counter[str]] = {}
        for position, policy in enumerate(("p", "q")):
            rows = connection.execute(
                """
                SELECT writes.namespace, CASE writes.result
                    WHEN 'reviewed' THEN if(found.result = 'unreviewed', 'incomplete', 'reviewed')
                    WHEN 'unknown' THEN 'not_sent' ELSE writes.result END AS outcome,
                    if(writes.result = 'reviewed', found.result, NULL) AS finding, count(*)
                FROM writes LEFT JOIN findings AS found ON found.time = writes.time
                    AND found.request = writes.request AND found.policy = $policy AND found.source = 'wouldblock'
                WHERE writes.result <> 'reviewed' OR found.policy IS NOT NULL
                    OR ('0x' || writes.evaluated)::UBIGINT >> $position & 1 = 1
                GROUP BY ALL
                """,
                {"policy": policy, "position": position},
            ).fetchall()
            for namespace, outcome, finding, count in rows:
                cell = table.setdefault((policy, namespace), Counter())
                cell[outcome] += count
                name = {"violation": "violations", "error": "errors"}.get(finding, finding)
                if name in ("violations", "errors", "exempted", "not_comparable"):
                    cell[name] += count
    assert judged == table


def test_readiness_of_pod_security_by_itself(corpora: Path, tmp_path: Path) -> None:
    with both([str(corpora / "audit" / "raw" / "kube-1.37.jsonl")], (WEBHOOK_NAME,), tmp_path) as (facts, connection):
        subjects = Cluster(facts, EMPTY).subjects(known=frozenset(), pod_security=True)
        report = assess(facts, subjects=subjects, outcomes=Outcomes(minors=frozenset({37})), limits=LOOSE)
        judged: Counter[tuple[str, str]] = Counter()
        for row in report.rows:
            if row.violations and row.policy.startswith("pod-security-"):
                judged[row.policy, row.namespace] += row.violations
        # What violates baseline violates restricted as well.
        counted = connection.execute("""
            SELECT level, namespace, count(*) FROM findings
            JOIN (VALUES ('pod-security-baseline', 'pod-security-baseline'),
                ('pod-security-baseline', 'pod-security-restricted'),
                ('pod-security-restricted', 'pod-security-restricted')) AS implied (policy, level) USING (policy)
            WHERE source = 'pod-security' AND result = 'violation' AND NOT rejected AND NOT dry_run GROUP BY ALL
        """).fetchall()
    assert judged == {(level, namespace): count for level, namespace, count in counted}
    assert judged
