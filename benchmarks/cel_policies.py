"""The hundred expressions as ValidatingAdmissionPolicies, and requests that they match."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks.cel_expressions import pairs
from benchmarks.cel_objects import UID
from webhook.review import GroupVersionKind, GroupVersionResource, Request

_DEPLOYMENTS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
_ELSEWHERE = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}


def write(folder: Path, *, each: int = 1, copies: int = 1, elsewhere: int = 0) -> None:
    """Policies of `each` expressions about Deployments, into one file. `copies` of all of them, every one another
    policy; then `elsewhere` policies that match another resource."""
    documents: list[dict[str, Any]] = []
    texts = [one.cel for one in pairs()]
    for copy in range(copies):
        for start in range(0, len(texts), each):
            # A copy is another expression, or equal ones would be compiled once.
            chosen = [
                text if not copy else f"({text}) || object.kind == 'K{copy}'" for text in texts[start : start + each]
            ]
            documents += _policy(f"cel-{copy:02}-{start:03}", chosen, _DEPLOYMENTS)
    for number in range(elsewhere):
        text = f"({texts[number % len(texts)]}) || object.kind == 'E{number}'"
        documents += _policy(f"cel-elsewhere-{number:04}", [text], _ELSEWHERE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False, width=1000))


def _policy(name: str, expressions: list[str], resources: dict[str, Any]) -> Iterator[dict[str, Any]]:
    api = "admissionregistration.k8s.io/v1"
    yield {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "annotations": {"wouldblock.dev/title": name}},
        "spec": {
            "matchConstraints": {"resourceRules": [{**resources, "operations": ["CREATE", "UPDATE"]}]},
            "validations": [{"expression": text, "message": f"{name}: no"} for text in expressions],
        },
    }
    binding = {"policyName": name, "validationActions": ["Warn", "Audit"]}
    yield {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding}


def request_of(value: dict[str, Any]) -> Request:
    """The CREATE of a Deployment."""
    kind = GroupVersionKind("apps", "v1", "Deployment")
    resource = GroupVersionResource("apps", "v1", "deployments")
    return Request(
        uid=UID,
        kind=kind,
        resource=resource,
        request_kind=kind,
        request_resource=resource,
        name=value["metadata"]["name"],
        namespace=value["metadata"]["namespace"],
        operation="CREATE",
        object=msgspec.Raw(msgspec.json.encode(value)),
    )
