"""Every shipped CEL policy on the API server itself: the same verdict, message and audit annotations as ours, per case.

The policies are applied as users would apply them. Each case is sent to the server, which says what its own engine
finds (warnings, `validation_failure`, audit annotations); a recorder catches the AdmissionReview of that very
request, and our engine is asked about it. In a cluster of its own: policies are about all namespaces.
"""

from __future__ import annotations

import functools
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.plane.answers import Answering
from tests.e2e.plane.binaries import RELEASE, Binaries
from tests.e2e.plane.cluster import Cluster, Event, wait_for
from webhook import review
from webhook.cel.releases import parse_version
from webhook.cel.versions import Version
from webhook.check import cases
from webhook.check.cases import Case, CaseFile
from webhook.load import gather, shipped
from webhook.manifest import build
from webhook.policy import Context, Verdict
from webhook.policyset import PolicySet
from webhook.state import snapshot
from webhook.subscription import BUILT_IN_GROUPS

FAILURES = "validation.policy.admission.k8s.io/validation_failure"
WARNING = re.compile(
    r"Validation failed for ValidatingAdmissionPolicy '([^']*)' with binding '([^']*)': (.*)", re.DOTALL
)
SHIPPED = Path(*shipped())

NAMESPACES = "/api/v1/namespaces/"
ON_ITS_WAY_OUT = ("deletionTimestamp", "finalizers")
"""What only a deletion sets, and who waits for it."""

LISTED = int(RELEASE.partition(".")[2]) >= 37
"""Whether `validation_failure` lists all failures. Before it is the first one, of any policy; warnings tell all."""
VERSION = Version(parse_version(RELEASE))

Row = tuple[str, str, int, str]
"""Policy, binding, expressionIndex, message."""


def _files() -> list[CaseFile]:
    return [cases.read(path) for path in cases.find([SHIPPED]) if not cases.is_native(path)]


FILES = {file.policy.stem: file for file in _files()}
CASES = [(name, case) for name, file in FILES.items() for case in file.cases]


class Server:
    """The API server's own engine with all shipped policies in effect."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        # Who the cases say that they are; what they may do is not the question here.
        cluster.kubectl("create", "clusterrolebinding", "cases", "--clusterrole=cluster-admin", "--group=dev")
        self._namespaces = {"default", "kube-system", "kube-public", "kube-node-lease"}
        self._params = ParamsProbe(self)
        self._written: dict[str, str] = {}
        self.recorder = Answering(cluster, "recorder")
        for definition in _definitions():
            cluster.kubectl("apply", "-f", "-", input=json.dumps(definition))
            wait_for(f"{definition['metadata']['name']} is served", functools.partial(self._is_served, definition))
        for file in FILES.values():
            for param in file.params_of(file.cases[0]):
                self._in_effect(param)
        for file in FILES.values():
            cluster.kubectl("apply", "-f", str(file.policy))
        for name, file in FILES.items():
            failing = next(case for case in file.cases if isinstance(case.expect, cases.Verdicts))
            in_effect = functools.partial(self._finds_something, file, failing)
            wait_for(f"{name} is in effect", in_effect, seconds=20)

    def ask(self, file: CaseFile, case: Case) -> Said:
        """Sends one case. What is stored before is really created; the write itself is a dry run."""
        for param in file.params_of(case):
            self._in_effect(param)
        request = cases.request_of(file, case)
        if request.namespace and not _is_namespace(request):
            self._namespace(request.namespace, case.namespace_labels or {})
        collection = _collection(request)
        url = f"{collection}/{request.name}"
        new, old = file.object_of(case), file.old_object_of(case)
        try:
            if old is not None:
                self._store(collection, url, old, new)
            identity = {"Audit-ID": str(uuid.uuid4()), "Impersonate-User": case.user.username}
            groups = case.user.groups or ()
            headers = [*identity.items(), *(("Impersonate-Group", group) for group in groups)]
            answer = self._send(request, collection, url, case, old, new, headers)
            assert answer.status_code in (200, 201), answer.text
            event = self.cluster.audit_event(identity["Audit-ID"])
            body = self.recorder.body(
                operation=request.operation,
                resource=request.resource.resource,
                subresource=case.subresource,
                name=request.name,
            )
        finally:
            self._remove(url)
        return Said(file.policy.stem, answer, event, body)

    def _is_served(self, definition: dict[str, Any]) -> bool:
        spec = definition["spec"]
        paths = (f"/apis/{spec['group']}/{each['name']}/{spec['names']['plural']}" for each in spec["versions"])
        return all(self.cluster.http.get(path).status_code == 200 for path in paths)

    def _finds_something(self, file: CaseFile, case: Case) -> bool:
        return bool(self.ask(file, case).warnings)

    def _send(
        self,
        request: review.Request,
        collection: str,
        url: str,
        case: Case,
        old: dict[str, Any] | None,
        new: dict[str, Any],
        headers: list[tuple[str, str]],
    ) -> httpx.Response:
        http = self.cluster.http
        if request.operation == "DELETE":
            return http.delete(f"{url}?dryRun=All", headers=headers)
        if request.operation == "CREATE":
            return http.post(f"{collection}?dryRun=All", json=new, headers=headers)
        stored = http.get(url).json()
        changed = _filled_in(stored, old, new)
        changed["metadata"] |= {key: stored["metadata"][key] for key in ON_ITS_WAY_OUT if key in stored["metadata"]}
        target = f"{url}/{case.subresource}" if case.subresource else url
        return http.put(f"{target}?dryRun=All", json=changed, headers=headers)

    def _store(self, collection: str, url: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Creates the object; on its way out when the case says so, held by its finalizer."""
        metadata = {**old["metadata"], "finalizers": new["metadata"].get("finalizers", [])}
        stored = {**old, "metadata": {key: metadata[key] for key in metadata if key != "deletionTimestamp"}}
        created = self.cluster.http.post(collection, json=stored)
        assert created.status_code == 201, created.text
        if "deletionTimestamp" in new["metadata"]:
            self.cluster.http.delete(url).raise_for_status()

    def _remove(self, url: str) -> None:
        removed = self.cluster.http.delete(f"{url}?gracePeriodSeconds=0&propagationPolicy=Background")
        if removed.status_code == 404:
            return
        patch = {"metadata": {"finalizers": None}}
        headers = {"Content-Type": "application/merge-patch+json"}
        self.cluster.http.request("PATCH", url, json=patch, headers=headers)
        if url.count("/") == NAMESPACES.count("/") and url.startswith(NAMESPACES):
            # No controller is there to empty it.
            emptied = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": url.removeprefix(NAMESPACES)}}
            self.cluster.http.put(f"{url}/finalize", json={**emptied, "spec": {"finalizers": []}})
        wait_for(f"{url} is gone", lambda: self.cluster.http.get(url).status_code == 404)

    def _namespace(self, name: str, labels: dict[str, str]) -> None:
        if name not in self._namespaces:
            self.cluster.namespace(name)
            self._namespaces.add(name)
        pairs = [f"{key}={value}" for key, value in labels.items()]
        if pairs:
            self.cluster.kubectl("label", "--overwrite", f"namespace/{name}", *pairs)

    def _in_effect(self, param: dict[str, Any]) -> None:
        """Writes a params object and waits until the engine sees it."""
        meta = param["metadata"]
        text = json.dumps(param)
        if self._written.get(meta["name"]) == text:
            return
        self._namespace(meta["namespace"], {})
        self.cluster.kubectl("apply", "-f", "-", input=text)
        self._written[meta["name"]] = text
        self._params.wait(param)


