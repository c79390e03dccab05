"""The derived configuration at work: each policy sees each write once, in the version in which the API server's own
engine sees it; nothing else is sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plane.binaries import NEWEST, RELEASE
from tests.e2e.plane.cluster import Cluster, as_yaml, wait_for
from tests.e2e.plane.webhooks import Installation
from webhook.annotations import REVIEWED, WEBHOOK_NAME, decode

Make = Callable[..., Any]

FAILURES = "validation.policy.admission.k8s.io/validation_failure"
POLICIES = {"old": ["v1"], "new": ["v2"], "both": ["v1", "v2"]}
"""Policy → the versions of HorizontalPodAutoscaler that its rules name."""


def manifests(namespace: str, *, by_binding: bool) -> list[dict[str, Any]]:
    """Policies that always fail, and say which version they were shown. For one namespace, by policy or by binding."""
    made: list[dict[str, Any]] = []
    for stem, versions in POLICIES.items():
        name = f"{stem}.{namespace}"
        rule = {
            "apiGroups": ["autoscaling"],
            "apiVersions": versions,
            "operations": ["CREATE", "UPDATE"],
            "resources": ["horizontalpodautoscalers"],
        }
        validation = {"expression": "object == null", "messageExpression": f"'{stem} saw ' + object.apiVersion"}
        labels = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        constraints = {"resourceRules": [rule], **({} if by_binding else labels)}
        policy = {"matchConstraints": constraints, "validations": [validation]}
        binding = {
            "policyName": name,
            "validationActions": ["Audit"],
            **({"matchResources": labels} if by_binding else {}),
        }
        made += [_object("ValidatingAdmissionPolicy", name, policy)]
        made += [_object("ValidatingAdmissionPolicyBinding", name, binding)]
    return made


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def autoscaler(version: str, maximum: int) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"in-{version}"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": maximum},
    }


@pytest.fixture
def installed(
    cluster: Cluster, namespace: str, install: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    policies = tmp_path / "policies"
    policies.mkdir()
    text = as_yaml(manifests(namespace, by_binding=getattr(request, "param", "") == "by binding"))
    (policies / "policies.yaml").write_text(text)
    made: Installation = install("--policies", policies)
    made.register(probe=namespace)
    cluster.kubectl("apply", "-f", "-", input=text)
    yield made
    cluster.kubectl("delete", "-f", "-", input=text)


def write(cluster: Cluster, namespace: str, version: str, maximum: int, *, query: str = "") -> dict[str, str]:
    """Applies an autoscaler in a version; the annotations of its event."""
    identity = str(uuid.uuid4())
    path = f"/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers/in-{version}"
    answer = cluster.http.request(
        "PATCH",
        f"{path}?fieldManager=test{query}",
        content=json.dumps(autoscaler(version, maximum)),
        headers={"Audit-ID": identity, "Content-Type": "application/apply-patch+yaml"},
    )
    assert answer.status_code in (200, 201), answer.text
    annotations: dict[str, str] = cluster.audit_event(identity)["annotations"]
    return annotations


@pytest.mark.skipif(
    RELEASE != NEWEST, reason=f"Kubernetes {RELEASE}: validation_failure names only the first policy that failed"
)
@pytest.mark.parametrize("installed", ["by policy", "by binding"], indirect=True)
def test_each_policy_sees_each_write_once_in_the_servers_version(
    cluster: Cluster, namespace: str, installed: Installation
) -> None:
    entries = [hook["name"] for hook in installed.configuration()["webhooks"]]
    assert len(entries) > 1, "versions that policies name differently need entries of their own"

    def all_in_effect() -> bool:
        found = write(cluster, namespace, "v1", 2, query="&dryRun=All")
        return len(json.loads(found.get(FAILURES, "[]"))) == len(POLICIES)

    wait_for("the server's own policies are in effect", all_in_effect, seconds=20)
    for version in ("v1", "v2"):
        for maximum in (2, 3):
            annotations = write(cluster, namespace, version, maximum)
            server = sorted((each["policy"], each["message"]) for each in json.loads(annotations[FAILURES]))
            reviews = [each for name in entries if (each := decode(annotations, name=name)) is not None]
            ours = sorted((each.policy, each.message) for review in reviews for each in review.outcome.findings)
            assert ours == server
            assert len(server) == len(POLICIES)
            assert not [review for review in reviews if review.outcome.not_comparable]


def test_nothing_else_is_sent(cluster: Cluster, namespace: str, installed: Installation) -> None:
    """What no policy matches costs nobody anything: it is not reviewed at all."""
    before = installed.replicas[0].metric("wouldblock_reviews_total")
    # The probe of the registration was one; from here on:
    for name in ("a", "b", "c"):
        cluster.kubectl("create", "configmap", name, "-n", namespace)
        cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
    events = [each for each in cluster.audit_events(namespace=namespace) if each["objectRef"]["resource"] != "pods"]
    assert len(events) == 6
    assert not [each for each in events if f"{WEBHOOK_NAME}/{REVIEWED}" in each["annotations"]]
    assert installed.replicas[0].metric("wouldblock_reviews_total") == before > 0
