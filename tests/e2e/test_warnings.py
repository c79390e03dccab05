"""What a person sees and the audit log keeps, for every way to write: equal to what the offline review says.

A recorder beside the webhook keeps the AdmissionReviews that the API server sends; `wouldblock review` answers them
again, and its answers are compared with what kubectl printed and what the log holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plane.answers import Answering
from tests.e2e.plane.cluster import Cluster, Event, as_yaml
from tests.e2e.plane.webhooks import Installation, answers
from webhook.annotations import WEBHOOK_NAME, decode

Make = Callable[..., Any]

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kettles.tests.wouldblock.dev"},
    "spec": {
        "group": "tests.wouldblock.dev",
        "scope": "Namespaced",
        "names": {"plural": "kettles", "singular": "kettle", "kind": "Kettle"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.n"}},
            }
        ],
    },
}


class Scene:
    """A namespace that both the webhook and the recorder see in full."""

    def __init__(self, cluster: Cluster, namespace: str, installed: Installation, recorder: Answering) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.recorder = recorder
        self.wide = installed.register_everything(namespace=namespace)
        self.recorder.bodies.clear()
        self._seen = len(cluster.audit_events(namespace=namespace))

    def kubectl(self, *arguments: str, **options: Any) -> list[str]:
        """Runs kubectl as an ordinary person; returns the warnings that it printed."""
        run = self.cluster.kubectl(*arguments, f"--namespace={self.namespace}", user="developer", **options)
        return [line.removeprefix("Warning: ") for line in run.stderr.splitlines() if line.startswith("Warning: ")]

    def events(self, *, stage: str = "ResponseComplete") -> list[Event]:
        """The writes since the last call."""
        events = self.cluster.audit_events(namespace=self.namespace, stage=stage)
        new, self._seen = events[self._seen :], len(events)
        return new

    def check(self, warnings: list[str], event: Event, **write: str) -> dict[str, Any]:
        """kubectl's warnings and the log's annotations are those of the offline review of the very same request."""
        (answer,) = answers([self.recorder.body(**write)])
        assert answer["allowed"] is True
        assert warnings == answer.get("warnings", [])
        recorded = {
            key.partition("/")[2]: value
            for key, value in event["annotations"].items()
            if key.startswith(f"{self.wide}/")
        }
        assert recorded == answer["auditAnnotations"]
        again = {f"{WEBHOOK_NAME}/{key}": value for key, value in answer["auditAnnotations"].items()}
        assert decode(event["annotations"], name=self.wide) == decode(again)
        return recorded


@pytest.fixture(scope="module")
def installed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The webhook for all tests of this file. A busy machine is no reason for an incomplete review: budget 500 ms."""
    made = Installation(cluster, tmp_path_factory.mktemp("webhook"))
    try:
        made.register(probe=cluster.namespace("warnings"))
        yield made
    finally:
        made.stop()


@pytest.fixture
def scene(cluster: Cluster, namespace: str, installed: Installation, answering: Make) -> Iterator[Scene]:
    made = Scene(cluster, namespace, installed, answering())
    yield made
    installed.unregister("wouldblock-wide")