class ParamsProbe:
    """Says which version of a ConfigMap the engine has at hand: by a policy of the test's own with the same params."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._known: set[str] = set()

    def wait(self, param: dict[str, Any]) -> None:
        assert (param["apiVersion"], param["kind"]) == ("v1", "ConfigMap"), "the probe knows ConfigMaps only"
        cluster, meta = self._server.cluster, param["metadata"]
        name = f"probe-of-{meta['name']}"
        if name not in self._known:
            cluster.kubectl("apply", "-f", "-", input=_probe(name, meta["namespace"], meta["name"]))
            self._known.add(name)
        url = f"/api/v1/namespaces/{meta['namespace']}/configmaps/{meta['name']}"
        version = cluster.http.get(url).json()["metadata"]["resourceVersion"]
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}

        def seen() -> bool:
            answer = cluster.http.post("/api/v1/namespaces/default/configmaps?dryRun=All", json=body)
            return any(text.endswith(f"version {version}") for text in warnings_of(answer))

        wait_for(f"{meta['name']} is in effect", seen, seconds=20)


def _probe(name: str, namespace: str, param: str) -> list[dict[str, Any]]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    message = "'version ' + params.metadata.resourceVersion"
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [{**rule, "resourceNames": [name]}]},
        "validations": [{"expression": "params == null", "messageExpression": message}],
    }
    reference = {"name": param, "namespace": namespace, "parameterNotFoundAction": "Allow"}
    binding = {"policyName": name, "paramRef": reference, "validationActions": ["Warn"]}
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": each,
        }
        for kind, each in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding))
    ]


class Said:
    """What the server's engine said of one request, as far as one policy is concerned."""

    def __init__(self, policy: str, answer: httpx.Response, event: Event, body: bytes) -> None:
        annotations = event["annotations"]
        failures = json.loads(annotations.get(FAILURES, "[]"))
        self.body = body
        self.rows: list[Row] = [
            (each["policy"], each["binding"], each["expressionIndex"], each["message"])
            for each in failures
            if each["policy"] == policy
        ]
        self.actions = [each["validationActions"] for each in failures if each["policy"] == policy]
        found = filter(None, map(WARNING.fullmatch, warnings_of(answer)))
        self.warnings = [(match[1], match[2], match[3]) for match in found if match[1] == policy]
        self.annotations = {
            key.removeprefix(f"{policy}/"): value for key, value in annotations.items() if key.startswith(f"{policy}/")
        }


