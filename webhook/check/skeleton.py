"""A policy to start from: the manifest of a ValidatingAdmissionPolicy with its binding, and cases of which one passes
and one fails. Text only; writes no files."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from webhook.check.reviews import is_cluster_scoped, resource_of
from webhook.errors import UserError
from webhook.manifest.names import dns_subdomain
from webhook.policy import Severity
from webhook.workload import KINDS as POD_KINDS
from webhook.workload import TEMPLATE_PATH

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_RESOURCE: Final = re.compile(r"[a-z][a-z0-9.-]*\Z")
_VERSION: Final = re.compile(r"(?:[a-z0-9.-]+/)?v[a-z0-9]+\Z")
_NETWORKING, _RBAC = "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"
_RULES: Final = {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}
_OBJECTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "ConfigMap": ("v1", {"data": {"key": "value"}}),
    "Secret": ("v1", {"stringData": {"key": "value"}}),
    "Namespace": ("v1", {}),
    "ServiceAccount": ("v1", {}),
    "Service": ("v1", {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    "PersistentVolumeClaim": (
        "v1",
        {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    ),
    "Ingress": (
        _NETWORKING,
        {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
    ),
    "NetworkPolicy": (_NETWORKING, {"spec": {"podSelector": {}}}),
    "Role": (_RBAC, _RULES),
    "ClusterRole": (_RBAC, _RULES),
    "PodDisruptionBudget": ("policy/v1", {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "maxReplicas": 3,
            }
        },
    ),
}
"""Kind → its API version, and what an object of it must have beside metadata."""
_LABELS: Final = {"app": "web"}
_POD: Final = {"containers": [{"name": "web", "image": "registry.example.com/web:1.0"}]}


class Skeleton(msgspec.Struct, frozen=True, kw_only=True):
    manifest: str
    cases: str


def known_kinds() -> list[str]:
    return sorted({*_OBJECTS, *POD_KINDS.values()})


def skeleton(
    id: str, *, kind: str, api_version: str = "", resource: str = "", severity: Severity, pack: str, title: str = ""
) -> Skeleton:
    """Raises `UserError` for names that cannot be."""
    if wrong := dns_subdomain(id):
        raise UserError(f"policy id {id!r}: {wrong}")
    if not _WORD.match(kind):
        raise UserError(f"kind {kind!r}: expected one word such as Deployment")
    found_version, body = _object(kind)
    api_version = api_version or found_version
    if not api_version:
        raise UserError(
            f"kind {kind}: its API version is not known here; add --api-version, such as example.com/v1 "
            f"(known: {', '.join(known_kinds())})"
        )
    if not _VERSION.match(api_version):
        raise UserError(f"API version {api_version!r}: expected VERSION or GROUP/VERSION, such as apps/v1")
    resource = resource or resource_of(kind)
    if not _RESOURCE.match(resource):
        raise UserError(f"resource {resource!r}: expected the plural of the API's path, such as deployments")
    group, _, version = api_version.rpartition("/")
    meta = {"name": "web"} if is_cluster_scoped(group, kind) else {"name": "web", "namespace": "default"}
    labelled = meta | {"labels": {"team": "shop"}}
    texts = {
        "id": id,
        "kind": kind,
        "title": json.dumps(title or id.replace("-", " ").capitalize(), ensure_ascii=False),
        "severity": str(severity),
        "pack": json.dumps(pack, ensure_ascii=False),
        "group": json.dumps(group),
        "version": json.dumps(version),
        "resource": json.dumps(resource),
        "object": _yaml({"apiVersion": api_version, "kind": kind, "metadata": labelled, **body}, 4),
    }
    return Skeleton(manifest=_filled(_MANIFEST, texts), cases=_filled(_CASES, texts))


def _object(kind: str) -> tuple[str, dict[str, Any]]:
    if kind in _OBJECTS:
        return _OBJECTS[kind]
    group = next((group for (group, _), name in POD_KINDS.items() if name == kind), None)
    if group is None:
        return "", {}
    template: dict[str, Any] = {"metadata": {"labels": _LABELS}, "spec": _POD}
    if kind == "Pod":
        return "v1", {"spec": _POD}
    if kind in ("Job", "CronJob"):
        template = {"spec": {"restartPolicy": "Never", **_POD}}
    inner: dict[str, Any] = template
    for step in reversed(TEMPLATE_PATH[kind]):
        inner = {step: inner}
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        inner["spec"] = {"selector": {"matchLabels": _LABELS}, **inner["spec"]}
    if kind == "ReplicationController":
        inner["spec"] = {"selector": _LABELS, **inner["spec"]}
    if kind == "CronJob":
        inner["spec"] = {"schedule": "0 3 * * *", **inner["spec"]}
    return f"{group}/v1" if group else "v1", inner


def _yaml(value: dict[str, Any], indent: int) -> str:
    """Block style down to what fits in one line."""
    lines = []
    for key, each in value.items():
        flow = json.dumps(each, ensure_ascii=False)
        if isinstance(each, dict) and len(flow) > 60:
            lines.append(f"{' ' * indent}{key}:\n{_yaml(each, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{key}: {flow}")
    return "\n".join(lines)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda match: values[match[1]], text)


_MANIFEST: Final = """\
# Say in a sentence or two why this matters, and whom it would hit.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: <id>
  annotations:
    wouldblock.dev/title: <title>
    wouldblock.dev/severity: <severity>
    wouldblock.dev/pack: <pack>
    wouldblock.dev/remediation: "Add the label team."
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: [<group>]
      apiVersions: [<version>]
      operations: ["CREATE", "UPDATE"]
      resources: [<resource>]
  validations:
  # What is blocked is what makes this false, or fails. `wouldblock policies explain <id> --object FILE` shows why.
  - expression: "'team' in object.metadata.?labels.orValue({})"
    messageExpression: "object.kind + ' has no label team'"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: <id>
spec:
  policyName: <id>
  validationActions: [Warn, Audit]
"""
_CASES: Final = """\
# `wouldblock policies test --mutate` runs these, and says which change of the policy none of them would notice.
objects:
  good:
<object>
cases:
- name: with the label
  object: good
  expect: pass
- name: without it
  object: good
  patch: {metadata: {labels: null}}
  expect:
    findings: [{message: "<kind> has no label team"}]
"""
