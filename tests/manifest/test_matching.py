"""Rules, names, scopes and selectors as the API server reads them, and what is said when a label is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from webhook.errors import NeedsState, NotComparable
from webhook.policy import PASS
from webhook.review import GroupVersionKind, GroupVersionResource
from webhook.state import State, snapshot

Pod = Callable[..., dict[str, Any]]
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name} | labels},
    }


def state(*objects: dict[str, Any]) -> State:
    return snapshot(objects, taken_at=0.0)


def matching(bench: Any, **match: Any) -> Any:
    constraints = bench.everything | match
    return bench.compiled(bench.policy(["true"], matchConstraints=constraints))


def selecting(bench: Any, **selector: Any) -> Any:
    return matching(bench, namespaceSelector=selector)


def test_object_selector_old_or_new(bench: Any, pod: Pod) -> None:
    policy = matching(bench, objectSelector={"matchLabels": {"app": "web"}})
    assert bench.run(policy, bench.request(pod(labels={"app": "web"}))) == PASS
    assert bench.run(policy, bench.request(pod(labels={"app": "db"}))) is None
    assert bench.run(policy, bench.request(pod(), old=pod(labels={"app": "web"}))) == PASS
    assert bench.run(policy, bench.request(pod(labels={"app": "web"}), operation="DELETE")) == PASS


def test_an_object_without_metadata_is_never_selected(bench: Any, pod: Pod) -> None:
    policy = matching(bench, objectSelector={"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})
    assert bench.run(policy, bench.request(pod())) == PASS
    exec_options = {"apiVersion": "v1", "kind": "PodExecOptions", "container": "c"}
    request = msgspec.structs.replace(
        bench.request(pod()), operation="CONNECT", object=msgspec.Raw(msgspec.json.encode(exec_options))
    )
    assert bench.run(policy, request) is None


def test_namespace_labels_come_from_the_state(bench: Any, pod: Pod) -> None:
    policy = selecting(bench, matchLabels={"env": "prod"})
    request = bench.request(pod())
    assert bench.run(policy, request, state(namespace("shop", env="prod"))) == PASS
    assert bench.run(policy, request, state(namespace("shop", env="test"))) is None


def test_an_unknown_namespace_is_no_verdict(bench: Any, pod: Pod) -> None:
    policy = selecting(bench, matchLabels={"env": "prod"})
    with pytest.raises(NeedsState, match="Namespace shop"):
        bench.run(policy, bench.request(pod()), state(namespace("other", env="prod")))


@pytest.mark.parametrize(("operator", "expected"), [("In", PASS), ("NotIn", None)])
def test_the_name_label_is_known_without_state(bench: Any, pod: Pod, operator: str, expected: Any) -> None:
    term = {"key": "kubernetes.io/metadata.name", "operator": operator, "values": ["shop", "kube-system"]}
    policy = selecting(bench, matchExpressions=[term])
    assert bench.run(policy, bench.request(pod())) == expected


def test_the_name_label_alone_may_decide(bench: Any, pod: Pod) -> None:
    term = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}
    policy = selecting(bench, matchExpressions=[term], matchLabels={"env": "prod"})
    assert bench.run(policy, bench.request(pod())) is None
    with pytest.raises(NeedsState):
        bench.run(policy, bench.request(pod(namespace="other")))


def test_state_is_not_asked_when_the_rest_does_not_match(bench: Any, pod: Pod) -> None:
    selector = {"matchLabels": {"env": "prod"}}
    policy = matching(bench, namespaceSelector=selector, objectSelector={"matchLabels": {"app": "web"}})
    assert bench.run(policy, bench.request(pod())) is None
    policy = matching(bench, namespaceSelector=selector, resourceRules=[RULE | {"resources": ["services"]}])
    assert bench.run(policy, bench.request(pod())) is None


def test_cluster_scoped_objects_always_match_a_namespace_selector(bench: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    assert bench.run(selecting(bench, matchLabels={"env": "prod"}), bench.request(node)) == PASS


def test_a_namespace_is_judged_by_its_own_labels(bench: Any) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["namespaces/*"]}
    policy = matching(bench, resourceRules=[rule], namespaceSelector={"matchLabels": {"env": "prod"}})
    prod, test = namespace("a", env="prod"), namespace("a", env="test")
    assert bench.run(policy, bench.request(prod)) == PASS
    assert bench.run(policy, bench.request(test)) is None
    assert bench.run(policy, bench.request(test, old=prod)) is None
    assert bench.run(policy, bench.request(test, old=prod, sub_resource="status")) == PASS
    assert bench.run(policy, bench.request(prod, operation="DELETE")) == PASS


@pytest.mark.parametrize(
    ("scope", "kind", "expected"),
    [
        ("Namespaced", "Pod", PASS),
        ("Cluster", "Pod", None),
        ("Namespaced", "Node", None),
        ("Cluster", "Node", PASS),
        ("Namespaced", "Namespace", None),
        ("Cluster", "Namespace", PASS),
        ("*", "Namespace", PASS),
    ],
)
def test_scope(bench: Any, scope: str, kind: str, expected: Any) -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"], "scope": scope}
    policy = matching(bench, resourceRules=[rule])
    meta = {"name": "x"} | ({"namespace": "shop"} if kind == "Pod" else {})
    assert bench.run(policy, bench.request({"apiVersion": "v1", "kind": kind, "metadata": meta})) == expected


def test_resource_names_are_not_remembered_for_other_names(bench: Any, pod: Pod) -> None:
    policy = matching(bench, resourceRules=[RULE | {"resourceNames": ["web"]}])
    assert bench.run(policy, bench.request(pod())) == PASS
    assert bench.run(policy, bench.request(pod(name="db"))) is None
    assert bench.run(policy, bench.request(pod(), name="")) is None


def test_scope_is_not_remembered_for_the_other_scope(bench: Any, pod: Pod) -> None:
    policy = matching(bench, resourceRules=[RULE | {"scope": "Namespaced"}])
    assert bench.run(policy, bench.request(pod(), namespace="")) is None
    assert bench.run(policy, bench.request(pod())) == PASS


def test_exclude_wins(bench: Any, pod: Pod) -> None:
    policy = matching(bench, excludeResourceRules=[RULE | {"resourceNames": ["web"]}])
    assert bench.run(policy, bench.request(pod())) is None
    assert bench.run(policy, bench.request(pod(name="db"))) == PASS


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authentication.k8s.io", "tokenreviews"),
    ],
)
def test_what_the_server_never_evaluates(bench: Any, pod: Pod, group: str, resource: str) -> None:
    gvr = GroupVersionResource(group, "v1", resource)
    request = bench.request(pod(), resource=gvr, request_resource=gvr)
    assert bench.run(matching(bench), request) is None


def test_webhook_configurations_are_evaluated(bench: Any, pod: Pod) -> None:
    gvr = GroupVersionResource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
    request = bench.request(pod(), resource=gvr, request_resource=gvr, namespace="")
    assert bench.run(matching(bench), request) == PASS


class TestConverted:
    """The client wrote v1, the webhook was sent v2. The set asks no policy that names v1; one that is asked all
    the same has no verdict."""

    V1, V2 = (GroupVersionResource("autoscaling", version, "horizontalpodautoscalers") for version in ("v1", "v2"))

    def verdict(self, bench: Any, versions: list[str], policy: str = "Equivalent") -> Any:
        hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
        kind = GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscaler")
        rule = {"apiGroups": ["autoscaling"], "apiVersions": versions, "operations": ["*"], "resources": ["*"]}
        request = bench.request(hpa, resource=self.V2, request_resource=self.V1, request_kind=kind)
        return bench.undispatched(matching(bench, resourceRules=[rule], matchPolicy=policy), request)

    def test_a_rule_for_the_sent_version_sees_the_same_object_on_the_server(self, bench: Any) -> None:
        assert self.verdict(bench, ["v2"]) == PASS

    @pytest.mark.parametrize("versions", [["v1"], ["*"], ["v1", "v2"]])
    def test_a_rule_for_the_written_version_would_see_another_object(self, bench: Any, versions: list[str]) -> None:
        with pytest.raises(NotComparable, match="autoscaling/v1"):
            self.verdict(bench, versions)

    def test_exact_never_sees_it(self, bench: Any) -> None:
        assert self.verdict(bench, ["v2"], "Exact") is None


def test_a_binding_narrows(bench: Any, pod: Pod) -> None:
    policy = bench.compiled(
        bench.policy(["false"]),
        [
            bench.binding("services", matchResources={"resourceRules": [RULE | {"resources": ["services"]}]}),
            bench.binding("web", matchResources={"objectSelector": {"matchLabels": {"app": "web"}}}),
        ],
    )
    found = bench.run(policy, bench.request(pod(labels={"app": "web"})))
    assert [finding.binding for finding in found.findings] == ["web"]
    assert bench.run(policy, bench.request(pod())) is None


def test_the_policy_tells_its_bindings_namespace_selectors(bench: Any) -> None:
    selector = {"matchResources": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}}
    narrowed = bench.compiled(bench.policy(["true"]), [bench.binding("a", **selector)])
    assert [term.key for (term,) in narrowed.namespace_match] == ["env"]
    wide = bench.compiled(bench.policy(["true"]), [bench.binding("a", **selector), bench.binding("b")])
    assert wide.namespace_match == ()
    assert wide.bindings == ("a", "b")
