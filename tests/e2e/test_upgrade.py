"""`upgrade` on a real API server's log; and its table of lifecycles against the source of Kubernetes' API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.plane.binaries import MODULE, go_command, go_environment
from tests.e2e.plane.cluster import Cluster
from tests.e2e.plane.webhooks import wouldblock
from webhook.audit.lifecycle import KNOWN

FILES_ONLY = {"deploymentrollbacks", "scales", "evictions", "admissionreviews", "apigroupdiscoveries"}
"""Kinds that are no resource of their own: subresources, and what is only sent."""


def test_what_is_deprecated_and_what_is_gone(cluster: Cluster, namespace: str) -> None:
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}}
    for _ in range(2):
        cluster.kubectl("apply", "-n", namespace, "-f", "-", input=endpoints, user="developer")
        cluster.kubectl("delete", "-n", namespace, "endpoints", "by-hand", user="developer")
    with cluster.client("developer") as client:
        gone = client.post("/apis/networking.k8s.io/v1beta1/ipaddresses", json={}, headers={"User-Agent": "old-tool/2"})
    assert gone.status_code == 404
    run = wouldblock("upgrade", cluster.audit_log, "--to", "1.37", "--output", "json", codes=(1,))
    said = json.loads(run.stdout)
    # The plane's audit policy keeps no other reads.
    assert set(said["log"]["reads_of"]) <= {"nodes", "pods", "services"}
    rows = {(row["effect"], row["group"], row["version"], row["resource"], row["client"]): row for row in said["rows"]}
    old = rows["gone", "networking.k8s.io", "v1beta1", "ipaddresses", "old-tool"]
    assert (old["requests"], old["replacement"], old["user"]) == (1, "networking.k8s.io/v1", "developer")
    by_hand = next(
        row for key, row in rows.items() if key[3:] == ("endpoints", "kubectl") and row["namespace"] == namespace
    )
    assert by_hand["effect"] == "deprecated"
    assert by_hand["marked_by_server"] is True
    assert by_hand["verbs"] == {"delete": 2, "patch": 2} or by_hand["verbs"] == {"create": 2, "delete": 2}
    assert "writes only" in wouldblock("upgrade", cluster.audit_log, "--to", "1.37", codes=(1,)).stdout.decode()


def test_the_table_is_what_the_source_says(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        go = go_command(lambda line: print(f"go: {line}", file=sys.stderr, flush=True))
    asked = [go, "mod", "download", "-json", "k8s.io/api"]
    run = subprocess.run(asked, cwd=MODULE, env=go_environment(), capture_output=True, text=True, check=True)
    source = Path(json.loads(run.stdout)["Dir"])
    compared = 0
    for path in source.glob("*/*/zz_generated.prerelease-lifecycle.go"):
        group = re.search(r'GroupName\s*=\s*"([^"]*)"', (path.parent / "register.go").read_text())
        assert group is not None
        found: dict[str, dict[str, int]] = {}
        text = path.read_text()
        for kind, what, minor in re.findall(
            r"\(in \*(\w+)\) APILifecycle(Deprecated|Removed)\(\) \(major, minor int\) \{\s*return 1, (\d+)", text
        ):
            found.setdefault(kind, {})[what] = int(minor)
        for kind, releases in found.items():
            resource = plural(kind)
            if kind.endswith("List") or resource in FILES_ONLY:
                continue
            known = KNOWN[group[1], path.parent.name, resource]
            said = (releases.get("Deprecated", 0), releases.get("Removed", 0))
            assert (known.deprecated, known.removed) == said, (path.parent, kind)
            compared += 1
    assert compared > 80


def plural(kind: str) -> str:
    name = kind.lower()
    if name == "endpoints":
        return name
    if name.endswith(("policy", "capacity", "discovery")):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")
