"""The harness itself: a cluster comes up, keeps its promises, and a second one lives beside it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.e2e.plane import binaries as lookup
from tests.e2e.plane.binaries import Binaries
from tests.e2e.plane.cluster import Cluster


def test_versions_are_the_pinned_ones(cluster: Cluster) -> None:
    """Both packages that hold a version were set: the server's answer, and kubectl's User-Agent."""
    assert cluster.http.get("/version").json()["gitVersion"] == f"v{lookup.KUBERNETES}"
    cluster.kubectl("create", "configmap", "agent", "--namespace=default")
    agents = {event["userAgent"] for event in cluster.audit_events() if event["verb"] == "create"}
    assert any(agent.startswith(f"kubectl/v{lookup.KUBERNETES} ") for agent in agents), agents


def test_a_request_is_found_in_the_log_by_its_own_id(cluster: Cluster, namespace: str) -> None:
    wanted = str(uuid.uuid4())
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert cluster.http.post(path, json=body, headers={"Audit-ID": wanted}).status_code == 201
    event = cluster.audit_event(wanted)
    assert event["objectRef"]["name"] == "a"
    assert event["user"]["username"] == "admin"
    assert event in cluster.audit_events(namespace=namespace)


def test_users_are_told_apart(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "b", f"--namespace={namespace}", user="developer")
    assert cluster.audit_events(namespace=namespace)[-1]["user"]["username"] == "developer"


def test_a_second_cluster(binaries: Binaries) -> None:
    """Starts beside the first, stops cleanly, and leaves no folder and no process."""
    second = Cluster(binaries).start()
    processes = [process for _, process in second._processes]
    try:
        second.kubectl("get", "namespaces")
    finally:
        second.stop()
    assert [process.poll() is not None for process in processes] == [True] * 2
    assert processes[1].returncode == 0
    assert not second.folder.exists()


def test_the_key_changes_with_the_toolchain() -> None:
    assert lookup.key("go version go1.26.8 linux/amd64") != lookup.key("go version go1.27.3 linux/amd64")


def test_assets_that_lack_a_program_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Instead of a build of minutes that nobody asked for; the message says what is missing and what to do."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(lookup.NoControlPlane, match=r"holds no kube-apiserver: unset KUBEBUILDER_ASSETS"):
        lookup.find(print)


def test_what_is_not_built_is_not_built_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("WOULDBLOCK_CACHE", str(tmp_path))
    with pytest.raises(lookup.NoControlPlane, match="make e2e-build"):
        lookup.find(print, build=False)
