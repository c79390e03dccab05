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


def request(*, written: str, sent: str) -> Request:
    """A write in one version that was sent in another."""

    def resource(version: str) -> GroupVersionResource:
        return GroupVersionResource("autoscaling", version, "horizontalpodautoscalers")

    return Request(
        uid="u",
        kind=GroupVersionKind("autoscaling", sent, "HorizontalPodAutoscaler"),
        resource=resource(sent),
        request_resource=resource(written),
        operation="CREATE",
    )


def asked(policies: PolicySet, *, written: str, sent: str) -> list[str]:
    """Ids of the policies that are asked about it."""
    return [each.id for _, each in policies.candidates(request(written=written, sent=sent))]


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


def test_what_is_learned_of_candidates_is_kept_once() -> None:
    """A thousand policies for the same workloads would else learn it for each kind and operation."""
    alike = PolicySet([policy("one", "v1", "v2"), policy("other", "v1", "v2", "v3")])
    plans = [alike.plan(request(written=version, sent=version)) for version in ("v1", "v2", "v3")]
    assert plans[0] is plans[1]
    assert plans[2] is not plans[0]
