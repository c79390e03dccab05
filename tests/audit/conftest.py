"""Audit logs of the tests' own making, written by our codec in the API server's field order, and their reading."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from webhook.annotations import WEBHOOK_NAME, encode
from webhook.audit.facts import Collector, Facts
from webhook.audit.native import Cluster
from webhook.audit.outcome import Outcomes
from webhook.audit.readiness import Report, assess
from webhook.audit.source import Lines, Unreadable
from webhook.audit.subject import interest_of, subjects_of
from webhook.audit.verdict import DEFAULTS, Limits, Readiness
from webhook.policy import Finding, Match, Metadata, Outcome, PolicyRecord, Rule, SetRecord
from webhook.state import EMPTY, State

START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
WORKLOADS = Match(
    rules=(
        Rule(operations=("CREATE", "UPDATE"), groups=("apps",), versions=("v1",), resources=("deployments",)),
        Rule(operations=("CREATE", "UPDATE"), groups=("",), versions=("v1",), resources=("pods",)),
    )
)


def record(
    *names: str, digest: str = "set-1", versions: dict[str, str] | None = None, match: Match = WORKLOADS
) -> SetRecord:
    """A set of policies on Deployments and pods; `versions` gives digests of single policies."""
    return SetRecord(
        digest=digest,
        policies=tuple(
            PolicyRecord(id=name, digest=(versions or {}).get(name, "v1"), meta=Metadata(title=name), match=match)
            for name in names
        ),
    )


class Log:
    """Lines of an audit log. Time goes on by `step` with each write."""

    def __init__(self, sets: SetRecord, *, step: datetime.timedelta = datetime.timedelta(hours=6)) -> None:
        self.sets = sets
        self.step = step
        self.now = START
        self.lines: list[bytes] = []
        self.number = 0

    def outcome(self, *violated: str, ran: Iterable[str] | None = None, **more: Any) -> Outcome:
        """A review in which `ran` (default: all) were evaluated and `violated` have a finding."""
        ids = [policy.id for policy in self.sets.policies]
        evaluated = sum(1 << ids.index(policy) for policy in (ids if ran is None else ran))
        findings = tuple(Finding(policy=policy, message=f"SECRET-MESSAGE of {policy}") for policy in violated)
        more = {"set_digest": self.sets.digest, **more}
        return Outcome(evaluated=evaluated, findings=findings, **more)

    def write(
        self,
        namespace: str = "shop",
        name: str | None = "web",
        *,
        resource: str = "deployments",
        group: str = "apps",
        verb: str = "create",
        code: int = 201,
        outcome: Outcome | None = None,
        dry_run: bool = False,
        annotations: dict[str, str] | None = None,
        stage: str = "ResponseComplete",
        subresource: str = "",
        webhook: str = WEBHOOK_NAME,
        user: str = "alice",
        audit_id: str = "",
        body: Any = None,
        at: datetime.datetime | None = None,
        operation: str = "",
    ) -> bytes:
        self.number += 1
        if at is None:
            at = self.now
            self.now += self.step
        operation = operation or {"create": "CREATE", "delete": "DELETE"}.get(verb, "UPDATE")
        notes = {"authorization.k8s.io/decision": "allow", **(annotations or {})}
        if outcome is not None:
            encoded = encode(outcome, operation=operation, dry_run=dry_run)
            notes |= {f"{webhook}/{key}": value for key, value in encoded.items()}
        time = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ref = {
            "resource": resource,
            "namespace": namespace,
            "name": name,
            "apiGroup": group,
            "apiVersion": "v1",
            "subresource": subresource,
        }
        event = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata" if body is None else "Request",
            "auditID": audit_id or f"id-{self.number}",
            "stage": stage,
            "requestURI": f"/apis/{group}/v1/namespaces/{namespace}/{resource}{'?dryRun=All' if dry_run else ''}",
            "verb": verb,
            "user": {"username": user, "extra": {"token": ["SECRET-EXTRA"]}},
            "sourceIPs": ["192.0.2.7"],
            "userAgent": "kubectl/v1.37.2",
            "objectRef": {key: value for key, value in ref.items() if value},
            **({} if stage == "RequestReceived" else {"responseStatus": {"metadata": {}, "code": code}}),
            **({} if body is None else {"requestObject": body}),
            "requestReceivedTimestamp": time,
            "stageTimestamp": time,
            "annotations": notes,
        }
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        self.lines.append(line)
        return line

    def pod(self, owner: str, outcome: Outcome | None = None, namespace: str = "shop", **more: Any) -> bytes:
        """What the ReplicaSet controller writes: a create without a name."""
        return self.write(namespace, None, resource="pods", group="", outcome=outcome, **more)


def read(
    lines: Sequence[bytes], sets: Sequence[SetRecord] = (), *, names: Sequence[str] = (WEBHOOK_NAME,)
) -> tuple[Facts, Unreadable]:
    unreadable = Unreadable()
    subjects = [subject for each in sets for subject in subjects_of(each)]
    collector = Collector(
        interest=interest_of(subjects),
        is_ours=lambda name: name in names or name.endswith(tuple(f".{each}" for each in names)),
        unreadable=unreadable,
    )
    collector.add(Lines("test.log", 0, list(lines)))
    return collector.facts, unreadable


def report(
    lines: Sequence[bytes],
    *sets: SetRecord,
    state: State = EMPTY,
    limits: Limits = DEFAULTS,
    native: bool = False,
    excluded: frozenset[str] = frozenset(),
    **more: Any,
) -> Report:
    """The report on the last of `sets`, or (`native`) on what the API server itself recorded."""
    facts, _ = read(lines, sets)
    cluster = Cluster(facts, state)
    own = [] if native else subjects_of(sets[-1])
    known = frozenset(each.id for each in own)
    return assess(
        facts,
        subjects=[*own, *cluster.subjects(known=known, pod_security=native)],
        outcomes=Outcomes(
            sets=sets,
            labels=cluster.labels,
            standards=cluster.standard,
            excluded=excluded,
            minors=frozenset(facts.server_minors),
        ),
        limits=limits,
        **more,
    )


def row(found: Report, policy: str, namespace: str = "shop") -> Readiness:
    (only,) = [each for each in found.rows if (each.policy, each.namespace) == (policy, namespace)]
    return only


@pytest.fixture(scope="session")
def make_record() -> Callable[..., SetRecord]:
    return record


@pytest.fixture(scope="session")
def make_log() -> Callable[..., Log]:
    return Log


@pytest.fixture(scope="session")
def reading() -> Callable[..., tuple[Facts, Unreadable]]:
    return read


@pytest.fixture(scope="session")
def reporting() -> Callable[..., Report]:
    return report


@pytest.fixture(scope="session")
def row_of() -> Callable[..., Readiness]:
    return row


@pytest.fixture(scope="session")
def raw(corpora: Path) -> Path:
    """Native logs: `kube-1.37.jsonl` is what a real API server wrote."""
    folder = corpora / "audit" / "raw"
    if not (folder / "kube-1.37.jsonl").is_file():
        pytest.fail(f"{folder}/kube-1.37.jsonl is missing: the audit samples cannot be read")
    return folder
