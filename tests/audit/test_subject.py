from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from webhook.audit.fact import NOTHING, Fact
from webhook.audit.subject import Subject, interest_of, may_concern
from webhook.policy import Match, Requirement, Rule

FACT = Fact(
    operation="CREATE",
    group="autoscaling",
    version="v1",
    resource="horizontalpodautoscalers",
    subresource="",
    namespace="shop",
    root="",
    trial="",
    name="",
    rank=3,
    rejected=False,
    dry_run=False,
    collection=False,
    by_controller=False,
    cut=False,
    failed_open=False,
    review=None,
    unreadable_review=False,
    native=NOTHING,
)


def subject(*, selectors: tuple[Any, ...] = (), selector: tuple[Requirement, ...] = (), **rule: Any) -> Subject:
    fields = {
        "operations": ("CREATE",),
        "groups": ("autoscaling",),
        "versions": ("v2",),
        "resources": ("horizontalpodautoscalers",),
    }
    policy = rule.pop("match_policy", "Equivalent")
    match = Match(rules=(Rule(**{**fields, **rule}),), match_policy=policy, namespace_selector=selector)
    return Subject(id="p", match=match, namespace_match=selectors)


def unknown(_namespace: str) -> Mapping[str, str] | None:
    return None


def test_another_version_of_a_resource_counts_unless_the_match_is_exact() -> None:
    assert may_concern(subject(), FACT, unknown)
    assert not may_concern(subject(match_policy="Exact"), FACT, unknown)
    assert may_concern(subject(match_policy="Exact", versions=("v1",)), FACT, unknown)
    assert not may_concern(subject(groups=("apps",)), FACT, unknown)
    assert not may_concern(subject(operations=("UPDATE",)), FACT, unknown)
    assert not may_concern(Subject(id="p"), FACT, unknown)


@pytest.mark.parametrize(
    ("scope", "namespace", "resource", "concerns"),
    [
        ("Namespaced", "shop", "horizontalpodautoscalers", True),
        ("Cluster", "shop", "horizontalpodautoscalers", False),
        ("Cluster", "", "horizontalpodautoscalers", True),
        ("Namespaced", "", "horizontalpodautoscalers", False),
        # A Namespace is cluster-scoped, though the log names it as its own namespace.
        ("Cluster", "shop", "namespaces", True),
        ("Namespaced", "shop", "namespaces", False),
    ],
)
def test_scope(scope: str, namespace: str, resource: str, concerns: bool) -> None:
    fact = msgspec.structs.replace(FACT, namespace=namespace, resource=resource)
    assert may_concern(subject(scope=scope, resources=(resource,)), fact, unknown) == concerns


def test_namespace_labels_are_used_when_known_and_never_guessed() -> None:
    prod = (Requirement("env", "In", ("prod",)),)
    shop = (Requirement("kubernetes.io/metadata.name", "In", ("shop",)),)
    store = (Requirement("kubernetes.io/metadata.name", "In", ("store",)),)
    assert may_concern(subject(selector=prod), FACT, unknown)
    assert may_concern(subject(selector=prod), FACT, lambda _: {"env": "prod"})
    assert not may_concern(subject(selector=prod), FACT, lambda _: {})
    assert may_concern(subject(selector=shop), FACT, unknown)
    assert not may_concern(subject(selector=store), FACT, unknown)
    # Of several bindings any may select.
    assert may_concern(subject(selectors=(store, shop)), FACT, unknown)
    assert not may_concern(subject(selectors=(store, (*prod, *store))), FACT, unknown)
    assert may_concern(subject(selector=store), msgspec.structs.replace(FACT, namespace=""), unknown)


def test_interest() -> None:
    found = interest_of([subject(resources=("kettles", "kettles/scale"))])
    assert b"kettles" in found.resources
    assert (b"kettles", b"scale") in found.subresources
    assert b"pods" in found.resources
    assert not found.everything
    assert interest_of([subject(resources=("*",))]).everything
    assert interest_of([subject(resources=("kettles/*",))]).everything
