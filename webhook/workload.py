"""Where the pod is in each kind that carries one, and who controls an object.

Knows field paths only, no policy. Objects are JSON from anywhere: a value of the wrong type counts as
absent (the API server refuses such an object before any webhook sees it), so nothing here raises.

Source: `k8s.io/pod-security-admission admission/admission.go` (kinds), `k8s.io/api/core/v1` (fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

TEMPLATE_PATH: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "ReplicationController": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Kind → path to the value that holds the pod's `metadata` and `spec`."""

KINDS: Mapping[tuple[str, str], str] = {
    ("", "pods"): "Pod",
    ("", "podtemplates"): "PodTemplate",
    ("", "replicationcontrollers"): "ReplicationController",
    ("apps", "replicasets"): "ReplicaSet",
    ("apps", "deployments"): "Deployment",
    ("apps", "statefulsets"): "StatefulSet",
    ("apps", "daemonsets"): "DaemonSet",
    ("batch", "jobs"): "Job",
    ("batch", "cronjobs"): "CronJob",
}
"""(group, resource) → kind, of all that carry a pod."""

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
"""In the order in which Kubernetes walks them, which is the order of names in its texts."""

_NOTHING: Mapping[str, Any] = {}


class Container(Struct, frozen=True, gc=False):
    """One container of any of the three lists."""

    name: str
    body: Mapping[str, Any]
    security: Mapping[str, Any]
    """Its `securityContext`; empty when absent."""


class Pod(Struct, frozen=True):
    """A pod or a pod template, taken apart once for all policies of a review."""

    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    security: Mapping[str, Any]
    """The pod's own `securityContext`; empty when absent."""
    containers: tuple[Container, ...]
    """Init, regular, ephemeral, in this order."""
    volumes: tuple[Mapping[str, Any], ...]
    """`spec.volumes`; one without a source is an `emptyDir`, as the API server's defaults make it."""
    windows: bool
    """`spec.os.name` is `windows`."""
    own_users: bool
    """`spec.hostUsers` is false: the pod runs in a user namespace."""


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if type(value) is dict else _NOTHING


def items(value: Any) -> Sequence[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if type(value) is list else ()


def text(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if type(value) is str else ""


def template(obj: Any, kind: str) -> Mapping[str, Any] | None:
    """What holds the `metadata` and `spec` of an object's pod; None for kinds without one and for what is no object.

    A template that is missing or null (ReplicationControllers may do without) is empty.
    """
    path = TEMPLATE_PATH.get(kind)
    if path is None or type(obj) is not dict:
        return None
    holder: Mapping[str, Any] = obj
    for step in path:
        holder = mapping(holder.get(step))
    return holder


def annotations_of(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """The annotations of what holds a `metadata`."""
    return mapping(mapping(holder.get("metadata")).get("annotations"))


def pod(holder: Mapping[str, Any]) -> Pod:
    """The pod of a `template`, taken apart."""
    spec = mapping(holder.get("spec"))
    return Pod(
        annotations=annotations_of(holder),
        spec=spec,
        security=mapping(spec.get("securityContext")),
        containers=tuple([_container(each) for name in CONTAINER_LISTS for each in items(spec.get(name))]),
        volumes=tuple([_volume(each) for each in items(spec.get("volumes"))]),
        windows=mapping(spec.get("os")).get("name") == "windows",
        own_users=spec.get("hostUsers") is False,
    )


def _container(value: Any) -> Container:
    body = mapping(value)
    return Container(text(body.get("name")), body, mapping(body.get("securityContext")))


def _volume(value: Any) -> Mapping[str, Any]:
    volume = mapping(value)
    if any(type(source) is dict for field, source in volume.items() if field != "name"):
        return volume
    return {**volume, "emptyDir": {}}


def owner(obj: Any) -> str:
    """`Kind/name` of the object's controller (the owner reference with `controller: true`), or an empty string."""
    for each in items(mapping(mapping(obj).get("metadata")).get("ownerReferences")):
        reference = mapping(each)
        if reference.get("controller") is True:
            return f"{text(reference.get('kind'))}/{text(reference.get('name'))}"
    return ""
