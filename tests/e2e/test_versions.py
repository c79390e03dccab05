"""Policies that name different versions of one resource: each is asked about every write, once, in its own version.

As the API server asks the same policies: its `validation_failure` annotation and ours name the same findings.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.plane.binaries import NEWEST, RELEASE
from tests.e2e.plane.cluster import Cluster, Event, wait_for
from tests.e2e.plane.webhooks import Installation
from webhook.annotations import WEBHOOK_NAME, decode

VERSIONS = {"old": ["v1"], "new": ["v2"], "both": ["v1", "v2"], "exact": ["v2"]}
"""Policy → the versions of autoscaling that it names."""


def manifests(prefix: str) -> list[dict[str, Any]]:
    """Policies that forbid every HorizontalPodAutoscaler, and say in which version they were shown it."""
    found: list[dict[str, Any]] = []
    for name, versions in VERSIONS.items():
        full = f"{prefix}-{name}"
        rule = {
            "apiGroups": ["autoscaling"],
            "apiVersions": versions,
            "operations": ["CREATE"],
            "resources": ["horizontalpodautoscalers"],
        }
        found.append(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": full},
                "spec": {
                    "matchConstraints": {
                        "matchPolicy": "Exact" if name == "exact" else "Equivalent",
                        "resourceRules": [rule],
                    },
                    "validations": [{"expression": "false", "messageExpression": "string(object.apiVersion)"}],
                },
            }
        )
        found.append(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": full},
                "spec": {"policyName": full, "validationActions": ["Audit"]},
            }
        )
    return found


@pytest.mark.skipif(
    RELEASE != NEWEST, reason=f"Kubernetes {RELEASE}: validation_failure names only the first policy that failed"
)
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("v1", {"old": "autoscaling/v1", "new": "autoscaling/v2", "both": "autoscaling/v1"}),
        (
            "v2",
            {
                "old": "autoscaling/v1",
                "new": "autoscaling/v2",
                "both": "autoscaling/v2",
                "exact": "autoscaling/v2",
            },
        ),
    ],
)
def test_each_policy_sees_each_write_in_its_own_version(
    cluster: Cluster,
    namespace: str,
    install: Callable[..., Installation],
    tmp_path: Path,
    written: str,
    expected: dict[str, str],
) -> None:
    prefix = f"versions-{written}"
    objects = manifests(prefix)
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    installed = install("--policies", file)
    assert [hook["name"] for hook in installed.configuration()["webhooks"]] == [WEBHOOK_NAME, f"v2.{WEBHOOK_NAME}"]
    installed.register(probe=namespace)
    cluster.kubectl("apply", "-f", "-", input=objects)
    try:
        event = wait_for(
            "the API server asks the policies itself",
            lambda: (
                event if len(server(event := create(cluster, namespace, written), prefix)) >= len(expected) else None
            ),
        )
    finally:
        cluster.kubectl("delete", "-f", "-", input=objects)
    assert server(event, prefix) == expected
    assert ours(event, prefix) == expected


def create(cluster: Cluster, namespace: str, version: str) -> Event:
    """The audit event of a HorizontalPodAutoscaler, written in `version` and not stored."""
    audit_id = str(uuid.uuid4())
    manifest = {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"}},
    }
    path = f"/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers?dryRun=All"
    cluster.http.post(path, json=manifest, headers={"Audit-ID": audit_id}).raise_for_status()
    return cluster.audit_event(audit_id)


def server(event: Event, prefix: str) -> dict[str, str]:
    """Policy → message, as the API server's own policies recorded them."""
    text = event.get("annotations", {}).get("validation.policy.admission.k8s.io/validation_failure", "[]")
    return {each["policy"].removeprefix(f"{prefix}-"): each["message"] for each in json.loads(text)}


def ours(event: Event, prefix: str) -> dict[str, str]:
    """Policy → message over all entries; none may speak twice."""
    found: dict[str, str] = {}
    for name in (WEBHOOK_NAME, f"v2.{WEBHOOK_NAME}"):
        reviewed = decode(event["annotations"], name=name)
        assert reviewed is not None, f"{name} did not review this write"
        assert reviewed.outcome.not_comparable == (), "whoever was asked was shown the version that the server shows"
        for finding in reviewed.outcome.findings:
            short = finding.policy.removeprefix(f"{prefix}-")
            assert short not in found
            found[short] = finding.message
    return found