def deployment(name: str = "shop", *, privileged: bool = True, replicas: int = 1) -> dict[str, Any]:
    container = {"name": "app", "image": "registry.example/app:1", "securityContext": {"privileged": privileged}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def test_every_way_to_write_a_deployment(scene: Scene) -> None:
    """apply, dry-run, client-side and server-side updates: warned alike, admitted, annotated; the object exists."""
    warnings = scene.kubectl("apply", "-f", "-", input=deployment())
    (event,) = scene.events()
    recorded = scene.check(warnings, event, operation="CREATE", resource="deployments", name="shop")
    assert any("privileged" in warning for warning in warnings), warnings
    assert "violations" in recorded
    # The plain registration, the one that users have, says the same under its own name.
    plain = {key: value for key, value in event["annotations"].items() if key.startswith(f"{WEBHOOK_NAME}/")}
    assert plain == {f"{WEBHOOK_NAME}/{key}": value for key, value in recorded.items()}
    stored = json.loads(scene.cluster.kubectl("get", "deployment/shop", "-ojson", "-n", scene.namespace).stdout)
    assert stored["spec"]["template"]["spec"]["containers"][0]["securityContext"] == {"privileged": True}

    changed = deployment(replicas=2)
    warnings = scene.kubectl("apply", "--dry-run=server", "-f", "-", input=changed)
    (event,) = scene.events()
    recorded = scene.check(warnings, event, operation="UPDATE", resource="deployments", name="shop")
    assert warnings
    assert "dry=1" in recorded["reviewed"].split()

    warnings = scene.kubectl("apply", "-f", "-", input=changed)
    (event,) = scene.events()
    scene.check(warnings, event, operation="UPDATE", resource="deployments", name="shop")
    decoded = decode(event["annotations"], name=scene.wide)
    assert decoded is not None
    assert decoded.operation == "UPDATE"
    assert [finding.pre_existing for finding in decoded.outcome.findings] == [True] * len(decoded.outcome.findings)
    assert decoded.outcome.findings

    changed["spec"]["replicas"] = 3
    warnings = scene.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=changed)
    last = scene.events()[-1]
    scene.check(warnings, last, operation="UPDATE", resource="deployments", name="shop")
    assert last["verb"] == "patch"
    assert warnings

    # Unchanged and client-side: no write, no review, nothing to warn of.
    scene.recorder.bodies.clear()
    assert scene.kubectl("apply", "-f", "-", input=deployment("unchanged", privileged=False))
    scene.recorder.bodies.clear()
    assert scene.kubectl("apply", "-f", "-", input=deployment("unchanged", privileged=False)) == []
    assert scene.recorder.bodies == []


def test_scale_delete_and_a_second_object(scene: Scene) -> None:
    scene.kubectl("apply", "-f", "-", input=as_yaml([deployment("one"), deployment("two")]))
    scene.events()

    warnings = scene.kubectl("scale", "deployment/one", "--replicas=3")
    (event,) = scene.events()
    recorded = scene.check(warnings, event, operation="UPDATE", resource="deployments", subresource="scale", name="one")
    assert "op=UPDATE" in recorded["reviewed"].split()
    assert (
        json.loads(scene.cluster.kubectl("get", "deployment/one", "-ojson", "-n", scene.namespace).stdout)["spec"][
            "replicas"
        ]
        == 3
    )

    warnings = scene.kubectl("delete", "deployment/two", "--wait=false", "--cascade=orphan")
    event = scene.events()[-1]
    recorded = scene.check(warnings, event, operation="DELETE", resource="deployments", name="two")
    assert event["verb"] == "delete"
    assert "op=DELETE" in recorded["reviewed"].split()


