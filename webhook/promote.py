"""A policy → the objects that make Kubernetes itself enforce it, in the namespaces whose evidence allows it.

What is denied has to be exactly what was predicted. So an enforcing binding lists namespaces by name, keeps what the
original binding narrows down, and never reaches cluster-scoped objects by accident: a namespaceSelector does not hold
them back. Reads manifests as data: no compiler. Knows nothing of logs and verdicts.

Sources: `apiserver pkg/admission/plugin/policy/matching`, `pkg/admission/plugin/webhook/predicates/namespace`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from webhook import yamlfile
from webhook.errors import InvalidInput, Problem

GROUP = "admissionregistration.k8s.io"
POLICY = "ValidatingAdmissionPolicy"
BINDING = "ValidatingAdmissionPolicyBinding"
NAME_LABEL = "kubernetes.io/metadata.name"
CASES = ".cases.yaml"
SUFFIX = "-enforce"
LEVELS = ("baseline", "restricted")
"""Pod Security levels that can be enforced by labels."""

Object = dict[str, Any]


class Manifests(Struct, frozen=True):
    """The objects of policy files, by what they are."""

    policies: Mapping[str, Object]
    bindings: Sequence[Object]
    others: Sequence[Object]


def read(paths: Sequence[Path]) -> Manifests:
    """The manifests in files and folders, but for test cases. Raises `InvalidInput` with all that is no YAML."""
    policies: dict[str, Object] = {}
    bindings: list[Object] = []
    others: list[Object] = []
    problems: list[Problem] = []
    for path in yamlfile.files(paths):
        if path.name.endswith(CASES):
            continue
        file = yamlfile.read(path, marks=False)
        problems.extend(file.problems)
        for document in file.documents:
            for each in _objects(document.value):
                if each.get("kind") == POLICY:
                    policies[each["metadata"]["name"]] = each
                elif each.get("kind") == BINDING:
                    bindings.append(each)
                else:
                    others.append(each)
    if problems:
        raise InvalidInput(problems)
    return Manifests(policies, bindings, others)


def _objects(value: Any) -> Iterable[Object]:
    if not isinstance(value, dict):
        return
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _objects(item)
    elif isinstance(value.get("metadata"), dict) and isinstance(value["metadata"].get("name"), str):
        yield value


def enforce_policy(
    manifests: Manifests, policy: str, namespaces: Sequence[str], *, cluster: bool = False, audited: bool = False
) -> list[Object]:
    """The policy, its params, and for each of its bindings one that denies in these namespaces.

    `cluster`: also deny writes of cluster-scoped objects. `audited`: only bindings with the action Audit, since the
    API server records no failures of others. `policy` is in `manifests.policies`.
    """
    stored = manifests.policies[policy]
    originals = [
        each
        for each in manifests.bindings
        if each["spec"].get("policyName") == policy
        and (not audited or "Audit" in each["spec"].get("validationActions", ()))
    ]
    if not originals:
        originals = [{"apiVersion": stored["apiVersion"], "metadata": {"name": policy}, "spec": {"policyName": policy}}]
    objects = [_clean(stored), *_params(manifests, stored, originals)]
    for original in originals:
        wanted = [
            _binding(original, stored, _namespaced(namespaces), SUFFIX, namespaced=True) if namespaces else None,
            _binding(original, stored, [], f"{SUFFIX}-cluster", namespaced=False) if cluster else None,
        ]
        objects += [each for each in wanted if each is not None]
    return objects


def enforce_level(level: str, version: str, namespaces: Sequence[str]) -> list[Object]:
    """Namespaces with the labels that enforce a Pod Security level, to be applied server-side or merged.

    `version` is `v1.N`: with `latest` an upgrade of the cluster would enforce rules that nobody has seen evidence for.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {
                    "pod-security.kubernetes.io/enforce": level,
                    "pod-security.kubernetes.io/enforce-version": version,
                },
            },
        }
        for namespace in namespaces
    ]


