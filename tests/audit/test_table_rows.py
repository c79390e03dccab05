"""What each source of truth leaves on an event, as rows of the facts table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.source import Lines, Unreadable, read
from webhook.audit.table.denials import denials
from webhook.audit.table.mapper import Mapper
from webhook.audit.table.rows import client
from webhook.audit.table.schema import COLUMNS, MESSAGE
from webhook.policy import Exempted, Finding, Outcome

Any_ = Callable[..., Any]
VAP = "validation.policy.admission.k8s.io/validation_failure"
POD_SECURITY = "pod-security.kubernetes.io/"


@pytest.fixture
def log(make_log: Any_, make_record: Any_) -> Any:
    return make_log(make_record("p", "q"))


def rows(lines: Sequence[bytes], cluster: str = "") -> list[dict[str, Any]]:
    mapper = Mapper(is_ours=Ours((WEBHOOK_NAME,)), unreadable=Unreadable(), cluster=cluster)
    mapper.add(Lines("test.log", 0, list(lines)))
    return [dict(zip((column.name for column in COLUMNS), row, strict=True)) for row in mapper.take()]


def found(lines: Sequence[bytes], kind: str = "finding") -> list[tuple[str, ...]]:
    names = ("source", "policy", "result", "reason", "message")
    return [tuple(row[name] for name in names) for row in rows(lines) if row["kind"] == kind]


def test_a_reviewed_write_is_one_row_that_says_who_what_and_when(log: Any) -> None:
    log.write(outcome=log.outcome(snapshot="snap-1"))
    (row,) = rows(log.lines, cluster="prod")
    expected = {
        "cluster": "prod",
        "kind": "write",
        "result": "reviewed",
        "audit_id": "id-1",
        "operation": "CREATE",
        "group": "apps",
        "version": "v1",
        "resource": "deployments",
        "namespace": "shop",
        "name": "web",
        "root_kind": "Deployment",
        "root_name": "web",
        "user": "alice",
        "client": "kubectl",
        "code": 201,
        "set_digest": "set-1",
        "snapshot": "snap-1",
        "evaluated": "3",
        "stage": "ResponseComplete",
        "rejected": False,
        "dry_run": False,
    }
    assert expected.items() <= row.items()
    assert row["time"] // 86_400_000_000 == row["day"]


def test_one_finding_for_each_policy_of_ours(log: Any) -> None:
    finding = Finding(policy="p", message="new", pre_existing=False)
    outcome = Outcome(
        set_digest="set-1",
        evaluated=3,
        findings=(
            Finding(policy="p", message="old", pre_existing=True),
            finding,
            Finding(policy="q", message="broke", error=True, pre_existing=True),
        ),
        exempted=(Exempted(policy="p", exemption="e-1"), Exempted(policy="r", exemption="e-2")),
        not_comparable=(("s", "no snapshot"),),
        internal_errors=(("t", "KeyError"),),
        incomplete="deadline",
        skipped=("u",),
    )
    log.write(outcome=outcome)
    ours = [row for row in rows(log.lines) if row["kind"] == "finding"]
    assert [(row["policy"], row["result"], row["reason"], row["message"], row["preexisting"]) for row in ours] == [
        ("p", "violation", "", "old", False),  # one of the two is new
        ("q", "error", "", "broke", True),
        ("r", "exempted", "e-2", "", False),
        ("s", "not_comparable", "no snapshot", "", False),
        ("t", "unreviewed", "internal error: KeyError", "", False),
        ("u", "unreviewed", "deadline", "", False),
    ]
    assert [each[1:4] for each in found(log.lines, "blind")] == [
        ("", "incomplete", "deadline"),
        ("t", "incomplete", "internal error: KeyError"),
        ("s", "not_comparable", "no snapshot"),
    ]


@pytest.mark.parametrize("reason", ["size", "shed", "undecodable"])
def test_what_was_not_evaluated_is_blind(log: Any, reason: str) -> None:
    log.write(outcome=Outcome(set_digest="set-1", incomplete=reason))
    (row,) = [row for row in rows(log.lines) if row["kind"] == "write"]
    assert (row["result"], row["reason"]) == ("incomplete", reason)
    assert found(log.lines, "blind") == [("", "", "shed" if reason == "shed" else "incomplete", reason, "")]


def test_failed_open_truncated_and_unreadable_are_blind(log: Any) -> None:
    log.write(annotations={"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME})
    log.write(stage="RequestReceived")
    log.write(annotations={f"{WEBHOOK_NAME}/reviewed": "v=9"})
    cut = log.write(outcome=log.outcome())
    log.lines[-1] = cut[: cut.index(b'"requestReceivedTimestamp"')]
    assert [each[2:4] for each in found(log.lines, "blind")] == [
        ("failed_open", ""),
        ("truncated", ""),
        ("incomplete", "unreadable_annotation"),
        ("truncated", ""),
    ]
    assert [row["time"] is None for row in rows(log.lines) if row["kind"] == "write"] == [False] * 3 + [True]


@pytest.mark.parametrize("more", [{"code": 403}, {"dry_run": True}], ids=str)
def test_nothing_is_blind_in_what_was_not_stored(log: Any, more: dict[str, Any]) -> None:
    log.write(
        annotations={"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME},
        outcome=log.outcome("p", not_comparable=(("q", "no snapshot"),)),
        **more,
    )
    assert not found(log.lines, "blind")
    assert [each[1] for each in found(log.lines)] == ["p", "q"]


def test_the_api_servers_own_engines(log: Any) -> None:
    failures = [
        {"policy": "b.example.dev", "message": "no team", "binding": "x", "validationActions": ["Audit"]},
        {"policy": "b.example.dev", "message": "second"},
        {"policy": "a.example.dev", "message": "expression 'object.x' resulted in error: no such key: x"},
        {"policy": "cpol-require-team", "message": "made by Kyverno"},
    ]
    log.write(
        annotations={
            VAP: json.dumps(failures),
            POD_SECURITY + "audit-violations": 'would violate PodSecurity "restricted:v1.37": a, b',
            POD_SECURITY + "enforce-policy": "baseline:v1.37",
        }
    )
    assert found(log.lines) == [
        ("vap", "a.example.dev", "error", "", "expression 'object.x' resulted in error: no such key: x"),
        ("vap", "b.example.dev", "violation", "", "no team"),
        ("kyverno", "cpol-require-team", "violation", "", "made by Kyverno"),
        ("pod-security", "pod-security-restricted", "violation", "restricted:v1.37", "a, b"),
    ]
    assert {row["enforced"] for row in rows(log.lines)} == {"baseline:v1.37"}


def test_pod_securitys_exemptions(log: Any) -> None:
    log.write(annotations={POD_SECURITY + "exempt": "namespace"})
    assert found(log.lines) == [("pod-security", "pod-security", "exempted", "namespace", "")]


def test_gatekeepers_annotation(log: Any) -> None:
    violation = {
        "constraintGroup": "constraints.gatekeeper.sh",
        "constraintKind": "K8sRequiredLabels",
        "constraintName": "must-have-team",
        "message": "you must provide labels: {team}",
        "enforcementAction": "dryrun",
        "details": {"missing": ["SECRET"]},
    }
    value = {"schemaVersion": "v1", "allowed": True, "violations": [violation, violation], "totalViolations": 2}
    log.write(annotations={"validation.gatekeeper.sh/evaluation": json.dumps(value)})
    log.write(annotations={"validation.gatekeeper.sh/evaluation": json.dumps(value)[:-20]})
    assert found(log.lines) == [
        (
            "gatekeeper",
            "K8sRequiredLabels/must-have-team",
            "violation",
            "dryrun",
            "you must provide labels: {team}",
        )
    ]
    assert [each[:4] for each in found(log.lines, "blind")] == [
        ("gatekeeper", "", "incomplete", "unreadable_annotation")
    ]


KYVERNO = """admission webhook "validate.kyverno.svc-fail" denied the request:\x20

