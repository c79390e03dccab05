"""The tickets of a real cluster: opened by what controllers and people write, closed when it is mended, and not before.

With the real controllers, which make ReplicaSets and pods of a Deployment, and keep writing those of its old template;
with the webhook down in between; with a real Alertmanager that hears of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.plane import alertmanager
from tests.e2e.plane.binaries import CHECKOUT, Binaries
from tests.e2e.plane.cluster import Cluster, wait_for
from tests.e2e.plane.webhooks import Installation, wouldblock
from webhook.audit.tickets.document import MARKER

POLICY = "pod-security-baseline"


def deployment(name: str, *, privileged: bool, mark: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": "app", "image": "registry.example/app:1"}
    if privileged:
        container["securityContext"] = {"privileged": True}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"example.dev/mark": mark}},
        "spec": {
            "replicas": 2,
            # The old ReplicaSet is scaled down, as a kubelet's ready pods would have it, and violates on.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


@pytest.fixture
def controlled(binaries: Binaries) -> Iterator[Cluster]:
    """A cluster of its own with the controller-manager."""
    if not binaries.has("kube-controller-manager"):
        pytest.skip("KUBEBUILDER_ASSETS holds no kube-controller-manager: tickets of what controllers write NOT tested")
    made = Cluster(binaries, controllers=True)
    try:
        yield made.start()
    finally:
        made.stop()


class Tickets:
    """The command, over one log into one folder."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str | Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.arguments = ("--out", folder, *arguments)

    def run(self, *more: str, codes: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
        run = wouldblock("tickets", self.cluster.audit_log, *self.arguments, *more, "--output", "json", codes=codes)
        said: dict[str, Any] = json.loads(run.stdout)
        return said

    def of(self, policy: str, namespace: str) -> tuple[Path, dict[str, Any]]:
        """(file, front matter) of the only such ticket."""
        found = [
            (path, front)
            for path in self.folder.glob("*.md")
            if (front := yaml.safe_load(path.read_text().split("---\n")[1]))["policy"] == policy
            and front.get("namespace", "") == namespace
        ]
        assert len(found) == 1, [str(path) for path, _ in found]
        return found[0]

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def kinds(said: dict[str, Any], policy: str = POLICY) -> list[str]:
    return [each["kind"] for each in said["changes"] if each["ticket"]["policy"] == policy]


def test_opened_kept_open_while_blind_closed_and_reopened(
    controlled: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for namespace in ("shop", "probing"):
        controlled.namespace(namespace)
    with capfd.disabled():
        programs = alertmanager.find(lambda line: print(f"alertmanager: {line}", file=sys.stderr, flush=True))
    (tmp_path / "alertmanager").mkdir()
    with alertmanager.running(programs, tmp_path / "alertmanager") as (address, receiver):
        tickets = Tickets(controlled, tmp_path / "tickets", "--alertmanager", address)
        installed = Installation(controlled, tmp_path)
        try:
            wait_for(
                "a pod may be created",
                lambda: controlled.dry_run("probing")["responseStatus"]["code"] == 201,
                seconds=60,
            )
            installed.register(probe="probing")
            _life(controlled, installed, tickets, receiver)
        finally:
            installed.stop()


def _life(cluster: Cluster, installed: Installation, tickets: Tickets, receiver: alertmanager.Receiver) -> None:
    # The probes were dry runs of a pod that violates much.
    assert tickets.run("--plan", codes=(0,))["changes"] == []

    apply(cluster, deployment("web", privileged=True))
    wait_for("pods of web", lambda: len(_writes(cluster, "pods", "create")) == 2, seconds=60)
    planned = tickets.run("--plan", codes=(1,))
    assert kinds(planned) == ["create"]
    assert not tickets.folder.exists()
    opened = tickets.run(codes=(1,))
    assert [each["ticket"] | {"opened": 0, "due": 0} for each in opened["changes"]] == [
        each["ticket"] | {"opened": 0, "due": 0} for each in planned["changes"]
    ]
    path, front = tickets.of(POLICY, "shop")
    assert (front["state"], front["template"], front["priority"]) == ("open", "security_remediation", "critical")
    (workload,) = front["workloads"]
    assert (workload["kind"], workload["name"], workload["status"]) == ("Deployment", "web", "open")
    assert set(workload["parts"]) == {"deployments", "replicasets", "pods"}
    assert workload["client"] == "kubectl"
    events = {each["auditID"] for each in cluster.audit_events()}
    assert set(workload["audit_ids"]) <= events
    assert front["coverage"]["reviewed"] == front["coverage"]["writes"], front["coverage"]
    assert {
        each["namespace"]
        for each in (yaml.safe_load(p.read_text().split("---\n")[1]) for p in tickets.folder.glob("*.md"))
    } == {"shop"}
    wait_for("the pager is told", lambda: receiver.told("firing", front["fingerprint"]))
    assert accepted(tickets, path) == 1

    # The same log again, and one with nothing new in it for the ticket: no file changes.
    before = tickets.contents()
    assert set(kinds(tickets.run(codes=(1,)))) == {"none"}
    assert tickets.contents() == before

    # Mended while the webhook was down: nobody saw it.
    (replica,) = installed.replicas
    installed.remove(replica)
    replica.stop()
    apply(cluster, deployment("web", privileged=False))
    wait_for("pods of the new template", lambda: len(_writes(cluster, "pods", "create")) >= 3, seconds=60)
    assert kinds(tickets.run(codes=(1,))) == ["update"]
    path, front = tickets.of(POLICY, "shop")
    (workload,) = front["workloads"]
    assert (front["state"], workload["status"]) == ("open", "unproven")
    assert "failed_open" in workload["why"]
    assert not receiver.told("resolved", front["fingerprint"])
    assert accepted(tickets, path) == 1

    # Up again: the next write is the proof, whatever the controllers do with what is left of the old template.
    installed.add_replica()
    wait_for("the webhook reviews again", lambda: installed._reviewed("probing", "check.wouldblock.dev"), seconds=30)
    path.write_text(path.read_text() + "\nMended by hand.\n")
    apply(cluster, deployment("web", privileged=False, mark="again"))
    closed = tickets.run()
    assert kinds(closed) == ["close"], path.read_text()
    path, front = tickets.of(POLICY, "shop")
    assert (front["state"], front["workloads"][0]["status"]) == ("closed", "fixed")
    assert path.read_text().partition(MARKER)[2].endswith("\nMended by hand.\n")
    wait_for("the pager is told that it is over", lambda: receiver.told("resolved", front["fingerprint"]))
    assert accepted(tickets, path) == 0
    assert kinds(tickets.run()) == ["none"]
    # What is left of the old template is touched, and is as bad as it was: no news of the Deployment.
    (old, *_) = [each["objectRef"]["name"] for each in _writes(cluster, "replicasets", "create")]
    cluster.kubectl("annotate", "replicaset", old, "-n", "shop", "example.dev/touched=yes")
    (touched,) = [
        each
        for each in cluster.audit_events(namespace="shop")
        if each["userAgent"].startswith("kubectl")
        and each["objectRef"]["resource"] == "replicasets"
        and each["verb"] == "patch"
    ]
    assert POLICY in touched["annotations"]["check.wouldblock.dev/violations"]
    assert kinds(tickets.run()) == ["none"]

    # It comes back, and goes with the Deployment.
    apply(cluster, deployment("web", privileged=True, mark="worse"))
    assert kinds(tickets.run(codes=(1,))) == ["reopen"]
    assert tickets.of(POLICY, "shop")[1]["reopened"] == "1" or tickets.of(POLICY, "shop")[1]["reopened"] == 1
    cluster.kubectl("delete", "deployment", "web", "-n", "shop", "--wait=true")
    assert kinds(tickets.run()) == ["close"]
    path, front = tickets.of(POLICY, "shop")
    assert front["workloads"][0]["status"] == "gone"
    assert {each["kind"] for each in tickets.run(codes=(0,))["changes"]} == {"none"}


def apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-n", "shop", "-f", "-", input=manifest, user="developer")


def accepted(tickets: Tickets, path: Path) -> int:
    """The exit code of what the ticket itself says is the proof, run as a person would."""
    command = re.search(r"```sh\n(.*)\n", path.read_text())
    assert command is not None
    assert command[1].startswith("wouldblock tickets ")
    environment = {**os.environ, "AUDIT_LOG": str(tickets.cluster.audit_log), "TICKETS": str(tickets.folder)}
    script = f'wouldblock() {{ "{sys.executable}" -m webhook "$@"; }}\n{command[1]}'
    run = subprocess.run(["sh", "-c", script], cwd=CHECKOUT, env=environment, capture_output=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    return run.returncode


def _writes(cluster: Cluster, resource: str, verb: str) -> list[dict[str, Any]]:
    return [
        event
        for event in cluster.audit_events(namespace="shop")
        if (event["verb"], event["objectRef"]["resource"]) == (verb, resource)
        and "subresource" not in event["objectRef"]
        and "dryRun" not in event["requestURI"]
        and event["responseStatus"]["code"] == 201
    ]