def test_a_pod_its_exec_and_its_eviction(scene: Scene) -> None:
    """CONNECT is admitted (what fails is the dial to a kubelet that is not there), and both stages are annotated."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tool"}, "spec": {"hostNetwork": True}}
    pod["spec"] = {"hostNetwork": True, "containers": [{"name": "app", "image": "registry.example/app:1"}]}
    warnings = scene.kubectl("create", "-f", "-", input=pod)
    (event,) = scene.events()
    scene.check(warnings, event, operation="CREATE", resource="pods", name="tool")
    assert any("host namespaces" in warning for warning in warnings), warnings

    # A pod gets to a node by its binding, which is a write as well.
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "tool"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "nowhere"},
    }
    url = f"/api/v1/namespaces/{scene.namespace}/pods/tool"
    assert scene.cluster.http.post(f"{url}/binding", json=binding).status_code == 201
    scene.check([], scene.events()[-1], operation="CREATE", resource="pods", subresource="binding", name="tool")

    scene.cluster.kubectl("exec", "tool", "-n", scene.namespace, "--", "true", check=False, user="developer")
    body = scene.recorder.body(operation="CONNECT", resource="pods", subresource="exec", name="tool")
    (answer,) = answers([body])
    for stage in ("ResponseStarted", "ResponseComplete"):
        events = [
            event
            for event in scene.cluster.audit_events(namespace=scene.namespace, stage=stage)
            if event["objectRef"].get("subresource") == "exec"
        ]
        for event in events:
            assert event["annotations"][f"{scene.wide}/reviewed"] == answer["auditAnnotations"]["reviewed"]
            assert "op=CONNECT" in event["annotations"][f"{scene.wide}/reviewed"].split()
            assert event["responseStatus"]["code"] != 403
        assert events, f"no exec among the events of {stage}"

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "tool"}}
    scene.events()
    assert scene.cluster.http.post(f"{url}/eviction", json=eviction).status_code in (200, 201)
    scene.check([], scene.events()[-1], operation="CREATE", resource="pods", subresource="eviction", name="tool")


def test_custom_resources(scene: Scene) -> None:
    """No policy is about them: reviewed, evaluated by none, admitted in silence."""
    scene.cluster.kubectl("apply", "-f", "-", input=CRD)
    scene.cluster.kubectl("wait", "--for=condition=Established", "crd/kettles.tests.wouldblock.dev", "--timeout=20s")
    kettle = {
        "apiVersion": "tests.wouldblock.dev/v1",
        "kind": "Kettle",
        "metadata": {"name": "small"},
        "spec": {"replicas": 1, "privileged": True},
    }
    for kind, operation in ((kettle, "CREATE"), ({**kettle, "spec": {"replicas": 2}}, "UPDATE")):
        warnings = scene.kubectl("apply", "-f", "-", input=kind)
        event = scene.events()[-1]
        recorded = scene.check(warnings, event, operation=operation, resource="kettles", name="small")
        assert list(recorded) == ["reviewed"]
        assert warnings == []
        assert event["responseStatus"]["code"] in (200, 201)


def test_awkward_names_in_warnings_arrive(scene: Scene) -> None:
    """A warning with a control character would vanish whole; with a bidirectional one it would lie."""
    awkward = "a\u200bb\u202ec\u00add=?utf-8?q?=0A?="
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "odd"},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
            "securityContext": {"seLinuxOptions": {"type": f"{awkward}\ttab\u0085next", "level": "s0"}},
        },
    }
    warnings = scene.kubectl("create", "-f", "-", input=json.dumps(pod))
    (event,) = scene.events()
    scene.check(warnings, event, operation="CREATE", resource="pods", name="odd")
    (line,) = [warning for warning in warnings if "seLinuxOptions" in warning]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e]|=\\?", line), ascii(line)
    assert "tab" in line
    assert "next" in line


def test_machines_are_not_warned(scene: Scene, tmp_path: Path) -> None:
    """A service account gets no warning; the log keeps the finding all the same."""
    account = f"system:serviceaccount:{scene.namespace}:robot"
    scene.cluster.kubectl("create", "clusterrolebinding", "robot", "--clusterrole=cluster-admin", f"--user={account}")
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(as_yaml(deployment("made-by-a-robot")))
    run = scene.cluster.kubectl("apply", f"--as={account}", "-n", scene.namespace, "-f", str(manifest))
    assert "Warning" not in run.stderr
    recorded = scene.check([], scene.events()[-1], operation="CREATE", resource="deployments", name="made-by-a-robot")
    assert "violations" in recorded


def test_parallel_updates_of_one_object(scene: Scene) -> None:
    """Reviews are not writes: the server tries again after a conflict. Each write has one annotation all the same."""
    scene.kubectl("apply", "-f", "-", input=deployment())
    scene.events()
    scene.recorder.bodies.clear()
    url = f"/apis/apps/v1/namespaces/{scene.namespace}/deployments/shop"
    headers = {"Content-Type": "application/merge-patch+json"}

    def write(number: int) -> int:
        patch = {"metadata": {"labels": {f"writer-{number}": "was-here"}}}
        return scene.cluster.http.request("PATCH", url, json=patch, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(write, range(64)))
    assert codes == [200] * 64
    events = scene.events()
    assert len(events) == 64
    assert len(scene.recorder.bodies) > 64, "nothing was tried again: the test shows nothing"
    # On a retry the first annotation wins, so all answers about one object have to be equal.
    values = {event["annotations"][f"{scene.wide}/violations"] for event in events}
    assert values == {answer["auditAnnotations"]["violations"] for answer in answers(scene.recorder.bodies)}
    assert len(values) == 1
