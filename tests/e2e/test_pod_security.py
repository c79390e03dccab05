"""Pod Security's verdicts and texts against the API server's own, on the objects that the server made of ours."""

from __future__ import annotations

import functools
import itertools
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.plane.binaries import NEWEST, RELEASE
from tests.e2e.plane.cluster import Cluster, wait_for
from webhook.native.pod_security import PodSecurityConfig, policies
from webhook.policy import Context, Finding, Verdict
from webhook.review import NULL, GroupVersionKind, GroupVersionResource, Operation, Request
from webhook.state import EMPTY, State, snapshot

LABEL = "pod-security.kubernetes.io/"
VIOLATIONS = LABEL + "audit-violations"
MERGE = "application/strategic-merge-patch+json"

PRIVILEGED = {"containers": [{"name": "a", "image": "i", "securityContext": {"privileged": True}}]}
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": PRIVILEGED}
WORKLOAD = {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
JOB = {"template": {"spec": PRIVILEGED | {"restartPolicy": "Never"}}}
KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    # kind: (path of the group version, group, resource, object)
    "Pod": ("/api/v1", "", "pods", {"spec": PRIVILEGED}),
    "PodTemplate": ("/api/v1", "", "podtemplates", {"template": TEMPLATE}),
    "ReplicationController": (
        "/api/v1",
        "",
        "replicationcontrollers",
        {"spec": {"selector": {"app": "a"}, "template": TEMPLATE}},
    ),
    "ReplicaSet": ("/apis/apps/v1", "apps", "replicasets", {"spec": WORKLOAD}),
    "Deployment": ("/apis/apps/v1", "apps", "deployments", {"spec": WORKLOAD}),
    "StatefulSet": ("/apis/apps/v1", "apps", "statefulsets", {"spec": WORKLOAD | {"serviceName": "a"}}),
    "DaemonSet": ("/apis/apps/v1", "apps", "daemonsets", {"spec": WORKLOAD}),
    "Job": ("/apis/batch/v1", "batch", "jobs", {"spec": JOB}),
    "CronJob": (
        "/apis/batch/v1",
        "batch",
        "cronjobs",
        {"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": JOB}}},
    ),
}