def to_yaml(objects: Iterable[Object], *, comments: Sequence[str] = ()) -> str:
    """One stream of YAML documents; `comments` (printable lines) come first."""
    text = "".join(f"# {line}\n" for line in comments)
    return text + "".join(
        "---\n" + yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) for each in objects
    )


def _binding(original: Object, policy: Object, terms: list[Object], suffix: str, *, namespaced: bool) -> Object | None:
    """None when nothing of the policy is in that scope: a binding without rules would deny everywhere."""
    spec = original["spec"]
    resources = dict(spec.get("matchResources") or {})
    constraints = policy["spec"].get("matchConstraints") or {}
    selector = dict(resources.get("namespaceSelector") or {})
    if terms:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *terms]
    rules = resources.get("resourceRules") or constraints.get("resourceRules") or []
    if not resources.get("resourceRules"):
        resources["matchPolicy"] = constraints.get("matchPolicy", "Equivalent")
    resources["resourceRules"] = [scoped for rule in rules for scoped in _scoped(rule, namespaced=namespaced)]
    if not resources["resourceRules"]:
        return None
    if not namespaced:
        resources["excludeResourceRules"] = [*(resources.get("excludeResourceRules") or ()), _NAMESPACES]
    if selector:
        resources["namespaceSelector"] = selector
    return {
        "apiVersion": original["apiVersion"],
        "kind": BINDING,
        "metadata": {"name": f"{original['metadata']['name']}{suffix}"},
        "spec": {
            "policyName": spec["policyName"],
            "validationActions": ["Deny"],
            **({"paramRef": spec["paramRef"]} if spec.get("paramRef") else {}),
            "matchResources": resources,
        },
    }


_NAMESPACES = {"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"], "resources": ["namespaces"]}
"""Namespace objects are cluster-scoped, and yet a namespaceSelector chooses among them by their own labels."""


def _namespaced(namespaces: Sequence[str]) -> list[Object]:
    return [{"key": NAME_LABEL, "operator": "In", "values": sorted(namespaces)}]


def _scoped(rule: Object, *, namespaced: bool) -> Iterable[Object]:
    """The parts of a rule that are about namespaced objects and Namespaces, or about all others."""
    scope = rule.get("scope") or "*"
    if not namespaced:
        if scope != "Namespaced":
            yield {**rule, "scope": "Cluster"}
        return
    if scope != "Cluster":
        yield {**rule, "scope": "Namespaced"}
    named = [each for each in rule.get("resources") or () if each.split("/")[0] in ("namespaces", "*")]
    if scope != "Namespaced" and named and {"", "*"} & set(rule.get("apiGroups") or ()):
        subresources = {each.partition("/")[2] for each in named}
        yield {
            **rule,
            "apiGroups": [""],
            "resources": sorted(f"namespaces/{each}" if each else "namespaces" for each in subresources),
            "scope": "Cluster",
        }


def _params(manifests: Manifests, policy: Object, bindings: Iterable[Object]) -> Iterable[Object]:
    """The params that the files hold: a binding whose param is missing in the cluster denies nothing, or everything."""
    kind = policy["spec"].get("paramKind")
    if not kind:
        return
    references = [each["spec"]["paramRef"] for each in bindings if each["spec"].get("paramRef")]
    for each in manifests.others:
        if (each.get("apiVersion"), each.get("kind")) != (kind.get("apiVersion"), kind.get("kind")):
            continue
        meta = each["metadata"]
        if any(
            reference.get("name") in (None, meta["name"])
            and reference.get("namespace") in (None, meta.get("namespace"))
            for reference in references
        ):
            yield _clean(each)


def _clean(stored: Object) -> Object:
    """The object without what a cluster added to it."""
    meta = {key: value for key, value in stored["metadata"].items() if key not in _SERVER_SET}
    return {key: meta if key == "metadata" else value for key, value in stored.items() if key != "status"}


_SERVER_SET = frozenset(("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
