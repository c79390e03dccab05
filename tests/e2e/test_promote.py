"""The whole story: writes for a while, readiness says which policy is safe where, and what `promote` prints, applied,
makes the API server deny exactly what was predicted, and nothing else."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.plane.cluster import Cluster, wait_for
from tests.e2e.plane.webhooks import wouldblock

Make = Callable[..., Any]

POLICIES = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: team-label.tests.wouldblock.dev}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}
    - apiGroups: [rbac.authorization.k8s.io]
      apiVersions: [v1]
      operations: [CREATE, UPDATE]
      resources: [roles, clusterroles]
  validations:
  - expression: "has(object.metadata.labels) && 'team' in object.metadata.labels"
    message: every object names its team
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: team-label.tests.wouldblock.dev}
spec:
  policyName: team-label.tests.wouldblock.dev
  validationActions: [Warn, Audit]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: short-name.tests.wouldblock.dev}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - expression: object.metadata.name.size() <= int(params.data.longest)
    message: the name is too long
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: short-name.tests.wouldblock.dev}
spec:
  policyName: short-name.tests.wouldblock.dev
  validationActions: [Audit]
  paramRef: {name: short-name, namespace: default, parameterNotFoundAction: Deny}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: short-name, namespace: default}
data: {longest: "10"}
"""
TEAM, SHORT = "team-label.tests.wouldblock.dev", "short-name.tests.wouldblock.dev"
LIMITS = ("--min-window", "0", "--min-writes", "30")


def config_map(name: str, *, team: bool) -> dict[str, Any]:
    labels = {"team": "shop"} if team else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def test_predicted_is_what_is_denied(cluster: Cluster, new_namespace: Make, install: Make, tmp_path: Path) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES)
    installed = install("--policies", policies, "--budget-ms", "500")
    shop, legacy = new_namespace(), new_namespace()
    installed.register(probe=shop)

    # For a while: in `legacy` every fifth object has no team, and every seventh a long name, in `shop` none.
    predicted: dict[tuple[str, str], set[str]] = {}
    for number in range(60):
        for namespace in (shop, legacy):
            bad = namespace == legacy
            name = f"object-{number}-with-a-long-name" if bad and number % 7 == 0 else f"object-{number}"
            created = cluster.http.post(
                f"/api/v1/namespaces/{namespace}/configmaps", json=config_map(name, team=not (bad and number % 5 == 0))
            )
            assert created.status_code == 201, created.text
    log = tmp_path / "audit.log"
    log.write_bytes(cluster.audit_log.read_bytes())
    flags = ("--policies", policies, *LIMITS)
    asked = ("--namespace", shop, "--namespace", legacy, "--output", "json")
    run = wouldblock("readiness", log, *flags, *asked, codes=(1,))
    verdicts = {(row["policy"], row["namespace"]): row for row in json.loads(run.stdout)["verdicts"]}
    assert {key: row["verdict"] for key, row in verdicts.items() if key[0] in (TEAM, SHORT)} == {
        (TEAM, shop): "enforce",
        (SHORT, shop): "enforce",
        (TEAM, legacy): "fix first",
        (SHORT, legacy): "fix first",
    }
    assert verdicts[TEAM, legacy]["violations"] == verdicts[TEAM, legacy]["open"] == 12
    assert verdicts[SHORT, legacy]["violations"] == 9
    for row in verdicts.values():
        assert row["coverage"]["reviewed"] == row["coverage"]["of"]

    promote = ("promote", TEAM, SHORT, "--log", log, *flags)
    refused = wouldblock(*promote, "--namespace", shop, legacy, codes=(1,))
    assert f"refused: {TEAM} in {legacy}: fix first: 12 workloads" in refused.stderr.decode()
    promoted = wouldblock(*promote, "--namespace", shop).stdout.decode()
    assert promoted == refused.stdout.decode()
    assert legacy not in promoted
    cluster.kubectl("apply", "-f", "-", input=promoted)
    installed.stop()

    def denied() -> bool | None:
        probe = config_map("much-too-long-a-name", team=True), config_map("x", team=False)
        codes = [
            cluster.http.post(f"/api/v1/namespaces/{shop}/configmaps?dryRun=All", json=each).status_code
            for each in probe
        ]
        return True if codes == [422, 422] else None

    wait_for("both policies deny", denied, seconds=20)

    # The same kinds of writes again, good and bad, in both namespaces: the verdicts say what is to be denied.
    writes = 0
    for number in range(60):
        for namespace in (shop, legacy):
            for team, name in (
                (number % 5 != 0, f"again-{number}"),
                (True, f"again-{number}-long" if number % 7 == 0 else f"more-{number}"),
            ):
                violated = {policy for policy, bad in ((TEAM, not team), (SHORT, len(name) > 10)) if bad}
                enforced = {policy for policy in (TEAM, SHORT) if verdicts[policy, namespace]["verdict"] == "enforce"}
                answer = cluster.http.post(
                    f"/api/v1/namespaces/{namespace}/configmaps", json=config_map(name, team=team)
                )
                predicted.setdefault((namespace, name), set()).update(violated & enforced)
                writes += 1
                assert (answer.status_code == 422) == bool(violated & enforced), (namespace, name, answer.text)
                if answer.status_code != 422:
                    assert answer.status_code == 201
                else:
                    assert any(policy in answer.json()["message"] for policy in violated)
    assert writes >= 200
    assert 0 < sum(map(bool, predicted.values())) < writes // 2

    # No evidence on cluster-scoped objects, so nothing is denied there, although the policy is about them too.
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": f"{shop}-role"}}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert cluster.http.post(path, json=role).status_code == 201
    namespaced = {**role, "kind": "Role"}
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{shop}/roles"
    assert cluster.http.post(path, json=namespaced).status_code == 422
    for policy in (TEAM, SHORT):
        cluster.kubectl("delete", "validatingadmissionpolicybinding", f"{policy}-enforce")