def warnings_of(answer: httpx.Response) -> list[str]:
    """The texts of the Warning headers."""
    texts = (re.fullmatch(r'299 - "(.*)"', each, re.DOTALL) for each in answer.headers.get_list("warning"))
    return [re.sub(r"\\(.)", r"\1", match[1]) for match in texts if match]


def _collection(request: review.Request) -> str:
    kind = request.resource
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"/namespaces/{request.namespace}" if request.namespace and not _is_namespace(request) else ""
    return f"{base}{inside}/{kind.resource}"


def _is_namespace(request: review.Request) -> bool:
    """A review of a Namespace names it as its own namespace, although none is around it."""
    return (request.resource.group, request.resource.resource) == ("", "namespaces")


def _definitions() -> list[dict[str, Any]]:
    """A CustomResourceDefinition for each custom kind in the cases, with all their versions and any content."""
    found: dict[str, dict[str, Any]] = {}
    for file in FILES.values():
        for case in file.cases:
            request = cases.request_of(file, case)
            group, version, plural = request.resource.group, request.resource.version, request.resource.resource
            if group in BUILT_IN_GROUPS:
                continue
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            definition = found.setdefault(
                f"{plural}.{group}",
                {
                    "apiVersion": "apiextensions.k8s.io/v1",
                    "kind": "CustomResourceDefinition",
                    "metadata": {"name": f"{plural}.{group}"},
                    "spec": {
                        "group": group,
                        "names": {"plural": plural, "kind": request.kind.kind},
                        "scope": "Namespaced" if request.namespace else "Cluster",
                        "versions": [],
                    },
                },
            )
            versions = definition["spec"]["versions"]
            if version not in [each["name"] for each in versions]:
                served = {"name": version, "served": True, "storage": not versions}
                versions.append({**served, "schema": {"openAPIV3Schema": schema}})
    return list(found.values())


def _filled_in(stored: Any, old: Any, new: Any) -> Any:
    """`new` with what the server filled in when `old` was stored, as with everybody who reads, changes and writes."""
    if isinstance(stored, dict) and isinstance(old, dict) and isinstance(new, dict):
        filled = {key: value for key, value in stored.items() if key not in old and key not in new}
        return filled | {key: _filled_in(stored.get(key), old.get(key), value) for key, value in new.items()}
    if isinstance(stored, list) and isinstance(old, list) and isinstance(new, list):
        before = {each["name"]: (each, was) for each, was in zip(stored, old, strict=True) if _name(each)}
        return [_filled_in(*before.get(_name(each), (None, None)), each) for each in new]
    return new


def _name(item: Any) -> str:
    return item.get("name", "") if isinstance(item, dict) else ""


def ours(file: CaseFile, case: Case, body: bytes, cluster: Cluster) -> Verdict | None:
    """What our engine says of the review that the server sent, with the cluster's state as a snapshot of it."""
    gathered = gather([file.policy])
    (spec,) = gathered.policies.values()
    policy, problems = build(spec, list(gathered.bindings.values()), folder=file.params_of(case), version=VERSION)
    assert policy is not None, problems
    request = review.decode(body).request
    if not PolicySet((policy,)).candidates(request):
        return None
    namespaces = cluster.http.get("/api/v1/namespaces").json()["items"]
    state = snapshot([{"apiVersion": "v1", "kind": "Namespace", **each} for each in namespaces], taken_at=time.time())
    return policy.run(Context(request, state=state, clock=time.monotonic, deadline=time.monotonic() + 60))


@pytest.fixture(scope="module")
def server(binaries: Binaries) -> Iterator[Server]:
    plane = Cluster(binaries)
    try:
        plane.start()
        yield Server(plane)
    finally:
        plane.stop()


def test_thirty_policies_are_shipped() -> None:
    """Among them one with params, and one whose binding has a namespaceSelector."""
    assert len(FILES) >= 30
    texts = [file.policy.read_text() for file in FILES.values()]
    assert any("paramRef:" in text for text in texts)
    assert any("matchResources:" in text and "namespaceSelector:" in text for text in texts)


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_the_same_verdict(server: Server, name: str, case: Case) -> None:
    file = FILES[name]
    said = server.ask(file, case)
    verdict = ours(file, case, said.body, server.cluster)
    findings = verdict.findings if verdict is not None else ()

    rows = [(each.policy, each.binding, each.index, each.message) for each in findings]
    assert said.rows == rows if LISTED else said.rows in ([], rows[:1])
    assert said.annotations == dict(verdict.annotations if verdict is not None else ())
    assert said.warnings == [(each.policy, each.binding, each.message) for each in findings]
    assert said.actions == [["Warn", "Audit"]] * len(said.rows)

    expected = case.expect if isinstance(case.expect, cases.Verdicts) else cases.Verdicts()
    assert [(row[2], row[3]) for row in rows] == [(each.index, each.message) for each in expected.findings]
    assert said.annotations == dict(expected.annotations)