resource Pod/default/bad was blocked due to the following policies\x20

disallow-latest-tag:
  require-image-tag: 'validation error: An image tag is required.
    rule require-image-tag failed'
require-requests:
  autogen: no requests
"""

REFUSALS = {
    'pods "web-67b8cd545f-x" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c")': [
        ("pod-security-baseline", "baseline:latest", 'privileged (container "c")')
    ],
    "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'deny.x' with binding 'deny.x-0' denied request: a\nb": [
        ("deny.x", "deny.x-0", "a\nb")
    ],
    'admission webhook "denier.example.dev" denied the request: no <way>': [("denier.example.dev", "", "no <way>")],
    'admission webhook "denier.example.dev" denied the request without explanation': [("denier.example.dev", "", "")],
    'admission webhook "validation.gatekeeper.sh" denied the request: [must-have-team] no team\n[no-latest] x\n'
    "[must-have-team] no owner": [
        ("must-have-team", "validation.gatekeeper.sh", "no team; no owner"),
        ("no-latest", "validation.gatekeeper.sh", "x"),
    ],
    KYVERNO: [
        (
            "disallow-latest-tag",
            "validate.kyverno.svc-fail",
            "require-image-tag: 'validation error: An image tag is required. rule require-image-tag failed'",
        ),
        ("require-requests", "validate.kyverno.svc-fail", "autogen: no requests"),
    ],
    'admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy check-x failed: too few': [
        ("check-x", "vpol.validate.kyverno.svc-fail", "too few")
    ],
    'Internal error occurred: failed calling webhook "down.example.dev": failed to call webhook: refused': [
        ("down.example.dev", "unavailable", "failed to call webhook: refused")
    ],
    'configmaps "q" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1': [
        ("ResourceQuota/q", "", "exceeded quota: q, requested: configmaps=1, used: configmaps=1")
    ],
    'pods is forbidden: User "bob" cannot create resource "pods" in API group "" in the namespace "shop"': [],
    'deployments.apps "web" already exists': [],
    'admission webhook "old.example.dev" does not support dry run': [],
    "": [],
}


@pytest.mark.parametrize(("text", "expected"), REFUSALS.items(), ids=lambda each: str(each)[:40])
def test_who_refused(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(each.policy, each.reason, each.message) for each in denials(text)] == expected


def test_a_refused_pod_is_its_deployments(log: Any) -> None:
    line = json.loads(log.pod("", code=403, user="system:serviceaccount:kube-system:replicaset-controller"))
    line["responseStatus"]["message"] = (
        'pods "web-67b8cd545f-wptb4" is forbidden: violates PodSecurity "baseline:v1.37": x'
    )
    line["impersonatedUser"] = {"username": "somebody else"}
    (write, finding) = rows([json.dumps(line, separators=(",", ":")).encode()])
    assert (write["root_kind"], write["root_name"], write["trial"]) == ("Deployment", "web", "67b8cd545f")
    assert (write["result"], write["name"], write["user"]) == ("rejected", "", "somebody else")
    assert (finding["source"], finding["policy"], finding["result"]) == ("denial", "pod-security-baseline", "denied")


@pytest.mark.parametrize(
    ("agent", "expected"),
    {
        "kubectl/v1.37.2 (linux/amd64) kubernetes/abc": "kubectl",
        "kube-controller-manager/v1.37.2 (linux) system:serviceaccount:x": "kube-controller-manager",
        "Helm 3": "Helm",
        "": "",
        "x" * 500: "x" * 119 + "…",
    }.items(),
)
def test_clients(agent: str, expected: str) -> None:
    assert client(agent) == expected


def test_bodies_never_enter_and_texts_are_bounded(log: Any) -> None:
    body = {"kind": "Secret", "metadata": {"name": "web"}, "data": {"password": "CANARY"}}
    log.write(
        body=body,
        outcome=Outcome(set_digest="set-1", evaluated=1, findings=(Finding(policy="p", message="m" * 5_000),)),
    )
    text = json.dumps(rows(log.lines))
    assert "CANARY" not in text
    assert "SECRET-EXTRA" not in text
    (finding,) = [row for row in rows(log.lines) if row["kind"] == "finding"]
    assert len(finding["message"]) == MESSAGE


def test_heartbeats_are_left_out_unless_somebody_reviewed_them(log: Any) -> None:
    log.write(resource="leases", group="coordination.k8s.io")
    log.write(resource="deployments", subresource="status")
    assert not rows(log.lines)
    log.write(resource="leases", group="coordination.k8s.io", outcome=log.outcome())
    assert [row["resource"] for row in rows(log.lines)] == ["leases"]


def test_gkes_refusals_are_told_by_its_own_status(tmp_path: Path) -> None:
    entry = {
        "protoPayload": {
            "serviceName": "k8s.io",
            "methodName": "io.k8s.core.v1.configmaps.create",
            "resourceName": "core/v1/namespaces/shop/configmaps/x",
            "authenticationInfo": {"principalEmail": "alice@example.com"},
            "status": {"code": 7, "message": 'admission webhook "denier.example.dev" denied the request: no'},
        },
        "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "c", "location": "l", "project_id": "p"}},
        "timestamp": "2026-11-24T10:00:00.5Z",
        "operation": {"id": "a-1", "producer": "k8s.io", "first": True, "last": True},
    }
    file = tmp_path / "gke.json"
    file.write_text(json.dumps(entry) + "\n")
    mapper = Mapper(is_ours=Ours((WEBHOOK_NAME,)), unreadable=Unreadable())
    for each in read([str(file)], Unreadable()):
        mapper.add(each)
    write, finding = (dict(zip((column.name for column in COLUMNS), row, strict=True)) for row in mapper.take())
    assert (write["cluster"], write["result"], write["user"]) == ("p/l/c", "rejected", "alice@example.com")
    assert (finding["policy"], finding["message"]) == ("denier.example.dev", "no")