def test_pod_security_labels_are_accepted_and_enforce(cluster: Cluster, namespace: str) -> None:
    run = wouldblock(
        "promote", "pod-security-baseline", "--force", "--namespace", namespace, "--server-version", "v1.37"
    )
    cluster.kubectl("apply", "--server-side", "-f", "-", input=run.stdout.decode())
    stored = json.loads(cluster.kubectl("get", "namespace", namespace, "-ojson").stdout)
    assert stored["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert stored["metadata"]["labels"]["pod-security.kubernetes.io/enforce-version"] == "v1.37"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {"hostNetwork": True, "containers": [{"name": "app", "image": "registry.example/app:1"}]},
    }
    answer = cluster.http.post(f"/api/v1/namespaces/{namespace}/pods", json=pod)
    assert answer.status_code == 403
    assert 'violates PodSecurity "baseline:v1.37"' in answer.json()["message"]


def test_the_server_takes_every_shipped_policy_promoted(cluster: Cluster, namespace: str, root: Path) -> None:
    """Everywhere: in a namespace and for cluster-scoped objects; a dry run, so that nothing is left."""
    names = [
        document["metadata"]["name"]
        for file in sorted((root / "policies").glob("*/*.yaml"))
        if not file.name.endswith(".cases.yaml")
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == "ValidatingAdmissionPolicy"
    ]
    assert len(names) >= 6
    run = wouldblock("promote", *names, "--force", "--namespace", namespace, "")
    documents = list(yaml.safe_load_all(run.stdout))
    needed = {each["metadata"].get("namespace") for each in documents} - {None}
    for each in needed:
        cluster.http.post(
            "/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}}
        )
    applied = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=run.stdout.decode())
    assert len(applied.stdout.splitlines()) == len(documents)
    assert "Warning" not in applied.stderr


def test_native_first(cluster: Cluster, new_namespace: Make, tmp_path: Path) -> None:
    """Nothing of ours in the cluster: its own policies' annotations and a snapshot are the evidence."""
    audited, bad = new_namespace(pod_security__x="1"), new_namespace()
    policy = f"native-{audited}"
    manifests = list(yaml.safe_load_all(POLICIES))[:2]
    for each in manifests:
        each["metadata"]["name"] = policy
    manifests[0]["spec"]["matchConstraints"]["resourceRules"].pop()
    manifests[1]["spec"]["policyName"] = policy
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(manifests))
    path = f"/api/v1/namespaces/{audited}/configmaps"

    def audits() -> bool | None:
        cluster.http.post(f"/api/v1/namespaces/{bad}/configmaps?dryRun=All", json=config_map("probe", team=False))
        events = cluster.audit_events(namespace=bad)
        return True if "validation.policy.admission.k8s.io/validation_failure" in events[-1]["annotations"] else None

    wait_for("the policy audits", audits, seconds=20)
    begin = datetime.datetime.now(datetime.UTC).isoformat()
    for number in range(35):
        assert cluster.http.post(path, json=config_map(f"object-{number}", team=True)).status_code == 201
        other = f"/api/v1/namespaces/{bad}/configmaps"
        assert cluster.http.post(other, json=config_map(f"object-{number}", team=number != 3)).status_code == 201
    snapshot = tmp_path / "cluster.yaml"
    kinds = "namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings"
    snapshot.write_text(cluster.kubectl("get", kinds, "-oyaml").stdout)
    log = tmp_path / "audit.log"
    log.write_bytes(cluster.audit_log.read_bytes())
    flags = ("--native", "--policy", policy, "--namespace", audited, "--namespace", bad, *LIMITS, "--since", begin)

    def verdicts(*more: str | Path) -> dict[str, str]:
        run = wouldblock("readiness", log, *flags, *more, "--output", "json", codes=(1,))
        return {row["namespace"]: row["verdict"] for row in json.loads(run.stdout)["verdicts"]}

    assert verdicts() == {audited: "not enough evidence", bad: "fix first"}
    assert verdicts("--snapshot", snapshot) == {audited: "enforce", bad: "fix first"}
    promoted = wouldblock(
        "promote", policy, "--log", log, "--native", "--snapshot", snapshot, *LIMITS, "--since", begin
    ).stdout
    documents = list(yaml.safe_load_all(promoted))
    cluster.kubectl("apply", "-f", "-", input=promoted.decode())
    assert [each["kind"] for each in documents] == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]

    def denies() -> bool | None:
        answer = cluster.http.post(f"{path}?dryRun=All", json=config_map("x", team=False))
        return True if answer.status_code == 422 else None

    wait_for("the promoted policy denies", denies, seconds=20)
    other = f"/api/v1/namespaces/{bad}/configmaps"
    assert cluster.http.post(other, json=config_map("still-fine", team=False)).status_code == 201


@pytest.fixture(autouse=True)
def _tidy(cluster: Cluster) -> Any:
    """No policy of this file outlives its test: the cluster is everybody's."""
    yield
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        names = cluster.kubectl("get", kind, "-oname").stdout.split()
        ours = [name for name in names if "tests.wouldblock.dev" in name or "/native-" in name]
        if ours:
            cluster.kubectl("delete", *ours)
