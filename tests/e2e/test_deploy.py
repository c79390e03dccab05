"""deploy/ on a real API server: every object is accepted, and the guard stops each bad change and no good one.

In a cluster of its own, with `deploy/audit-policy.yaml` as its audit policy: the guard pins the object `wouldblock`,
which other tests register as they like.
"""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.plane.binaries import Binaries
from tests.e2e.plane.cluster import Cluster, wait_for
from tests.e2e.plane.webhooks import CONFIGURATIONS, wouldblock

Object = dict[str, Any]
Change = Callable[[Object], object]

CONFIGURATION = "validatingwebhookconfiguration/wouldblock"


@pytest.fixture(scope="module")
def overlay(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of deploy/ with certificates where its README says that they go."""
    copied = tmp_path_factory.mktemp("deploy") / "deploy"
    shutil.copytree(root / "deploy", copied)
    overlay = copied / "overlays" / "certificates"
    wouldblock("certs", "issue", "--out", overlay)
    return overlay


@pytest.fixture(scope="module")
def installed(binaries: Binaries, root: Path, overlay: Path) -> Iterator[Cluster]:
    """The installation of the README, in its order."""
    policy = (root / "deploy" / "audit-policy.yaml").read_text()
    plane = Cluster(
        binaries,
        flags=("--audit-policy-file={folder}/shipped-audit-policy.yaml",),
        files={"shipped-audit-policy.yaml": policy},
    )
    try:
        plane.start()
        plane.kubectl("apply", "-k", str(overlay), "-l", "app.kubernetes.io/component!=registration")
        assert plane.kubectl("get", CONFIGURATION, check=False).returncode == 1, "registered before the pods are ready"
        plane.kubectl("apply", "-k", str(overlay))
        wait_for("the guard is active", lambda: _refused(plane, lambda hook: hook.update(failurePolicy="Fail")))
        yield plane
    finally:
        plane.stop()


def _live(cluster: Cluster) -> Object:
    """The configuration as it is stored."""
    found: Object = cluster.http.get(f"{CONFIGURATIONS}/wouldblock").json()
    return found


def _changed(cluster: Cluster, configuration: Object, change: Change) -> str:
    """What the API server says of a changed configuration: nothing if it is accepted. Nothing is stored."""
    changed = copy.deepcopy(configuration)
    change(changed)
    if "resourceVersion" in changed["metadata"]:
        answer = cluster.http.put(f"{CONFIGURATIONS}/wouldblock?dryRun=All", json=changed)
    else:
        answer = cluster.http.post(f"{CONFIGURATIONS}?dryRun=All", json=changed)
    return "" if answer.is_success else str(answer.json()["message"])


def _refused(cluster: Cluster, change: Change) -> bool:
    return "wouldblock-guard" in _changed(cluster, _live(cluster), first(change))


def first(change: Change) -> Change:
    """The change, applied to the first entry."""
    return lambda configuration: change(configuration["webhooks"][0])


def service(**fields: Any) -> Change:
    return first(lambda hook: hook["clientConfig"]["service"].update(fields))


def rule(change: Change) -> Change:
    return first(lambda hook: change(hook["rules"][0]))


EVERYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}

BAD: dict[str, tuple[Change, str]] = {
    "fail": (first(lambda hook: hook.update(failurePolicy="Fail")), "failurePolicy must stay Ignore"),
    "failurePolicy left to its default": (first(lambda hook: hook.pop("failurePolicy")), "failurePolicy must stay"),
    "timeout 3": (first(lambda hook: hook.update(timeoutSeconds=3)), "timeoutSeconds must be at most 2"),
    "timeout 30": (first(lambda hook: hook.update(timeoutSeconds=30)), "timeoutSeconds must be at most 2"),
    "timeout left to its default": (first(lambda hook: hook.pop("timeoutSeconds")), "timeoutSeconds must be at most"),
    "url": (first(lambda hook: hook.update(clientConfig={"url": "https://elsewhere.example/"})), "and no url"),
    "other service": (service(name="other"), "clientConfig.service must stay"),
    "other namespace": (service(namespace="other"), "clientConfig.service must stay"),
    "other path": (service(path="/deny"), "clientConfig.service must stay"),
    "no path": (first(lambda hook: hook["clientConfig"]["service"].pop("path")), "clientConfig.service must stay"),
    "other port": (service(port=8443), "clientConfig.service must stay"),
    "everything": (first(lambda hook: hook["rules"].append(EVERYTHING)), "must stay as the policies need"),
    "one more resource": (rule(lambda each: each["resources"].append("secrets")), "rules[].resources must stay"),
    "all groups": (rule(lambda each: each.update(apiGroups=["*"])), "rules[].apiGroups must stay"),
    "all versions": (rule(lambda each: each.update(apiVersions=["*"])), "rules[].apiVersions must stay"),
    "one more operation": (rule(lambda each: each["operations"].append("DELETE")), "rules[].operations must stay"),
    "other scope": (rule(lambda each: each.update(scope="Cluster")), "rules[].scope must stay"),
    "one rule less": (first(lambda hook: hook["rules"].pop()), "must stay as the policies need"),
    "no rules": (first(lambda hook: hook.pop("rules")), "must stay as the policies need"),
    "side effects": (first(lambda hook: hook.update(sideEffects="NoneOnDryRun")), "sideEffects must stay None"),
    "review versions": (
        first(lambda hook: hook.update(admissionReviewVersions=["v1", "v1beta1"])),
        "admissionReviewVersions must stay",
    ),
    "match policy": (first(lambda hook: hook.update(matchPolicy="Exact")), "matchPolicy must stay"),
    "one more webhook": (
        lambda each: each["webhooks"].append({**each["webhooks"][0], "name": "more.check.wouldblock.dev"}),
        "the number and names of webhooks must stay",
    ),
    "other name": (first(lambda hook: hook.update(name="check.example.dev")), "the number and names of webhooks"),
    "no webhooks": (lambda each: each.pop("webhooks"), "the number and names of webhooks must stay"),
    "one more condition": (
        first(lambda hook: hook["matchConditions"].append({"name": "never", "expression": "false"})),
        "matchConditions must stay",
    ),
    "other condition": (
        first(lambda hook: hook["matchConditions"][0].update(expression="false")),
        "matchConditions must stay",
    ),
    "no conditions": (first(lambda hook: hook.pop("matchConditions")), "matchConditions must stay"),
    "no namespace excluded": (first(lambda hook: hook.pop("namespaceSelector")), "namespaceSelector must stay"),
    "one more namespace excluded": (
        first(lambda hook: hook["namespaceSelector"]["matchExpressions"][0]["values"].append("shop")),
        "namespaceSelector must stay",
    ),
    "namespaces by label": (
        first(lambda hook: hook["namespaceSelector"].update(matchLabels={"a": "b"})),
        "must stay empty",
    ),
    "objects by label": (
        first(lambda hook: hook.update(objectSelector={"matchLabels": {"a": "b"}})),
        "must stay empty",
    ),
    "objects by expression": (
        first(
            lambda hook: hook.update(objectSelector={"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]})
        ),
        "must stay empty",
    ),
}


def _other_ca(hook: Object) -> None:
    """A CA that is not ours, but is one: it makes reviews fail open, which the guard need not stop."""
    found = base64.b64decode(hook["clientConfig"]["caBundle"])
    hook["clientConfig"]["caBundle"] = base64.b64encode(found + found).decode()


GOOD: dict[str, Change] = {
    "nothing": lambda each: None,
    "shorter timeout": first(lambda hook: hook.update(timeoutSeconds=1)),
    "other CA": first(_other_ca),
    "no CA": first(lambda hook: hook["clientConfig"].pop("caBundle")),
    "a label": lambda each: each["metadata"]["labels"].update(team="platform"),
}


@pytest.mark.parametrize("bad", BAD)
def test_the_guard_stops_each_bad_change(installed: Cluster, bad: str) -> None:
    """By its own message, which tells a refusal from an error in an expression."""
    change, says = BAD[bad]
    said = _changed(installed, _live(installed), change)
    assert "ValidatingAdmissionPolicy 'wouldblock-guard' with binding 'wouldblock-guard' denied request" in said
    assert says in said
    assert "resulted in error" not in said


@pytest.mark.parametrize("good", GOOD)
def test_the_guard_lets_good_changes_pass(installed: Cluster, good: str) -> None:
    assert _changed(installed, _live(installed), GOOD[good]) == ""


def test_the_guard_holds_when_the_configuration_is_made_anew(installed: Cluster) -> None:
    """Deleting is allowed, so that the webhook can be removed; creating a worse one is not."""
    stored = _live(installed)
    fresh = {**stored, "metadata": {key: stored["metadata"][key] for key in ("name", "labels")}}
    installed.kubectl("delete", CONFIGURATION)
    try:
        for name, (change, says) in BAD.items():
            assert says in _changed(installed, fresh, change), name
        for name, good in GOOD.items():
            assert _changed(installed, fresh, good) == "", name
    finally:
        installed.http.post(CONFIGURATIONS, json=fresh).raise_for_status()


def test_the_guard_is_about_our_configuration_alone(installed: Cluster) -> None:
    other = _live(installed)
    other["metadata"] = {"name": "somebody-elses"}
    other["webhooks"][0]["failurePolicy"] = "Fail"
    assert installed.http.post(f"{CONFIGURATIONS}?dryRun=All", json=other).status_code == 201


def test_what_is_installed_is_what_the_policies_need(installed: Cluster, overlay: Path) -> None:
    """`--check` reads the cluster's own copy, with the server's defaults and the CA of the overlay."""
    live = installed.kubectl("get", CONFIGURATION, "-o", "yaml").stdout.encode()
    wouldblock("webhook-config", "--ca-file", overlay / "ca.crt", "--check", "-", input=live)
    kinds = ("validatingadmissionpolicy/wouldblock-guard", "validatingadmissionpolicybinding/wouldblock-guard")
    live = installed.kubectl("get", *kinds, "-o", "yaml").stdout.encode()
    wouldblock("webhook-config", "--guard", "--check", "-", input=live)


def test_the_secret_holds_the_pair_and_not_the_key_of_the_ca(installed: Cluster, overlay: Path) -> None:
    secret = json.loads(
        installed.kubectl("get", "secret/wouldblock-tls", "-n", "wouldblock-system", "-o", "json").stdout
    )
    assert {name: base64.b64decode(value) for name, value in secret["data"].items()} == {
        name: (overlay / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")
    }


def test_the_pods_are_accepted_where_restricted_is_enforced(installed: Cluster, overlay: Path) -> None:
    """The pod of the Deployment's template, since no controller is here to make it."""
    deployment = json.loads(
        installed.kubectl("get", "deployment/wouldblock", "-n", "wouldblock-system", "-o", "json").stdout
    )
    pod = {"apiVersion": "v1", "kind": "Pod", **deployment["spec"]["template"]}
    pod["metadata"] = {"name": "wouldblock-0", "labels": pod["metadata"]["labels"]}
    run = installed.kubectl("create", "--dry-run=server", "-n", "wouldblock-system", "-f", "-", input=pod)
    assert run.stderr == ""
    pod["spec"]["hostNetwork"] = True
    worse = installed.kubectl(
        "create", "--dry-run=server", "-n", "wouldblock-system", "-f", "-", input=pod, check=False
    )
    assert "violates PodSecurity" in worse.stderr


def test_the_shipped_audit_policy_keeps_what_readiness_reads(installed: Cluster) -> None:
    """Failed-open is recorded, since no webhook answers here; contents are not."""
    installed.namespace("audited")
    event = installed.dry_run("audited")
    assert "check.wouldblock.dev" in event["annotations"].values(), event["annotations"]
    assert event["level"] == "Metadata"
    assert "requestObject" not in event
    installed.kubectl("get", "secrets", "-A")
    verbs = {each["verb"] for each in installed.audit_events()}
    assert not verbs & {"get", "list", "watch"}


def test_other_policies_with_several_entries_are_guarded_as_well(installed: Cluster, tmp_path: Path) -> None:
    """Two versions of one resource and a custom one make three entries; the guard for them is accepted and holds."""
    rules = {
        "old": ("autoscaling", "v1", "horizontalpodautoscalers"),
        "new": ("autoscaling", "v2", "horizontalpodautoscalers"),
        "custom": ("example.com", "v1", "widgets"),
    }
    documents = [
        document
        for name, (group, version, resource) in rules.items()
        for document in (_policy(name, group, version, resource), _binding(name))
    ]
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    flags = ("--policies", file, "--name", "several")
    guard = wouldblock("webhook-config", *flags, "--guard").stdout.decode().replace("wouldblock-guard", "several-guard")
    configuration = yaml.safe_load(wouldblock("webhook-config", *flags).stdout)
    names = [hook["name"] for hook in configuration["webhooks"]]
    assert names == ["check.wouldblock.dev", "exact.check.wouldblock.dev", "v2.check.wouldblock.dev"]
    installed.kubectl("apply", "-f", "-", input=guard)
    worse = copy.deepcopy(configuration)
    worse["webhooks"][2]["failurePolicy"] = "Fail"

    def refused() -> bool:
        run = installed.kubectl("create", "--dry-run=server", "-f", "-", input=worse, check=False)
        return "failurePolicy must stay Ignore" in run.stderr

    wait_for("the second guard is active", refused)
    installed.kubectl("create", "--dry-run=server", "-f", "-", input=configuration)


def _policy(name: str, group: str, version: str, resource: str) -> Object:
    rule = {"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]},
    }


def _binding(name: str) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Warn", "Audit"]},
    }
