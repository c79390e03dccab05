"""What `promote` prints, applied to a real API server: it reaches the namespaces that it names and nothing else.

The whole story with the shipped policies is `test_story.py`; here are params, cluster-scoped objects, Pod Security
labels, and a cluster with nothing of ours.
"""

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


def test_params_and_scope(cluster: Cluster, new_namespace: Make, install: Make, tmp_path: Path) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES)
    installed = install("--policies", policies)
    shop, legacy = new_namespace(), new_namespace()
    installed.register(probe=shop)
    path = "/api/v1/namespaces/{}/configmaps"
    for number in range(30):
        # In `legacy` every fifth object has no team, and every sixth a long name.
        name = f"object-{number}-with-a-long-name" if number % 6 == 0 else f"object-{number}"
        assert cluster.http.post(path.format(shop), json=config_map(f"o-{number}", team=True)).status_code == 201
        made = cluster.http.post(path.format(legacy), json=config_map(name, team=number % 5 != 0))
        assert made.status_code == 201
    log = tmp_path / "audit.log"
    log.write_bytes(cluster.audit_log.read_bytes())
    flags = ("--policies", policies, *LIMITS)
    asked = ("--namespace", shop, "--namespace", legacy, "--output", "json")
    run = wouldblock("readiness", log, *flags, *asked, codes=(1,))
    verdicts = {(row["policy"], row["namespace"]): row for row in json.loads(run.stdout)["verdicts"]}
    assert {key: (row["verdict"], row["open"]) for key, row in verdicts.items() if key[0] in (TEAM, SHORT)} == {
        (TEAM, shop): ("enforce", 0),
        (SHORT, shop): ("enforce", 0),
        (TEAM, legacy): ("fix first", 6),
        (SHORT, legacy): ("fix first", 5),
    }
    promote = ("promote", TEAM, SHORT, "--log", log, *flags)
    refused = wouldblock(*promote, "--namespace", shop, legacy, codes=(1,))
    assert f"refused: {TEAM} in {legacy}: fix first: 6 workloads" in refused.stderr.decode()
    promoted = wouldblock(*promote, "--namespace", shop).stdout.decode()
    assert promoted == refused.stdout.decode()
    assert legacy not in promoted
    cluster.kubectl("apply", "-f", "-", input=promoted)
    installed.stop()

    def refuses(namespace: str, **made: Any) -> bool:
        answer = cluster.http.post(f"{path.format(namespace)}?dryRun=All", json=config_map(**made))
        assert answer.status_code in (201, 422), answer.text
        return bool(answer.status_code == 422)

    def denies() -> bool | None:
        both = refuses(shop, name="much-too-long-a-name", team=True), refuses(shop, name="x", team=False)
        return all(both) or None

    wait_for("both policies deny", denies, seconds=20)
    assert not refuses(shop, name="x", team=True)
    assert not refuses(legacy, name="much-too-long-a-name", team=False)

    # No evidence on cluster-scoped objects, so nothing is denied there, although the policy is about them too.
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": f"{shop}-role"}}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    assert cluster.http.post(f"{rbac}/clusterroles?dryRun=All", json=role).status_code == 201
    answer = cluster.http.post(f"{rbac}/namespaces/{shop}/roles?dryRun=All", json={**role, "kind": "Role"})
    assert answer.status_code == 422
    wouldblock(*promote, "--namespace", "", "--force")
    scoped = wouldblock("promote", TEAM, "--namespace", "", "--force", *flags).stdout.decode()
    cluster.kubectl("apply", "-f", "-", input=scoped)

    def denies_cluster_roles() -> bool | None:
        return cluster.http.post(f"{rbac}/clusterroles?dryRun=All", json=role).status_code == 422 or None

    wait_for("cluster-scoped objects are denied as well", denies_cluster_roles, seconds=20)
    assert not refuses(legacy, name="x", team=False)


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
