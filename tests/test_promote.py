"""What is printed denies in the named namespaces and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import promote
from webhook.errors import InvalidInput
from webhook.promote import Manifests, enforce_level, enforce_policy, read, to_yaml


def rule(*resources: str, groups: tuple[str, ...] = ("",), **more: Any) -> dict[str, Any]:
    return {
        "apiGroups": list(groups),
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": list(resources),
        **more,
    }


def policy(*rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p", "uid": "u", "resourceVersion": "7", "annotations": {"wouldblock.dev/title": "P"}},
        "spec": {"matchConstraints": {"resourceRules": list(rules)}, "validations": [{"expression": "true"}], **spec},
        "status": {"observedGeneration": 1},
    }


def binding(name: str = "b", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": "p", "validationActions": ["Warn", "Audit"], **spec},
    }


def promoted(
    stored: dict[str, Any], *bindings: dict[str, Any], others: tuple[dict[str, Any], ...] = (), **more: Any
) -> list[dict[str, Any]]:
    return enforce_policy(Manifests({"p": stored}, bindings, others), "p", ["store", "shop"], **more)


def test_a_binding_that_denies_by_name() -> None:
    stored, denying = promoted(policy(rule("pods")), binding())
    assert stored["metadata"] == {"name": "p", "annotations": {"wouldblock.dev/title": "P"}}
    assert "status" not in stored
    assert denying == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b-enforce"},
        "spec": {
            "policyName": "p",
            "validationActions": ["Deny"],
            "matchResources": {
                "matchPolicy": "Equivalent",
                "resourceRules": [rule("pods", scope="Namespaced")],
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "store"]}
                    ]
                },
            },
        },
    }


def test_what_the_original_narrows_down_stays() -> None:
    original = {
        "namespaceSelector": {
            "matchLabels": {"env": "prod"},
            "matchExpressions": [{"key": "team", "operator": "Exists"}],
        },
        "objectSelector": {"matchLabels": {"a": "b"}},
        "resourceRules": [rule("pods", scope="Namespaced")],
        "excludeResourceRules": [rule("pods", resourceNames=["x"])],
        "matchPolicy": "Exact",
    }
    reference = {"name": "limits", "parameterNotFoundAction": "Deny"}
    _, denying = promoted(policy(rule("*")), binding(matchResources=original, paramRef=reference))
    resources = denying["spec"]["matchResources"]
    assert denying["spec"]["paramRef"] == reference
    assert resources["namespaceSelector"]["matchLabels"] == {"env": "prod"}
    assert resources["namespaceSelector"]["matchExpressions"] == [
        {"key": "team", "operator": "Exists"},
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "store"]},
    ]
    assert {key: resources[key] for key in original if key != "namespaceSelector"} == {
        key: value for key, value in original.items() if key != "namespaceSelector"
    }
    # The manifest that was read is not changed by it.
    assert len(original["namespaceSelector"]["matchExpressions"]) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("rules", "namespaced", "cluster"),
    [
        ([rule("pods")], [rule("pods", scope="Namespaced")], [rule("pods", scope="Cluster")]),
        ([rule("pods", scope="Namespaced")], [rule("pods", scope="Namespaced")], []),
        ([rule("nodes", scope="Cluster")], [], [rule("nodes", scope="Cluster")]),
        (
            [rule("namespaces", "nodes")],
            [rule("namespaces", "nodes", scope="Namespaced"), rule("namespaces", scope="Cluster")],
            [rule("namespaces", "nodes", scope="Cluster")],
        ),
        (
            [rule("*", "*/*", groups=("*",))],
            [
                rule("*", "*/*", groups=("*",), scope="Namespaced"),
                rule("namespaces", "namespaces/*", scope="Cluster"),
            ],
            [rule("*", "*/*", groups=("*",), scope="Cluster")],
        ),
        (
            [rule("*", groups=("apps",))],
            [rule("*", groups=("apps",), scope="Namespaced")],
            [rule("*", groups=("apps",), scope="Cluster")],
        ),
    ],
)
def test_cluster_scoped_objects_are_denied_only_on_request(
    rules: list[dict[str, Any]], namespaced: list[dict[str, Any]], cluster: list[dict[str, Any]]
) -> None:
    """A namespaceSelector does not hold back a policy from cluster-scoped objects; the scope of its rules does."""
    found = {each["metadata"]["name"]: each["spec"] for each in promoted(policy(*rules), binding())[1:]}
    assert set(found) == ({"b-enforce"} if namespaced else set())
    if namespaced:
        assert found["b-enforce"]["matchResources"]["resourceRules"] == namespaced
    found = {each["metadata"]["name"]: each["spec"] for each in promoted(policy(*rules), binding(), cluster=True)[1:]}
    # A binding without rules would be one for everything.
    assert ("b-enforce-cluster" in found) == bool(cluster)
    if cluster:
        resources = found["b-enforce-cluster"]["matchResources"]
        assert resources["resourceRules"] == cluster
        assert "namespaceSelector" not in resources
        assert resources["excludeResourceRules"][-1]["resources"] == ["namespaces"]


def test_params_come_along() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    params = tuple(
        {**kind, "metadata": {"name": name, "namespace": namespace}}
        for name, namespace in (("limits", "a"), ("limits", "b"), ("others", "a"))
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "limits", "namespace": "a"}}
    by_name = binding(paramRef={"name": "limits", "namespace": "a", "parameterNotFoundAction": "Deny"})
    found = promoted(policy(rule("pods"), paramKind=kind), by_name, others=(*params, secret))
    assert [each["metadata"] for each in found[1:-1]] == [{"name": "limits", "namespace": "a"}]
    by_label = binding(paramRef={"selector": {}, "parameterNotFoundAction": "Deny"})
    assert len(promoted(policy(rule("pods"), paramKind=kind), by_label, others=(*params, secret))) == 5


def test_every_binding_has_its_own() -> None:
    other = binding("other")
    other["spec"]["policyName"] = "q"
    warning = binding("c", validationActions=["Warn"])
    names = [each["metadata"]["name"] for each in promoted(policy(rule("pods")), binding(), warning, other)]
    assert names == ["p", "b-enforce", "c-enforce"]
    names = [each["metadata"]["name"] for each in promoted(policy(rule("pods")), binding(), warning, audited=True)]
    assert names == ["p", "b-enforce"]
    assert [each["metadata"]["name"] for each in promoted(policy(rule("pods")))] == ["p", "p-enforce"]


def test_namespace_labels_are_pinned() -> None:
    assert enforce_level("baseline", "v1.37", ["shop"]) == [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "shop",
                "labels": {
                    "pod-security.kubernetes.io/enforce": "baseline",
                    "pod-security.kubernetes.io/enforce-version": "v1.37",
                },
            },
        }
    ]


def test_what_is_printed_reads_back(root: Path) -> None:
    """Every shipped policy, texts of many lines and all."""
    manifests = read([root / "policies"])
    assert len(manifests.policies) >= 6
    for name, stored in manifests.policies.items():
        objects = enforce_policy(manifests, name, ["shop", "true", "1e3"], cluster=True)
        text = to_yaml(objects, comments=["why"])
        assert text.startswith("# why\n---\n")
        assert list(yaml.safe_load_all(text)) == objects
        assert objects[0] == stored


def test_what_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "p.cases.yaml").write_text("a: [")
    with pytest.raises(InvalidInput, match=r"bad\.yaml") as caught:
        read([tmp_path])
    assert len(caught.value.problems) == 1


def test_lists_are_read(tmp_path: Path) -> None:
    items = [policy(rule("pods")), binding()]
    (tmp_path / "list.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}))
    manifests = promote.read([tmp_path])
    assert list(manifests.policies) == ["p"]
    assert len(manifests.bindings) == 1
