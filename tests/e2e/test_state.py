"""What the webhook is told of the cluster, and what it admits unseen: on a real server, by kubectl's own files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.plane.cluster import Cluster
from tests.e2e.plane.webhooks import Installation, wouldblock
from webhook.annotations import Reviewed, decode

Make = Callable[..., Any]

VIOLATIONS = "pod-security.kubernetes.io/audit-violations"


def create(cluster: Cluster, namespace: str, name: str) -> tuple[httpx.Response, dict[str, str]]:
    """Creates a privileged pod; the answer, and the annotations of its event."""
    container = {"name": "app", "image": "registry.example/app:1", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
    headers = {"Audit-ID": str(uuid.uuid4())}
    answer = cluster.http.post(f"/api/v1/namespaces/{namespace}/pods", json=pod, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer, cluster.audit_event(headers["Audit-ID"])["annotations"]


def read(annotations: dict[str, str]) -> Reviewed:
    found = decode(annotations)
    assert found is not None, annotations
    return found


def test_labels_of_namespaces_from_a_snapshot(
    cluster: Cluster, new_namespace: Make, install: Make, tmp_path: Path
) -> None:
    """Where the snapshot has the labels, our text is the server's own and shown once; elsewhere the level is ours."""
    level = {"pod_security.kubernetes.io/warn": "baseline", "pod_security.kubernetes.io/audit": "baseline"}
    labelled, plain = new_namespace(**level), new_namespace()
    snapshot = tmp_path / "namespaces.yaml"
    snapshot.write_text(cluster.kubectl("get", "namespaces", "-o", "yaml").stdout)
    unknown = new_namespace(**level)
    installed: Installation = install("--snapshot", snapshot)
    installed.register(probe=plain)

    answer, annotations = create(cluster, labelled, "known")
    assert VIOLATIONS in annotations
    warnings = answer.headers.get_list("warning")
    assert [warning for warning in warnings if "would violate PodSecurity" in warning] == warnings[:1]
    assert "baseline:latest" in warnings[0].replace("\\", "")
    known = read(annotations)
    notes = dict(known.outcome.notes)
    assert known.outcome.snapshot

    _, annotations = create(cluster, unknown, "unknown")
    assert dict(read(annotations).outcome.notes) != notes, "labels that nobody told us of were guessed"


def test_what_is_shed_is_admitted_and_counted(cluster: Cluster, namespace: str, install: Make) -> None:
    """A webhook that has no time at all: every write goes through at once, unseen, and the log says so."""
    installed: Installation = install("--max-wait-ms", "0.000001")
    installed.register(probe=namespace)
    for number in range(3):
        answer, annotations = create(cluster, namespace, f"pod-{number}")
        assert "warning" not in answer.headers
        assert read(annotations).outcome.incomplete == "shed"
        assert not [key for key in annotations if key.startswith("failed-open")]
    assert installed.replicas[0].metric("wouldblock_incomplete_total", reason="shed") >= 3
    report = json.loads(
        wouldblock(
            *("readiness", cluster.audit_log, "--namespace", namespace, "--policy", "pod-security-baseline"),
            *("--output", "json", "--min-window", "0s", "--min-writes", "1"),
            codes=(1,),
        ).stdout
    )
    (row,) = report["verdicts"]
    assert (row["verdict"], row["gaps"]["incomplete"]) == ("blind", 3)
