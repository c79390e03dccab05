"""What controllers write: pods with generated names, known in the log by their owner; and nobody is warned of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.plane.binaries import Binaries
from tests.e2e.plane.cluster import Cluster, Event, wait_for
from tests.e2e.plane.webhooks import Installation, wouldblock
from webhook.annotations import WEBHOOK_NAME, Reviewed, decode

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: app, image: "registry.example/app:1", securityContext: {privileged: true}}]}
"""


@pytest.fixture
def controlled(binaries: Binaries) -> Iterator[Cluster]:
    """A cluster of its own with the controller-manager."""
    if not binaries.has("kube-controller-manager"):
        pytest.skip("KUBEBUILDER_ASSETS holds no kube-controller-manager: what controllers write was NOT tested")
    made = Cluster(binaries, controllers=True)
    try:
        yield made.start()
    finally:
        made.stop()


def test_a_deployment_and_its_pods(controlled: Cluster, tmp_path: Path) -> None:
    controlled.namespace("shop")
    installed = Installation(controlled, tmp_path)
    try:
        # The controller-manager makes the ServiceAccount without which no pod is created.
        wait_for(
            "a pod may be created", lambda: controlled.dry_run("shop")["responseStatus"]["code"] == 201, seconds=60
        )
        installed.register(probe="shop")
        run = controlled.kubectl("apply", "-n", "shop", "-f", "-", input=DEPLOYMENT, user="developer")
        assert "Warning: " in run.stderr
        pods = wait_for(
            "three pods", lambda: made if len(made := _created(controlled, "pods")) == 3 else None, seconds=60
        )
        (replica_set,) = _created(controlled, "replicasets")
    finally:
        installed.stop()

    assert _review(replica_set).outcome.owner == "Deployment/shop"
    names = [each["metadata"]["name"] for each in _pods(controlled)]
    for event in pods:
        review = _review(event)
        assert "name" not in event["objectRef"], "the server has learnt to log generated names: attribution can use it"
        assert review.outcome.owner == f"ReplicaSet/{replica_set['objectRef']['name']}"
        assert {finding.policy for finding in review.outcome.findings} >= {"pod-security-baseline"}
        ours = [value for key, value in event["annotations"].items() if key.startswith(f"{WEBHOOK_NAME}/")]
        assert not [name for name in names if name in "".join(ours)], "a generated name differs between retries"

    # Readiness counts the workload, not its pods.
    report = json.loads(
        wouldblock(
            *("readiness", controlled.audit_log, "--namespace", "shop", "--policy", "pod-security-baseline"),
            *("--output", "json", "--min-window", "0s"),
            codes=(1,),
        ).stdout
    )
    (row,) = report["verdicts"]
    assert row["verdict"] == "fix first"
    assert row["open"] == 1
    assert row["last_violation"]["workload"] == "Deployment/shop"


def _created(cluster: Cluster, resource: str) -> list[Event]:
    return [
        event
        for event in cluster.audit_events(namespace="shop")
        if (event["verb"], event["objectRef"]["resource"]) == ("create", resource)
        and "subresource" not in event["objectRef"]
        and "dryRun" not in event["requestURI"]
        and event["responseStatus"]["code"] == 201
    ]


def _review(event: Event) -> Reviewed:
    found = decode(event["annotations"])
    assert found is not None, event
    return found


def _pods(cluster: Cluster) -> list[Event]:
    found: list[Event] = cluster.http.get("/api/v1/namespaces/shop/pods").json()["items"]
    return found
