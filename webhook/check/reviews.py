"""Documents → admission requests: AdmissionReviews as they are, manifests as the CREATE that applying them would be.

A manifest is what its author wrote: the API server would have defaulted and mutated it before any admission
policy sees it. Checks that depend on defaults can therefore differ from what the webhook says.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from webhook.errors import UserError
from webhook.review import (
    API_VERSION,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    Request,
    decode,
)

_IRREGULAR = {
    "Endpoints": "endpoints",
    "NetworkPolicy": "networkpolicies",
    "Ingress": "ingresses",
    "IngressClass": "ingressclasses",
    "StorageClass": "storageclasses",
    "PriorityClass": "priorityclasses",
    "RuntimeClass": "runtimeclasses",
    "PodSecurityPolicy": "podsecuritypolicies",
    "Gateway": "gateways",
}
_UIDS = uuid.UUID("5f0c6c66-6a1c-5c1b-9d5e-0d4c3a9d2f10")
"""Name space of the uids made here: equal input, equal uid."""

_CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("networking.k8s.io", "IngressClass"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("external-secrets.io", "ClusterSecretStore"),
    }
)


def requests_of(
    document: Any, *, where: str, namespace: str = "default", operation: Operation = "CREATE"
) -> Iterator[Request]:
    """The requests of one document: an AdmissionReview, a manifest, or a List of them.

    `where` names the document in errors and makes uids. Raises `UserError` for what is neither.
    """
    if not isinstance(document, dict):
        raise UserError(f"{where}: expected a Kubernetes object or an AdmissionReview, found {_kind_of(document)}")
    if document.get("kind") == "AdmissionReview":
        yield _admission_review(document, where)
    elif str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for index, item in enumerate(document["items"]):
            yield from requests_of(item, where=f"{where}[{index}]", namespace=namespace, operation=operation)
    else:
        yield _request(document, where, namespace, operation)


def is_cluster_scoped(group: str, kind: str) -> bool:
    """Whether objects of a kind have no namespace, as far as is known here."""
    return (group, kind) in _CLUSTER_SCOPED


def resource_of(kind: str) -> str:
    """The plural that the API uses for a kind: exact for built-in kinds, the usual guess for others."""
    if kind in _IRREGULAR:
        return _IRREGULAR[kind]
    name = kind.lower()
    if name.endswith("y") and not name.endswith(("ay", "ey", "oy")):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def _admission_review(document: dict[str, Any], where: str) -> Request:
    try:
        return decode(msgspec.json.encode(document)).request
    except msgspec.DecodeError as error:
        raise UserError(f"{where}: not an AdmissionReview of {API_VERSION}: {error}") from None


def _request(document: dict[str, Any], where: str, namespace: str, operation: Operation) -> Request:
    api_version, kind, meta = document.get("apiVersion"), document.get("kind"), document.get("metadata")
    if not isinstance(api_version, str) or not isinstance(kind, str) or not kind:
        raise UserError(f"{where}: expected apiVersion and kind, as every Kubernetes object has")
    if not isinstance(meta, dict):
        meta = {}
    group, _, version = api_version.rpartition("/")
    scoped = "" if is_cluster_scoped(group, kind) else str(meta.get("namespace") or namespace)
    name = str(meta.get("name") or "")
    if (group, kind) == ("", "Namespace"):
        scoped = name
    gvk = GroupVersionKind(group=group, version=version, kind=kind)
    gvr = GroupVersionResource(group=group, version=version, resource=resource_of(kind))
    raw = msgspec.Raw(msgspec.json.encode(document))
    absent = msgspec.Raw(b"null")
    return Request(
        uid=str(uuid.uuid5(_UIDS, where)),
        kind=gvk,
        resource=gvr,
        request_kind=gvk,
        request_resource=gvr,
        name=name,
        namespace=scoped,
        operation=operation,
        object=absent if operation == "DELETE" else raw,
        old_object=absent if operation == "CREATE" else raw,
    )


def _kind_of(value: Any) -> str:
    names = {list: "a list", str: "text", type(None): "nothing", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
