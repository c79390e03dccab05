"""The configuration asks for what the policies match, exactly, and its guard pins it."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook import registration, subscription
from webhook.annotations import WEBHOOK_NAME
from webhook.errors import InvalidInput, UserError
from webhook.match import matches_resource
from webhook.policy import PASS, Match, Metadata, Policy, PolicyRecord, Rule, SetRecord
from webhook.policyset import PolicySet, archive
from webhook.registration import guard, webhook_configuration
from webhook.subscription import EXACT_NAME, Need, entries


def rule(group: str, versions: str, resources: str, operations: str = "CREATE UPDATE", **more: Any) -> Rule:
    return Rule(
        groups=(group,),
        versions=tuple(versions.split()),
        resources=tuple(resources.split()),
        operations=tuple(operations.split()),
        **more,
    )


def policy(id: str, *rules: Rule, **more: Any) -> Policy:
    return Policy(id=id, digest="0", meta=Metadata(title=id), match=Match(rules=rules, **more), run=lambda _: PASS)


PODS = policy("pods", rule("", "v1", "pods"), rule("", "v1", "pods/ephemeralcontainers", "UPDATE"))
WORKLOADS = policy("workloads", rule("apps", "v1", "deployments statefulsets"), rule("batch", "v1", "jobs"))


def test_rules_are_those_of_the_policies() -> None:
    configuration = webhook_configuration(PolicySet([PODS, WORKLOADS]))
    (hook,) = configuration["webhooks"]
    assert hook["name"] == WEBHOOK_NAME
    assert [(r["apiGroups"], r["apiVersions"], r["operations"], r["resources"], r["scope"]) for r in hook["rules"]] == [
        ([""], ["v1"], ["CREATE", "UPDATE"], ["pods"], "*"),
        ([""], ["v1"], ["UPDATE"], ["pods/ephemeralcontainers"], "*"),
        (["apps"], ["v1"], ["CREATE", "UPDATE"], ["deployments", "statefulsets"], "*"),
        (["batch"], ["v1"], ["CREATE", "UPDATE"], ["jobs"], "*"),
    ]


def test_nothing_in_it_can_block_or_delay() -> None:
    for hook in webhook_configuration(PolicySet([PODS]))["webhooks"]:
        assert hook["failurePolicy"] == "Ignore"
        assert hook["timeoutSeconds"] == 2
        assert hook["sideEffects"] == "None"
        assert hook["admissionReviewVersions"] == ["v1"]
        assert hook["objectSelector"] == {}
        assert hook["namespaceSelector"]["matchExpressions"] == [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["wouldblock-system"]}
        ]
        assert hook["clientConfig"] == {
            "service": {"name": "wouldblock", "namespace": "wouldblock-system", "path": "/validate", "port": 443}
        }


def test_excluded_namespaces_are_beside_our_own_and_sorted() -> None:
    configuration = webhook_configuration(PolicySet([PODS]), exclude_namespaces=["kube-system", "dev"])
    (expression,) = configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["dev", "kube-system", "wouldblock-system"]


def test_the_condition_survives_a_user_without_a_name() -> None:
    """An error in a condition skips the request in silence, so `has` has to come first."""
    (condition,) = webhook_configuration(PolicySet([PODS]))["webhooks"][0]["matchConditions"]
    assert condition["expression"] == (
        "!has(request.userInfo.username)"
        ' || request.userInfo.username != "system:serviceaccount:wouldblock-system:wouldblock"'
    )


def test_the_ca_is_base64_and_absent_without_one() -> None:
    with_ca = webhook_configuration(PolicySet([PODS]), ca_bundle=b"pem")
    assert base64.b64decode(with_ca["webhooks"][0]["clientConfig"]["caBundle"]) == b"pem"
    assert "caBundle" not in webhook_configuration(PolicySet([PODS]))["webhooks"][0]["clientConfig"]


def test_an_archived_set_gives_the_same_configuration() -> None:
    policies = PolicySet([PODS, WORKLOADS])
    assert webhook_configuration(archive(policies)) == webhook_configuration(policies)


def test_policies_that_name_different_versions_get_an_entry_a_version() -> None:
    """In one entry, the rule for v1 would win for writes of v1, and the policy for v2 would see none of them."""
    old = policy("old", rule("autoscaling", "v1", "horizontalpodautoscalers"))
    new = policy("new", rule("autoscaling", "v2", "horizontalpodautoscalers"))
    found = {entry.name: {(need.resource, need.version) for need in entry.needs} for entry in entries([old, new, PODS])}
    assert found == {
        WEBHOOK_NAME: {("horizontalpodautoscalers", "v1"), ("pods", "v1"), ("pods/ephemeralcontainers", "v1")},
        f"v2.{WEBHOOK_NAME}": {("horizontalpodautoscalers", "v2")},
    }


def test_versions_that_all_policies_name_alike_stay_together() -> None:
    both = policy("both", rule("autoscaling", "v1 v2", "horizontalpodautoscalers"))
    again = policy("again", rule("autoscaling", "v2 v1", "horizontalpodautoscalers", "CREATE"))
    (entry,) = entries([both, again])
    assert entry.name == WEBHOOK_NAME
    assert {need.version for need in entry.needs} == {"v1", "v2"}


def test_released_versions_come_first() -> None:
    one = policy("one", rule("resource.k8s.io", "v1beta1", "resourceclaims"))
    two = policy("two", rule("resource.k8s.io", "v1", "resourceclaims"))
    assert [entry.name for entry in entries([one, two])] == [WEBHOOK_NAME, f"v1beta1.{WEBHOOK_NAME}"]


def test_custom_resources_are_exact() -> None:
    """The server must not convert them: a broken conversion webhook would fail the write."""
    custom = policy("custom", rule("example.com", "v1", "widgets"), rule("", "v1", "services"))
    other = policy("other", rule("example.com", "v1alpha1", "widgets"))
    hooks = webhook_configuration(PolicySet([custom, other]))["webhooks"]
    assert [(hook["name"], hook["matchPolicy"]) for hook in hooks] == [
        (WEBHOOK_NAME, "Equivalent"),
        (EXACT_NAME, "Exact"),
    ]
    assert [(r["apiGroups"], r["apiVersions"]) for r in hooks[1]["rules"]] == [(["example.com"], ["v1", "v1alpha1"])]


def test_what_only_exact_policies_name_is_exact() -> None:
    exact = policy("exact", rule("autoscaling", "v2", "horizontalpodautoscalers"), match_policy="Exact")
    assert [entry.name for entry in entries([exact])] == [EXACT_NAME]


@pytest.mark.parametrize(
    ("wide", "says"),
    [
        (Rule(groups=("*",), versions=("v1",), resources=("pods",), operations=("CREATE",)), "apiGroups *"),
        (rule("apps", "*", "deployments"), "apiVersions *"),
        (rule("", "v1", "*"), "resources *"),
        (rule("", "v1", "*/*"), "resources */*"),
        (rule("", "v1", "pods/*"), "resources pods/*"),
        (rule("apps", "v1", "*/scale"), "resources */scale"),
    ],
)
def test_wildcards_are_refused_by_policy_and_field(wide: Rule, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        webhook_configuration(PolicySet([PODS, policy("wide", wide)]))
    (problem,) = caught.value.problems
    assert problem.policy == "wide"
    assert says in problem.message
    assert problem.path == "spec.matchConstraints.resourceRules[0]"


def test_all_operations_are_written_out() -> None:
    (entry,) = entries([policy("any", rule("", "v1", "services", "*"))])
    assert [each["operations"] for each in registration.rules(entry.needs)] == [
        ["CREATE", "UPDATE", "DELETE", "CONNECT"]
    ]


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        ("", "nodes"),
        ("", "nodes/status"),
        ("", "events"),
        ("", "endpoints"),
        ("", "bindings"),
        ("", "pods/binding"),
        ("", "pods/status"),
        ("apps", "deployments/status"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("discovery.k8s.io", "endpointslices"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ],
)
def test_what_would_slow_the_cluster_is_refused(group: str, resource: str) -> None:
    with pytest.raises(InvalidInput, match="is never subscribed to"):
        entries([policy("heavy", rule(group, "v1", resource))])


def test_an_exclusion_takes_the_refused_resource_away() -> None:
    spared = policy("spared", rule("", "v1", "pods nodes"), exclude=(rule("", "v1", "nodes", "*"),))
    assert {need.resource for entry in entries([spared]) for need in entry.needs} == {"pods"}


def test_a_set_without_rules_is_refused() -> None:
    with pytest.raises(UserError, match="matches nothing"):
        webhook_configuration(PolicySet([]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"service": "Wouldblock"},
        {"namespace": "a.b"},
        {"exclude_namespaces": ["'x"]},
        {"path": "/validate/"},
        {"path": "validate"},
        {"path": "/a?b"},
        {"port": 0},
        {"port": 65_536},
    ],
)
def test_wrong_names_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected"):
        webhook_configuration(PolicySet([PODS]), **wrong)


# What the API server does with rules, over a small world of writes.

quick = settings(deadline=None, max_examples=60)

GROUPS = ("", "apps", "autoscaling", "example.com")
VERSIONS = ("v1", "v2", "v1beta1")
RESOURCES = ("pods", "pods/exec", "deployments", "widgets")

some_rule = st.builds(
    Rule,
    groups=st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True).map(tuple),
    versions=st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=3, unique=True).map(tuple),
    resources=st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=3, unique=True).map(tuple),
    operations=st.lists(st.sampled_from((*subscription.OPERATIONS, "*")), min_size=1, max_size=3, unique=True).map(
        tuple
    ),
    scope=st.sampled_from(("*", "Namespaced", "Cluster")),
)
some_match = st.builds(
    Match,
    rules=st.lists(some_rule, min_size=1, max_size=3).map(tuple),
    exclude=st.lists(some_rule, max_size=1).map(tuple),
    match_policy=st.sampled_from(("Exact", "Equivalent")),
)
some_set = st.lists(some_match, min_size=1, max_size=4).map(
    lambda matches: tuple(
        PolicyRecord(id=f"p{number}", digest="0", meta=Metadata(title=""), match=match)
        for number, match in enumerate(matches)
    )
)
WRITES = [
    (group, version, resource, operation)
    for group, version, resource, operation in itertools.product(GROUPS, VERSIONS, RESOURCES, subscription.OPERATIONS)
]


def delivered(hook: dict[str, Any], group: str, version: str, resource: str, operation: str) -> str:
    """The version in which an entry is sent a write, or an empty string: exact rules first, then equivalent ones."""

    def matches(rule: dict[str, Any], asked: str) -> bool:
        return (
            group in rule["apiGroups"]
            and asked in rule["apiVersions"]
            and resource in rule["resources"]
            and operation in rule["operations"]
        )

    if any(matches(each, version) for each in hook["rules"]):
        return version
    if hook["matchPolicy"] == "Exact":
        return ""
    return next((other for each in hook["rules"] for other in each["apiVersions"] if matches(each, other)), "")


@quick
@given(some_set)
def test_every_policy_is_sent_what_it_matches_and_no_entry_more_than_some_policy_wants(
    policies: tuple[PolicyRecord, ...],
) -> None:
    if not any(True for each in entries(policies)):
        return
    hooks = webhook_configuration(SetRecord(digest="0", policies=policies))["webhooks"]
    for group, version, resource, operation in WRITES:
        name, _, sub = resource.partition("/")
        sent = {found for hook in hooks if (found := delivered(hook, group, version, resource, operation))}
        for each in policies:
            if matches_resource(each.match, group, version, name, sub, operation):
                assert version in sent
            elif (
                each.match.match_policy == "Equivalent"
                and group in subscription.BUILT_IN_GROUPS
                and len(named := [v for v in VERSIONS if matches_resource(each.match, group, v, name, sub, operation)])
                == 1
            ):
                assert named[0] in sent
        for asked in sent:
            assert any(matches_resource(each.match, group, asked, name, sub, operation) for each in policies)


@quick
@given(some_set)
def test_entries_have_legal_names_and_no_stars(policies: tuple[PolicyRecord, ...]) -> None:
    found = entries(policies)
    assert len({entry.name for entry in found}) == len(found)
    for entry in found:
        assert entry.name == WEBHOOK_NAME or entry.name.endswith(f".{WEBHOOK_NAME}")
        for each in registration.rules(entry.needs):
            assert not any("*" in value for key in each if key != "scope" for value in each[key])


@quick
@given(some_set, st.randoms(use_true_random=False))
def test_the_order_of_policies_and_rules_changes_nothing(policies: tuple[PolicyRecord, ...], random: Any) -> None:
    mixed = list(policies)
    random.shuffle(mixed)
    assert entries(mixed) == entries(policies)
    assert registration.rules(needs := [need for entry in entries(policies) for need in entry.needs]) == (
        registration.rules(random.sample(needs, len(needs)))
    )


@quick
@given(st.sets(st.builds(Need, *map(st.sampled_from, (GROUPS, RESOURCES, VERSIONS, subscription.OPERATIONS, ("*",))))))
def test_merged_rules_say_what_the_single_ones_said(needs: set[Need]) -> None:
    said = [
        Need(*each)
        for r in registration.rules(needs)
        for each in itertools.product(r["apiGroups"], r["resources"], r["apiVersions"], r["operations"], (r["scope"],))
    ]
    assert set(said) == needs
    assert len(said) == len(needs)


def test_two_scopes_of_one_resource_become_both() -> None:
    one = rule("", "v1", "pods", "CREATE", scope="Namespaced")
    two = rule("", "v1", "pods", "CREATE", scope="Cluster")
    (entry,) = entries([policy("one", one), policy("two", two)])
    assert [each["scope"] for each in registration.rules(entry.needs)] == ["*"]
    (entry,) = entries([policy("one", one)])
    assert [each["scope"] for each in registration.rules(entry.needs)] == ["Namespaced"]


# The guard. What it stops is shown on a real API server in tests/e2e/test_deploy.py; here: what it is made of.


def test_the_guard_matches_our_object_alone_and_not_its_deletion() -> None:
    policy_object, binding = guard(webhook_configuration(PolicySet([PODS]), name="mine"))
    assert policy_object["spec"]["failurePolicy"] == "Fail"
    (matched,) = policy_object["spec"]["matchConstraints"]["resourceRules"]
    assert matched["resourceNames"] == ["mine"]
    assert matched["resources"] == ["validatingwebhookconfigurations"]
    assert matched["operations"] == ["CREATE", "UPDATE"]
    assert binding["spec"] == {"policyName": policy_object["metadata"]["name"], "validationActions": ["Deny"]}


def test_the_guard_speaks_of_every_field_but_the_ca() -> None:
    configuration = webhook_configuration(PolicySet([PODS]), ca_bundle=b"pem")
    text = "\n".join(each["expression"] for each in guard(configuration)[0]["spec"]["validations"])
    (hook,) = configuration["webhooks"]
    for field in (*hook, *hook["clientConfig"]["service"], *hook["rules"][0], "url", "matchLabels"):
        assert field in text, field
    assert "caBundle" not in text


def test_the_guard_follows_from_the_configuration_and_not_from_its_ca() -> None:
    policies = PolicySet([PODS])
    assert guard(webhook_configuration(policies)) == guard(webhook_configuration(policies, ca_bundle=b"pem"))
    assert guard(webhook_configuration(policies)) != guard(webhook_configuration(PolicySet([WORKLOADS])))
