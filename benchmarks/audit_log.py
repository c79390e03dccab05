"""Seeded audit logs of any size, in any format, whose figures are known because they were planted.

Most of it is what most of every log is: reads, and leases being renewed. Among that are writes that were reviewed,
violate, were never sent, failed open, were refused or were dry runs; stages and copies of them; lines that were cut,
and lines of something else.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.audit_envelopes import BINARY, CONCATENATED, ENVELOPES
from benchmarks.audit_set import POLICIES, SET
from webhook.annotations import WEBHOOK_NAME, encode
from webhook.policy import Finding, Outcome

START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
STEP = datetime.timedelta(milliseconds=5)
NAMESPACES = 40
WORKLOADS = 25
"""In each namespace."""
BATCH = 500
"""Events in one envelope, where envelopes hold several."""
SECRET = "never-commit-this"  # noqa: S105
"""A secret that is in the bodies of the log, and must be nowhere else."""


@dataclasses.dataclass
class Planted:
    """What was written, and has to come out again."""

    seed: int
    records: int = 0
    """Everything that is one: events, copies, stages, cut ones and garbage."""
    reads: int = 0
    leases: int = 0
    events: int = 0
    """Records of writes to workloads: whole ones, with stages and copies."""
    writes: int = 0
    """Those of them that are distinct."""
    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    """Writes by what became of them."""
    violations: Counter[str] = dataclasses.field(default_factory=Counter)
    """Accepted writes, dry runs apart, that violate a policy; by policy."""
    reviewed: int = 0
    """Records that carry a review; cut ones do not."""
    cut: int = 0
    garbage: int = 0
    size: int = 0
    """Bytes of event text, before envelopes."""


_KINDS = {"passed": 70, "violating": 16, "not_sent": 4, "failed_open": 3, "refused": 4, "dry_run": 3}


class Generator:
    """Equal seeds and sizes give equal logs."""

    def __init__(self, seed: int, *, writes: float = 0.03, leases: float = 0.07, trouble: float = 0.002) -> None:
        """The shares of all records that are writes to workloads, renewals of leases, and cut or foreign lines."""
        self.planted = Planted(seed)
        self._random = random.Random(seed)
        self._writes, self._leases, self._trouble = writes, leases, trouble
        self._reads = [_read(number) for number in range(200)]
        self._passing = _notes(())
        self._violating = {name: _notes((name,)) for name in POLICIES}
        self._time = START
        self._number = 0

    def lines(self, size: int) -> Iterator[bytes]:
        """Lines of at least `size` bytes in all."""
        planted, draw = self.planted, self._random.random
        while planted.size < size:
            share = draw()
            self._time += STEP
            self._number += 1
            if share < self._trouble:
                found = [self._broken(share < self._trouble / 2)]
            elif share < self._trouble + self._writes:
                found = self._write()
            elif share < self._trouble + self._writes + self._leases:
                planted.leases += 1
                found = [_lease(self._number, self._stamp())]
            else:
                planted.reads += 1
                stamp = self._stamp()
                found = [self._reads[int(draw() * len(self._reads))] % (self._number, stamp, stamp)]
            for line in found:
                planted.records += 1
                planted.size += len(line) + 1
                yield line

    def _stamp(self) -> bytes:
        return self._time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()

    def _broken(self, cut: bool) -> bytes:
        if cut:
            self.planted.cut += 1
            line = _event(self._number, self._stamp(), self._place(), notes=self._passing)
            return line[: line.index(b'"requestReceivedTimestamp"') - 10]
        self.planted.garbage += 1
        return b"I1124 10:00:00.000000       1 trace.go:236] Trace[%d]: not an event" % self._number

    def _place(self) -> tuple[int, int]:
        return self._random.randrange(NAMESPACES), self._random.randrange(WORKLOADS)

    def _write(self) -> list[bytes]:
        planted, choose = self.planted, self._random
        (kind,) = choose.choices(list(_KINDS), list(_KINDS.values()))
        place = self._place()
        policy = choose.choice(POLICIES)
        notes = self._passing
        if kind in ("violating", "refused", "dry_run"):
            notes = self._violating[policy]
        elif kind == "not_sent":
            notes = {}
        elif kind == "failed_open":
            notes = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}
        if kind == "violating":
            planted.violations[policy] += 1
        planted.outcomes[kind] += 1
        planted.writes += 1
        code, dry_run = 403 if kind == "refused" else 200, kind == "dry_run"
        line = _event(self._number, self._stamp(), place, notes=notes, code=code, dry_run=dry_run)
        found = [line]
        if choose.random() < 0.1:
            first = _event(self._number, self._stamp(), place, notes={}, dry_run=dry_run, stage="RequestReceived")
            found.insert(0, first)
        if choose.random() < 0.05:
            found.append(line)
        planted.events += len(found)
        planted.reviewed += bool(notes) * sum(each is line for each in found) * (kind != "failed_open")
        return found


def _notes(violated: tuple[str, ...]) -> dict[str, str]:
    findings = tuple(Finding(policy=name, message=f"planted violation of {name}") for name in violated)
    outcome = Outcome(set_digest=SET.digest, evaluated=2 ** len(POLICIES) - 1, findings=findings)
    encoded = encode(outcome, operation="UPDATE", dry_run=False)
    return {f"{WEBHOOK_NAME}/{key}": value for key, value in encoded.items()}


def _event(
    number: int,
    stamp: bytes,
    place: tuple[int, int],
    *,
    notes: dict[str, str],
    code: int = 200,
    dry_run: bool = False,
    stage: str = "ResponseComplete",
) -> bytes:
    namespace, name = f"team-{place[0]}", f"app-{place[1]}"
    received = stage == "RequestReceived"
    body = {"kind": "Deployment", "spec": {"replicas": number % 7, "env": SECRET}}
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Request",
        "auditID": f"00000000-0000-4000-8000-{number:012d}",
        "stage": stage,
        "requestURI": f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        f"?fieldManager=kubectl{'&dryRun=All' if dry_run else ''}",
        "verb": "update",
        "user": {"username": f"user-{number % 50}@example.com", "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.7"],
        "userAgent": "kubectl/v1.37.2 (linux/amd64) kubernetes/0000000",
        "objectRef": {
            "resource": "deployments",
            "namespace": namespace,
            "name": name,
            "apiGroup": "apps",
            "apiVersion": "v1",
        },
        **({} if received else {"responseStatus": {"metadata": {}, "code": code}, "requestObject": body}),
        "requestReceivedTimestamp": stamp.decode(),
        "stageTimestamp": stamp.decode(),
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": 'RBAC: allowed by ClusterRoleBinding "edit" of ClusterRole "edit"',
            **notes,
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _lease(number: int, stamp: bytes) -> bytes:
    return _LEASE % (number, number % 300, number % 300, number % 300, number % 300, stamp, stamp)


_LEASE = (
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"00000000-0000-4000-8000-%012d",'
    b'"stage":"ResponseComplete","requestURI":"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-%d'
    b'?timeout=10s","verb":"update","user":{"username":"system:node:node-%d","groups":["system:nodes",'
    b'"system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=4f1c"]}},'
    b'"sourceIPs":["192.0.2.9"],"userAgent":"kubelet/v1.37.2 (linux/amd64) kubernetes/0000000","objectRef":{"resource":'
    b'"leases","namespace":"kube-node-lease","name":"node-%d","uid":"5f3c2a70-12c1-4a41-9dcb-000000000%03d",'
    b'"apiGroup":"coordination.k8s.io","apiVersion":"v1","resourceVersion":"123456"},"responseStatus":{"metadata":{},'
    b'"code":200},"requestReceivedTimestamp":"%s","stageTimestamp":"%s","annotations":{"authorization.k8s.io/decision":'
    b'"allow","authorization.k8s.io/reason":""}}'
)


def _read(number: int) -> bytes:
    """A template: number, time, time."""
    verb = ("get", "list", "watch")[number % 3]
    resource = ("pods", "configmaps", "secrets", "endpoints", "services", "nodes")[number % 6]
    namespace = f"team-{number % NAMESPACES}"
    query = f"?limit=500&resourceVersion={number * 7919}&labelSelector=app%%3Dapp-{number}"
    user = f"system:serviceaccount:{namespace}:controller-{number}"
    agent = "controller/v0.0.0 (linux/amd64) kubernetes/$Format"
    if number % 10 == 0:
        user, agent = (
            "system:kube-controller-manager",
            "kube-controller-manager/v1.37.2 (linux/amd64) kubernetes/0000000",
        )
    pad = "".join(f'"example.com/claim-{i}":["{number:032x}"],' for i in range(number % 9))
    return (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata",'
        '"auditID":"00000000-0000-4000-8000-%012d","stage":"ResponseComplete",'
        f'"requestURI":"/api/v1/namespaces/{namespace}/{resource}{query}","verb":"{verb}",'
        f'"user":{{"username":"{user}","uid":"{number:036x}","groups":["system:serviceaccounts",'
        f'"system:serviceaccounts:{namespace}","system:authenticated"],"extra":{{{pad}'
        f'"authentication.kubernetes.io/credential-id":["JTI={number:036x}"],'
        f'"authentication.kubernetes.io/node-name":["node-{number}"],'
        f'"authentication.kubernetes.io/pod-name":["controller-{number}-6c9f8d7b5-x2x9z"]}}}},'
        f'"sourceIPs":["192.0.2.{number % 250}"],"userAgent":"{agent}",'
        f'"objectRef":{{"resource":"{resource}","namespace":"{namespace}","apiVersion":"v1"}},'
        '"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"%s","stageTimestamp":"%s",'
        '"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":'
        f'"RBAC: allowed by RoleBinding \\"controller/{namespace}\\" of Role \\"controller\\" to ServiceAccount '
        f'\\"controller-{number}/{namespace}\\""}}}}'
    ).encode()


def write(path: Path, size: int, *, envelope: str = "lines", seed: int = 0, **shares: float) -> Planted:
    """Writes about `size` bytes of events in that format, and returns what they are."""
    generator = Generator(seed, **shares)
    pack = ENVELOPES[envelope]
    # What cannot be written piece by piece is held whole.
    batch = None if envelope in BINARY - CONCATENATED else 10_000 if envelope == "gzip" else BATCH
    held: list[bytes] = []
    with path.open("wb") as file:
        for line in generator.lines(size):
            held.append(line)
            if batch is not None and len(held) >= batch:
                file.write(pack(held) + (b"" if envelope in BINARY else b"\n"))
                held.clear()
        if held:
            file.write(pack(held) + (b"" if envelope in BINARY else b"\n"))
    return generator.planted
