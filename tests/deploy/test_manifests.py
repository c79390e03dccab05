"""The shipped manifests: derived ones are fresh, pods are restricted, and nothing in them can block a cluster.

That the API server accepts them, and that the guard holds, is shown in tests/e2e/test_deploy.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from webhook import review
from webhook.cli import main
from webhook.native.pod_security import PodSecurityConfig, policies
from webhook.policy import Context
from webhook.settings import rows
from webhook.state import EMPTY

Object = dict[str, Any]


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "deploy"


@pytest.fixture(scope="module")
def objects(deploy: Path) -> dict[str, Object]:
    """The objects of base by kind."""
    kustomization = yaml.safe_load((deploy / "base" / "kustomization.yaml").read_text())
    found = [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((deploy / "base" / name).read_text())
    ]
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


def test_every_file_of_base_is_used(deploy: Path) -> None:
    kustomization = yaml.safe_load((deploy / "base" / "kustomization.yaml").read_text())
    files = {path.name for path in (deploy / "base").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


@pytest.mark.parametrize(("flags", "name"), [([], "webhook-configuration.yaml"), (["--guard"], "guard.yaml")])
def test_derived_files_are_fresh(deploy: Path, flags: list[str], name: str) -> None:
    file = deploy / "base" / name
    command = ["webhook-config", *flags]
    assert main([*command, "--check", str(file)]) == 0, f"repair: wouldblock {' '.join(command)} > deploy/base/{name}"


def test_the_configuration_keeps_the_rules_of_a_webhook_that_never_harms(objects: dict[str, Object]) -> None:
    never = re.compile(
        r"\*|/status$|/binding$|^(nodes|leases|events|endpoints|endpointslices|secrets|bindings)\b|reviews$"
    )
    for hook in objects["ValidatingWebhookConfiguration"]["webhooks"]:
        assert hook["failurePolicy"] == "Ignore"
        assert hook["timeoutSeconds"] <= 2
        assert hook["sideEffects"] == "None"
        assert hook["admissionReviewVersions"] == ["v1"]
        assert hook["name"].count(".") >= 2
        assert not [each for rule in hook["rules"] for each in rule["resources"] if never.search(each)]
        (selector,) = hook["namespaceSelector"]["matchExpressions"]
        assert selector["operator"] == "NotIn"
        assert objects["Namespace"]["metadata"]["name"] in selector["values"]


def test_the_configuration_points_at_the_service(objects: dict[str, Object]) -> None:
    service = objects["Service"]
    for hook in objects["ValidatingWebhookConfiguration"]["webhooks"]:
        target = hook["clientConfig"]["service"]
        assert target["name"] == service["metadata"]["name"]
        assert target["namespace"] == service["metadata"]["namespace"]
        assert target["port"] in [port["port"] for port in service["spec"]["ports"]]


def test_selectors_select_the_pods(objects: dict[str, Object]) -> None:
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(
            each["labelSelector"]["matchLabels"]
            for each in objects["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    for selector in selectors:
        assert selector.items() <= labels


def test_two_pods_stay_while_one_goes(objects: dict[str, Object]) -> None:
    spec = objects["Deployment"]["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    drain = next(row for row in rows() if row.field == "drain_seconds")
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= float(drain.default) + 20


def test_no_token_and_no_role(objects: dict[str, Object]) -> None:
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert objects["Deployment"]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert not [kind for kind in objects if "Role" in kind]


def test_the_container_is_what_serve_expects(objects: dict[str, Object]) -> None:
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["serve"]
    settings = {row.environment: row for row in rows()}
    assert {each["name"] for each in container["env"]} <= set(settings)
    ports = {each["name"]: str(each["containerPort"]) for each in container["ports"]}
    assert ports == {
        "https": settings["WOULDBLOCK_PORT"].default,
        "metrics": settings["WOULDBLOCK_METRICS_PORT"].default,
    }
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    for each in container["env"]:
        assert str(Path(each["value"]).parent) in mounts
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert set(container["resources"]) == {"requests", "limits"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def violations(deployment: Object) -> list[str]:
    """What our own Pod Security pack, level restricted, says of a Deployment."""
    gvk = review.GroupVersionKind("apps", "v1", "Deployment")
    gvr = review.GroupVersionResource("apps", "v1", "deployments")
    request = review.Request(
        uid="u",
        kind=gvk,
        resource=gvr,
        namespace=deployment["metadata"]["namespace"],
        operation="CREATE",
        object=msgspec.Raw(msgspec.json.encode(deployment)),
    )
    context = Context(request, state=EMPTY, clock=lambda: 0.0, deadline=1.0)
    found = [policy.run(context) for policy in policies(PodSecurityConfig(level="restricted"))]
    assert any(verdict is not None for verdict in found)
    return [finding.message for verdict in found if verdict for finding in verdict.findings]


def test_the_pods_pass_our_own_pod_security(objects: dict[str, Object]) -> None:
    assert violations(objects["Deployment"]) == []
    worse = yaml.safe_load(yaml.safe_dump(objects["Deployment"]))
    worse["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert violations(worse) != []
    labels = objects["Namespace"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


def test_the_guard_guards_this_configuration(objects: dict[str, Object]) -> None:
    (rule,) = objects["ValidatingAdmissionPolicy"]["spec"]["matchConstraints"]["resourceRules"]
    assert rule["resourceNames"] == [objects["ValidatingWebhookConfiguration"]["metadata"]["name"]]
    assert objects["ValidatingAdmissionPolicyBinding"]["spec"]["validationActions"] == ["Deny"]


def test_the_audit_policy_keeps_no_contents_and_every_write_that_is_reviewed(
    deploy: Path, objects: dict[str, Object]
) -> None:
    policy = yaml.safe_load((deploy / "audit-policy.yaml").read_text())
    assert policy["kind"] == "Policy"
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    for hook in objects["ValidatingWebhookConfiguration"]["webhooks"]:
        for rule in hook["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    assert level(policy, group, resource, "create") == "Metadata", (group, resource)
    assert level(policy, "", "pods/exec", "get") == "Metadata"
    assert level(policy, "coordination.k8s.io", "leases", "update") == "None"
    assert level(policy, "apps", "deployments/status", "update") == "None"
    assert level(policy, "", "secrets", "get") == "None"


def level(policy: Object, group: str, resource: str, verb: str) -> str:
    """The first rule that matches, as the API server reads them."""
    name, _, subresource = resource.partition("/")
    for rule in policy["rules"]:
        if "verbs" in rule and verb not in rule["verbs"]:
            continue
        if "resources" in rule and not any(
            group == each["group"]
            and (
                not each.get("resources")
                or resource in each["resources"]
                or (subresource and f"*/{subresource}" in each["resources"])
                or f"{name}/*" in each["resources"]
            )
            for each in rule["resources"]
        ):
            continue
        return str(rule["level"])
    return "None"


def test_keys_never_get_into_git_or_the_image(deploy: Path) -> None:
    assert "*.key" in (deploy / "overlays" / "certificates" / ".gitignore").read_text().splitlines()
    assert "**/*.key" in (deploy / "Dockerfile.dockerignore").read_text().splitlines()


def test_the_image_installs_by_hash_and_runs_as_nobody(deploy: Path) -> None:
    lines = (deploy / "Dockerfile").read_text().splitlines()
    assert all("--require-hashes" in line for line in lines if "-r requirements/" in line)
    assert "USER 65532:65532" in lines
    assert len([line for line in lines if line.startswith("FROM ")]) == 2
