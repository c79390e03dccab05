"""Pods are found in every kind, in Kubernetes' order, and nothing hostile makes the walk raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import workload

PATHS = {
    "Pod": "",
    "PodTemplate": "template",
    "ReplicationController": "spec.template",
    "ReplicaSet": "spec.template",
    "Deployment": "spec.template",
    "StatefulSet": "spec.template",
    "DaemonSet": "spec.template",
    "Job": "spec.template",
    "CronJob": "spec.jobTemplate.spec.template",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def wrapped(pod: dict[str, Any], kind: str) -> Any:
    obj: Any = pod
    for step in reversed([step for step in PATHS[kind].split(".") if step]):
        obj = {step: obj}
    return obj


def test_the_kinds_are_the_ones_that_kubernetes_has() -> None:
    assert dict(workload.TEMPLATE_PATH) == {kind: tuple(filter(None, path.split("."))) for kind, path in PATHS.items()}


def pod_of(obj: Any, kind: str) -> workload.Pod | None:
    holder = workload.template(obj, kind)
    return None if holder is None else workload.pod(holder)


@pytest.mark.parametrize("kind", PATHS)
def test_every_kind_gives_its_pod(kind: str) -> None:
    pod = {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "ephemeralContainers": [{"name": "e"}],
            "containers": [{"name": "c", "securityContext": {"privileged": True}}, {"name": "d"}],
            "initContainers": [{"name": "i"}],
            "securityContext": {"runAsUser": 1},
            "os": {"name": "windows"},
            "hostUsers": False,
            "volumes": [{"name": "v", "secret": {}}, {"name": "w"}],
        },
    }
    found = pod_of(wrapped(pod, kind), kind)
    assert found is not None
    assert found.annotations == {"a": "b"}
    assert [each.name for each in found.containers] == ["i", "c", "d", "e"]
    assert found.containers[1].security == {"privileged": True}
    assert found.security == {"runAsUser": 1}
    assert found.volumes == ({"name": "v", "secret": {}}, {"name": "w", "emptyDir": {}})
    assert found.windows
    assert found.own_users


def test_other_kinds_have_no_pod() -> None:
    assert pod_of({"spec": {"template": {"spec": {}}}}, "Rollout") is None


@pytest.mark.parametrize("obj", [None, [], "x", 1, True])
def test_what_is_no_object_has_no_pod(obj: Any) -> None:
    assert pod_of(obj, "Pod") is None


def test_a_missing_template_is_an_empty_pod() -> None:
    found = pod_of({"spec": {"template": None}}, "ReplicationController")
    assert found is not None
    assert found.containers == ()
    assert not found.windows
    assert not found.own_users


def test_hostusers_true_is_no_user_namespace() -> None:
    found = pod_of({"spec": {"hostUsers": True, "os": {"name": "linux"}}}, "Pod")
    assert found is not None
    assert not found.own_users
    assert not found.windows


def test_the_owner_is_the_controller() -> None:
    references = [
        {"kind": "Node", "name": "n", "controller": False},
        {"kind": "Node", "name": "m"},
        {"kind": "ReplicaSet", "name": "shop-7d", "controller": True},
    ]
    assert workload.owner({"metadata": {"ownerReferences": references}}) == "ReplicaSet/shop-7d"
    assert workload.owner({"metadata": {"ownerReferences": references[:2]}}) == ""
    assert workload.owner(None) == ""


@given(obj=JSON, kind=st.sampled_from(sorted(PATHS)))
def test_any_json_is_survived(obj: Any, kind: str) -> None:
    workload.owner(obj)
    workload.owner({"metadata": obj})
    workload.owner({"metadata": {"ownerReferences": obj}})
    workload.owner({"metadata": {"ownerReferences": [obj]}})
    pod_of(obj, kind)
    pod_of(wrapped({"spec": obj}, kind), kind)
