"""A cluster with nothing of ours: what the API server's own annotations prove, with and without a snapshot."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webhook.audit.native import Cluster, match_of
from webhook.audit.verdict import Limits
from webhook.state import State, snapshot

Any_ = Callable[..., Any]
LOOSE = Limits(min_window=0, min_writes=2)
GROUP = "admissionregistration.k8s.io"
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def policy(name: str = "vap", **spec: Any) -> dict[str, Any]:
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "creationTimestamp": "2026-10-01T00:00:00Z"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [], **spec},
    }


def binding(name: str = "vap", created: str = "2026-10-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"{name}-all", "creationTimestamp": created},
        "spec": {"policyName": name, "validationActions": ["Warn", "Audit"], **spec},
    }


def namespace(name: str = "shop", created: str = "2026-10-01T00:00:00Z", **labels: str) -> dict[str, Any]:
    spelt = {f"pod-security.kubernetes.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    spelt["kubernetes.io/metadata.name"] = name
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "creationTimestamp": created, "labels": spelt},
    }


def state(*objects: dict[str, Any]) -> State:
    return snapshot(objects, taken_at=0.0)


def failure(*policies: str) -> dict[str, str]:
    listed = [{"policy": each, "message": "m", "binding": "b", "expressionIndex": 0} for each in policies]
    return {"validation.policy.admission.k8s.io/validation_failure": json.dumps(listed)}


def violates(standard: str) -> dict[str, str]:
    return {"pod-security.kubernetes.io/audit-violations": f'would violate PodSecurity "{standard}": privileged (…)'}


@pytest.fixture
def log(make_log: Any_, make_record: Any_) -> Any:
    return make_log(make_record())


def test_without_a_snapshot_only_violations_are_known(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(60):
        log.write(name=f"app-{number}")
    log.write(name="bad", annotations=failure("vap"))
    found = row_of(reporting(log.lines, native=True), "vap")
    assert (found.verdict, found.reviewed, found.k) == ("fix first", 1, 1)
    assert found.basis == "native"
    log.write(name="bad", verb="delete", code=200)
    found = row_of(reporting(log.lines, native=True, limits=LOOSE), "vap")
    assert (found.verdict, found.condition) == ("not enough evidence", "not_proven")
    assert "no snapshot" in found.reason


def test_a_snapshot_makes_silence_a_pass(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(60):
        log.write(name=f"app-{number}")
    found = row_of(reporting(log.lines, native=True, state=state(policy(), binding())), "vap")
    assert (found.verdict, found.reviewed, found.n) == ("enforce", 60, 60)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([policy()], "no binding"),
        ([policy(), binding(validationActions=["Warn"])], "action Audit"),
        ([policy(matchConditions=[{"name": "x", "expression": "true"}]), binding()], "matchConditions"),
        ([policy(paramKind={"apiVersion": "v1", "kind": "ConfigMap"}), binding()], "params"),
        ([policy(), binding(matchResources={"objectSelector": {"matchLabels": {"a": "b"}}})], "labels of the object"),
        ([policy(), binding(matchResources={"resourceRules": [{"resources": ["pods"]}]})], "rules of its own"),
    ],
)
def test_what_cannot_be_proven_is_named(
    log: Any, reporting: Any_, row_of: Any_, objects: list[dict[str, Any]], reason: str
) -> None:
    for number in range(60):
        log.write(name=f"app-{number}")
    found = row_of(reporting(log.lines, native=True, state=state(*objects)), "vap")
    assert (found.verdict, found.condition) == ("not enough evidence", "not_proven")
    assert reason in found.reason
    assert "60 of 60" in found.reason


def test_the_window_begins_when_the_policy_does(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(60):
        log.write(name=f"app-{number}")
    held = state(policy(), binding(created="2026-11-03T00:00:00Z"))
    found = row_of(reporting(log.lines, native=True, state=held), "vap")
    assert (found.before_start, found.reviewed) == (8, 52)
    # A change of the policy in the log begins it anew; one of another policy does not.
    for name, expected in (("other", 52), ("vap", 27), ("vap-all", 27)):
        changed = log.write(
            "",
            name,
            resource="validatingadmissionpolicies",
            group=GROUP,
            verb="patch",
            code=200,
            at=START + datetime.timedelta(hours=6 * 33 - 1),
        )
        found = row_of(reporting([*log.lines[:60], changed], native=True, state=held), "vap")
        assert found.reviewed == expected


def test_bindings_that_select_namespaces(log: Any, reporting: Any_) -> None:
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    log.write("shop")
    log.write("store")
    rows = reporting(log.lines, native=True, state=state(policy(), binding(matchResources=selector))).rows
    assert [(row.policy, row.namespace) for row in rows if row.policy == "vap"] == [("vap", "shop")]


@pytest.mark.parametrize(
    ("agents", "verdict"), [([36], "not enough evidence"), ([], "not enough evidence"), ([37], "enforce")]
)
def test_up_to_1_36_one_failure_hides_the_others(
    log: Any, reporting: Any_, row_of: Any_, agents: list[int], verdict: str
) -> None:
    for number in range(9):
        log.write(name=f"app-{number}", annotations=failure("other"))
    for minor in agents:
        line = log.write("kube-system", "x", user="system:kube-scheduler")
        log.lines[-1] = line.replace(b"kubectl/v1.37.2", b"kube-scheduler/v1.%d.0" % minor)
    held = state(policy(), binding(), policy("other"), binding("other"))
    found = row_of(reporting(log.lines, native=True, state=held, limits=LOOSE), "vap")
    assert found.verdict == verdict
    assert found.outcomes.get("unknown", 0) == (0 if verdict == "enforce" else 9)


def test_pod_security_by_the_audit_label(log: Any, reporting: Any_, row_of: Any_) -> None:
    ran = {"pod-security.kubernetes.io/enforce-policy": "privileged:latest"}
    for number in range(5):
        log.write(name=f"app-{number}", resource="pods", group="", annotations=ran)
    log.write(name="deployed")
    silent = row_of(reporting(log.lines, native=True), "pod-security-baseline")
    assert (silent.verdict, silent.reviewed, silent.outcomes["unknown"]) == ("not enough evidence", 0, 6)

    restricted = state(namespace(audit="restricted", audit_version="v1.30"))
    for level in ("baseline", "restricted"):
        found = row_of(reporting(log.lines, native=True, state=restricted, limits=LOOSE), f"pod-security-{level}")
        assert (found.verdict, found.version, found.reviewed) == ("enforce", "v1.30", 6)
    baseline = state(namespace(audit="baseline"))
    found = reporting(log.lines, native=True, state=baseline, limits=LOOSE)
    assert row_of(found, "pod-security-baseline").verdict == "enforce"
    assert row_of(found, "pod-security-restricted").verdict == "not enough evidence"
    assert "audited at baseline" in row_of(found, "pod-security-restricted").reason
    late = state(namespace(created="2026-11-01T12:00:00Z", audit="restricted"))
    assert row_of(reporting(log.lines, native=True, state=late, limits=LOOSE), "pod-security-baseline").reviewed == 4


def test_a_change_of_the_namespace_ends_what_its_labels_prove(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(4):
        log.write(name=f"app-{number}")
    log.write(name="shop", resource="namespaces", group="", verb="patch", code=200)
    log.write(name="after")
    held = state(namespace(audit="restricted"))
    found = row_of(reporting(log.lines, native=True, state=held, limits=LOOSE), "pod-security-restricted")
    assert (found.before_start, found.reviewed) == (4, 1)


def test_pod_security_violations_exemptions_and_unseen_pods(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(name="bad", annotations=violates("restricted:latest"))
    log.write(name="worse", annotations=violates("baseline:latest"))
    log.write(name="free", annotations={"pod-security.kubernetes.io/exempt": "user"})
    log.write(name="kept", resource="pods", group="", verb="patch", code=200)  # images unchanged: not looked at
    log.write(name="unseen", resource="pods", group="")
    held = state(namespace(audit="restricted"))
    found = reporting(log.lines, native=True, state=held)
    restricted, baseline = (row_of(found, f"pod-security-{level}") for level in ("restricted", "baseline"))
    assert (restricted.violations, restricted.k, restricted.outcomes["unknown"], restricted.writes) == (2, 2, 1, 3)
    assert (restricted.outcomes["exempt"], baseline.outcomes["exempt"]) == (1, 1)
    # Who violates restricted may still be fit for baseline: nothing is guessed.
    assert (baseline.violations, baseline.k, baseline.outcomes["unknown"]) == (1, 1, 2)


def test_what_is_enforced_already_is_proven(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(5):
        notes = {"pod-security.kubernetes.io/enforce-policy": "baseline:v1.37"}
        log.write(name=f"app-{number}", resource="pods", group="", annotations=notes)
    found = row_of(reporting(log.lines, native=True, limits=LOOSE), "pod-security-baseline")
    assert (found.reviewed, found.version, found.outcomes.get("unknown", 0)) == (5, "v1.37", 0)


def test_the_real_log(raw: Path, reporting: Any_, row_of: Any_) -> None:
    lines = (raw / "kube-1.37.jsonl").read_bytes().splitlines()
    found = reporting(lines, native=True)
    verdicts = {(row.policy, row.namespace): row for row in found.rows if row.verdict == "fix first"}
    assert {key for key in verdicts if not key[0].startswith("pod-security")} == {
        ("erroring.example.dev", "vap"),
        ("owner-label.example.dev", "vap"),
    }
    assert {key[1] for key in verdicts if key[0] == "pod-security-restricted"} == {"psa-audit", "psa-enforce"}
    assert verdicts["erroring.example.dev", "vap"].violations == 0
    assert verdicts["erroring.example.dev", "vap"].errors > 0
    # A policy that denies already is no question any more: its writes were refused.
    assert ("deny.example.dev", "vapdeny") not in verdicts


def test_constraints_are_read_as_data() -> None:
    match = match_of(
        {
            "resourceRules": [{"apiGroups": ["apps"], "resources": ["*"], "operations": ["*"], "apiVersions": ["v1"]}],
            "namespaceSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}],
            },
            "matchPolicy": "Exact",
        }
    )
    assert match.rules[0].groups == ("apps",)
    assert [(each.key, each.operator, each.values) for each in match.namespace_selector] == [
        ("a", "In", ("b",)),
        ("c", "NotIn", ("d",)),
    ]
    assert match.match_policy == "Exact"


def test_a_cluster_without_a_snapshot_knows_nothing(log: Any, reading: Any_) -> None:
    log.write()
    facts, _ = reading(log.lines)
    cluster = Cluster(facts, state())
    assert cluster.standard("shop") is None
    assert cluster.labels("shop") is None
    assert cluster.subjects(known=frozenset(), pod_security=False) == []
