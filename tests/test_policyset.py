"""Which policies of a set are asked about a request."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.policy import PASS, Match, Metadata, Policy, Rule
from webhook.policyset import PolicySet
from webhook.review import GroupVersionKind, GroupVersionResource, Request


def policy(id: str, *versions: str, **more: Any) -> Policy:
    rule = Rule(
        groups=("autoscaling",), versions=versions, resources=("horizontalpodautoscalers",), operations=("CREATE",)
    )
    return Policy(id=id, digest="0", meta=Metadata(title=id), match=Match(rules=(rule,), **more), run=lambda _: PASS)


def asked(policies: PolicySet, *, written: str, sent: str) -> list[str]:
    """Ids of the policies that are asked about a write in one version that was sent in another."""

    def resource(version: str) -> GroupVersionResource:
        return GroupVersionResource("autoscaling", version, "horizontalpodautoscalers")

    request = Request(
        uid="u",
        kind=GroupVersionKind("autoscaling", sent, "HorizontalPodAutoscaler"),
        resource=resource(sent),
        request_resource=resource(written),
        operation="CREATE",
    )
    return [each.id for _, each in policies.candidates(request)]


SET = PolicySet(
    [policy("v1", "v1"), policy("v2", "v2"), policy("both", "v1", "v2"), policy("exact", "v2", match_policy="Exact")]
)


@pytest.mark.parametrize(
    ("written", "sent", "expected"),
    [
        ("v1", "v1", ["v1", "both"]),
        ("v2", "v2", ["v2", "both", "exact"]),
        ("v1", "v2", ["v2"]),
        ("v2", "v1", ["v1"]),
    ],
)
def test_each_policy_is_asked_once_in_the_version_that_the_api_server_would_give_it(
    written: str, sent: str, expected: list[str]
) -> None:
    """A policy for both versions sees the one that was written; one with `Exact` sees no converted object."""
    assert asked(SET, written=written, sent=sent) == expected
    assert asked(SET, written=written, sent=sent) == expected, "the table must not remember another write's answer"