@dataclass(frozen=True)
class Answer:
    """What the server said of a write, and what it wrote about it into its log."""

    status: int
    body: Any
    warnings: list[str]
    _find: Any

    @functools.cached_property
    def annotations(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._find()
        return found

    @property
    def pod_security_warnings(self) -> list[str]:
        return [text for text in self.warnings if text.startswith("would violate PodSecurity")]


class Api:
    """Writes with an `Audit-ID` of their own over one kept connection; reads the audit log once, as it grows."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._prefix = f"pss-{uuid.uuid4()}-"
        self._numbers = itertools.count()
        self._offset = 0
        self._annotations: dict[str, Mapping[str, str]] = {}

    def namespace(self, name: str, **modes: str) -> str:
        return self._cluster.namespace(
            name, **{f"pod-security.kubernetes.io__{key}": value for key, value in modes.items()}
        )

    def send(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Answer:
        audit_id = f"{self._prefix}{next(self._numbers)}"
        headers = {"Audit-ID": audit_id, "Content-Type": content_type}
        content = None if body is None else json.dumps(body).encode()
        answer = self._cluster.http.request(method, path, content=content, headers=headers)
        # `299 - "text"`, with quotes and backslashes of the text escaped.
        warnings = [json.loads(each.removeprefix("299 - ")) for each in answer.headers.get_list("Warning")]
        find = functools.partial(wait_for, f"the audit event {audit_id}", functools.partial(self._look, audit_id))
        return Answer(answer.status_code, answer.json(), warnings, find)

    def _look(self, audit_id: str) -> Mapping[str, str] | None:
        if audit_id not in self._annotations:
            with self._cluster.audit_log.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    if self._prefix.encode() in line:
                        event = json.loads(line)
                        self._annotations[event["auditID"]] = event.get("annotations", {})
        return self._annotations.get(audit_id)


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    return Api(cluster)


def raw(obj: Any) -> msgspec.Raw:
    return NULL if obj is None else msgspec.Raw(msgspec.json.encode(obj))


def predict(
    obj: Any,
    *,
    kind: str = "Pod",
    namespace: str,
    operation: Operation = "CREATE",
    old: Any = None,
    subresource: str = "",
    state: State = EMPTY,
    **config: Any,
) -> tuple[Verdict | None, Verdict | None]:
    """What the pack says of a write, (baseline, restricted)."""
    _, group, resource, _ = KINDS[kind]
    request = Request(
        uid="u",
        kind=GroupVersionKind(group, "v1", kind),
        resource=GroupVersionResource(group, "v1", resource),
        sub_resource=subresource,
        namespace=namespace,
        operation=operation,
        object=raw(obj),
        old_object=raw(old),
    )
    context = Context(request, state=state, clock=lambda: 0.0, deadline=1.0)
    baseline, restricted = policies(PodSecurityConfig(**config))
    return baseline.run(context), restricted.run(context)


def shown(verdicts: tuple[Verdict | None, ...]) -> list[Finding]:
    return [finding for verdict in verdicts if verdict for finding in verdict.findings if finding.warn]


@pytest.mark.skipif(
    RELEASE != NEWEST, reason=f"Kubernetes {RELEASE}: an older server does not know the standards of newer versions"
)
def test_every_fixture_of_every_version_has_the_servers_own_text(api: Api, corpora: Path) -> None:
    """A pass is no `audit-violations` annotation; a failure is one with exactly our text."""
    lines = (corpora / "pod-security" / "fixtures.jsonl").read_text().splitlines()
    fixtures = [json.loads(line) for line in lines]
    for level, version in sorted({(fixture["level"], fixture["version"]) for fixture in fixtures}):
        api.namespace(name(level, version), audit=level, audit_version=version)
    written = []
    for fixture in fixtures:
        # A few names of the corpus are none that the server takes.
        pod = fixture["pod"] | {"metadata": fixture["pod"]["metadata"] | {"name": fixture["name"].replace("_", "-")}}
        path = f"/api/v1/namespaces/{name(fixture['level'], fixture['version'])}/pods?dryRun=All"
        written.append((fixture, api.send("POST", path, pod)))
    wrong = []
    compared = {"pass": 0, "fail": 0}
    for fixture, answer in written:
        if answer.status != 201:
            assert fixture.get("rejected_by_validation"), (fixture["name"], answer.body)
            continue
        level, version = fixture["level"], fixture["version"]
        verdicts = predict(answer.body, namespace=name(level, version), level=level, version=version)
        ours = next((finding.message for finding in shown(verdicts)), None)
        theirs = answer.annotations.get(VIOLATIONS)
        if ours != theirs or (ours is None) != (fixture["expected"] == "pass"):
            wrong.append(f"{level} {version} {fixture['name']}\n  ours:   {ours}\n  theirs: {theirs}")
        compared[fixture["expected"]] += 1
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:10])
    assert compared == {"pass": 1051, "fail": 3474}


def name(level: str, version: str) -> str:
    return f"pss-{level}-{version.replace('.', '-')}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_a_pod_has_the_servers_own_text(api: Api, kind: str) -> None:
    prefix, _, resource, obj = KINDS[kind]
    namespace = api.namespace(f"pss-kind-{kind.lower()}", audit="restricted", warn="baseline")
    answer = api.send(
        "POST", f"{prefix}/namespaces/{namespace}/{resource}?dryRun=All", obj | {"metadata": {"name": "a"}}
    )
    assert answer.status == 201, answer.body
    baseline, restricted = predict(answer.body, kind=kind, namespace=namespace, level="baseline")
    assert restricted is not None
    assert [finding.message for finding in restricted.findings] == [answer.annotations[VIOLATIONS]]
    assert [finding.message for finding in shown((baseline, restricted))] == answer.pod_security_warnings


COMBINATIONS = [
    {
        key: value
        for key, value in zip(("warn", "enforce", "warn_version", "enforce_version"), each, strict=True)
        if value
    }
    for each in itertools.product(
        (None, "privileged", "baseline", "restricted"),
        (None, "baseline", "restricted"),
        (None, "v1.20"),
        (None, "v1.21"),
    )
]


def test_labels_mean_to_us_what_they_mean_to_the_server(api: Api) -> None:
    """The warning that is shown is the one that the server gives, whatever modes and versions are labelled.

    A Deployment, for it is warned about only: enforcing denies pods. The server's own defaults are privileged, latest.
    """
    wrong = []
    seen = set()
    for number, labels in enumerate(COMBINATIONS):
        namespace = api.namespace(f"pss-labels-{number}", **labels)
        state = snapshot([api.send("GET", f"/api/v1/namespaces/{namespace}").body], taken_at=1.0)
        prefix, _, resource, obj = KINDS["Deployment"]
        path = f"{prefix}/namespaces/{namespace}/{resource}?dryRun=All"
        answer = api.send("POST", path, obj | {"metadata": {"name": "a"}})
        assert answer.status == 201, answer.body
        verdicts = predict(answer.body, kind="Deployment", namespace=namespace, state=state, level="privileged")
        ours = [finding.message for finding in shown(verdicts)]
        if ours != answer.pod_security_warnings:
            wrong.append((labels, ours, answer.pod_security_warnings))
        seen.update(ours)
    assert not wrong
    assert len(seen) >= 6


def test_a_pods_update_is_evaluated_exactly_when_the_server_does(api: Api) -> None:
    namespace = api.namespace("pss-update", audit="restricted")
    pod = f"/api/v1/namespaces/{namespace}/pods/a"
    created = api.send("POST", pod.removesuffix("/a"), {"metadata": {"name": "a"}, "spec": PRIVILEGED})
    assert created.status == 201, created.body
    container = {"name": "e", "image": "i"}
    changes: list[tuple[str, Any, bool]] = [
        ("", {"metadata": {"labels": {"a": "b"}}}, False),
        ("", {"spec": {"containers": [{"name": "a", "image": "j"}]}}, True),
        ("", {"spec": {"activeDeadlineSeconds": 600}}, False),
        ("status", {"status": {"message": "m"}}, False),
        ("ephemeralcontainers", {"spec": {"ephemeralContainers": [container]}}, True),
    ]
    for subresource, change, evaluated in changes:
        path = pod + (f"/{subresource}" if subresource else "")
        answer = api.send("PATCH", path + "?dryRun=All", change, content_type=MERGE)
        assert answer.status == 200, answer.body
        assert (VIOLATIONS in answer.annotations) == evaluated, change
        _, restricted = predict(
            answer.body, namespace=namespace, operation="UPDATE", old=created.body, subresource=subresource
        )
        ours = None if restricted is None else restricted.findings[0].message
        assert ours == answer.annotations.get(VIOLATIONS), change
