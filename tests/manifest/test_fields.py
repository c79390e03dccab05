"""Every rule of the API server's own validation, broken once."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.manifest.fields import read_binding, read_policy
from webhook.policy import Severity
from webhook.yamlfile import Document

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def spec(bench: Any, **change: Any) -> Any:
    policy = bench.policy(["true"])
    policy["spec"] |= change
    return policy


def match(bench: Any, **change: Any) -> Any:
    return spec(bench, matchConstraints={"resourceRules": [RULE], **change})


def rule(bench: Any, **change: Any) -> Any:
    return match(bench, resourceRules=[RULE | change])


BROKEN: dict[str, tuple[Any, str, str]] = {
    "no spec": (lambda b: {k: v for k, v in b.policy().items() if k != "spec"}, "spec", "missing"),
    "unknown root field": (lambda b: b.policy(["true"]) | {"data": {}}, "data", "unknown field"),
    "unknown spec field": (
        lambda b: spec(b, failurepolicy="Fail"),
        "spec.failurepolicy",
        "did you mean failurePolicy?",
    ),
    "api version": (
        lambda b: b.policy(["true"]) | {"apiVersion": "admissionregistration.k8s.io/v2"},
        "apiVersion",
        "v2",
    ),
    "name": (lambda b: b.policy(["true"], name="Not_DNS"), "metadata.name", "DNS name"),
    "no name": (lambda b: b.policy(["true"]) | {"metadata": {}}, "metadata.name", "missing"),
    "failure policy": (lambda b: spec(b, failurePolicy="fail"), "spec.failurePolicy", "Fail, Ignore"),
    "nothing to do": (lambda b: b.policy(), "spec", "at least one item"),
    "no constraints": (lambda b: spec(b, matchConstraints=None), "spec.matchConstraints", "missing"),
    "no rules": (lambda b: match(b, resourceRules=[]), "spec.matchConstraints.resourceRules", "at least one rule"),
    "match policy": (lambda b: match(b, matchPolicy="exact"), "spec.matchConstraints.matchPolicy", "Exact, Equivalent"),
    "no groups": (
        lambda b: rule(b, apiGroups=[]),
        "spec.matchConstraints.resourceRules[0].apiGroups",
        "at least one item",
    ),
    "star and more": (
        lambda b: rule(b, apiGroups=["*", "apps"]),
        "spec.matchConstraints.resourceRules[0].apiGroups",
        "alone",
    ),
    "empty version": (
        lambda b: rule(b, apiVersions=[""]),
        "spec.matchConstraints.resourceRules[0].apiVersions[0]",
        "empty",
    ),
    "operation": (
        lambda b: rule(b, operations=["PATCH"]),
        "spec.matchConstraints.resourceRules[0].operations[0]",
        "CREATE, UPDATE, DELETE, CONNECT",
    ),
    "covered subresource": (
        lambda b: rule(b, resources=["pods/*", "pods/status"]),
        "spec.matchConstraints.resourceRules[0].resources[1]",
        "pods/* already covers it",
    ),
    "covered resource": (
        lambda b: rule(b, resources=["*/scale", "pods/scale"]),
        "spec.matchConstraints.resourceRules[0].resources[1]",
        "*/scale already covers it",
    ),
    "double star": (
        lambda b: rule(b, resources=["*/*", "pods"]),
        "spec.matchConstraints.resourceRules[0].resources",
        "'*/*'",
    ),
    "star and resource": (
        lambda b: rule(b, resources=["*", "pods"]),
        "spec.matchConstraints.resourceRules[0].resources",
        "'*'",
    ),
    "scope": (
        lambda b: rule(b, scope="cluster"),
        "spec.matchConstraints.resourceRules[0].scope",
        "Cluster, Namespaced",
    ),
    "resource name": (
        lambda b: rule(b, resourceNames=["a/b"]),
        "spec.matchConstraints.resourceRules[0].resourceNames[0]",
        "object's name",
    ),
    "resource name twice": (
        lambda b: rule(b, resourceNames=["a", "a"]),
        "spec.matchConstraints.resourceRules[0].resourceNames[1]",
        "second time",
    ),
    "selector value": (
        lambda b: match(b, namespaceSelector={"matchLabels": {"a": "b c"}}),
        "spec.matchConstraints.namespaceSelector.matchLabels.a",
        "label value",
    ),
    "selector key": (
        lambda b: match(b, objectSelector={"matchLabels": {"-a": "b"}}),
        "spec.matchConstraints.objectSelector.matchLabels[-a]",
        "[prefix/]name",
    ),
    "selector without values": (
        lambda b: match(b, objectSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "spec.matchConstraints.objectSelector.matchExpressions[0].values",
        "at least one value",
    ),
    "selector with values": (
        lambda b: match(b, objectSelector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
        "spec.matchConstraints.objectSelector.matchExpressions[0].values",
        "takes no values",
    ),
    "many conditions": (
        lambda b: spec(b, matchConditions=[{"name": f"n{i}", "expression": "true"} for i in range(65)]),
        "spec.matchConditions",
        "at most 64",
    ),
    "same condition": (
        lambda b: spec(b, matchConditions=[{"name": "a", "expression": "true"}] * 2),
        "spec.matchConditions[1].name",
        "taken",
    ),
    "condition name": (
        lambda b: spec(b, matchConditions=[{"name": "a b", "expression": "true"}]),
        "spec.matchConditions[0].name",
        "[prefix/]name",
    ),
    "blank condition": (
        lambda b: spec(b, matchConditions=[{"name": "a", "expression": " "}]),
        "spec.matchConditions[0].expression",
        "CEL expression",
    ),
    "condition with variables": (
        lambda b: spec(
            b,
            matchConditions=[{"name": "a", "expression": "variables.x"}],
            variables=[{"name": "x", "expression": "true"}],
        ),
        "spec.matchConditions[0].expression",
        "undeclared reference to 'variables'",
    ),
    "variable name": (
        lambda b: spec(b, variables=[{"name": "for", "expression": "1"}]),
        "spec.variables[0].name",
        "CEL identifier",
    ),
    "same variable": (
        lambda b: spec(b, variables=[{"name": "a", "expression": "1"}] * 2),
        "spec.variables[1].name",
        "the last one counts for all",
    ),
    "cyclic variables": (
        lambda b: spec(
            b, variables=[{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "variables.a"}]
        ),
        "spec.variables[0].expression",
        "undefined field 'b'",
    ),
    "no expression": (lambda b: b.policy([{"message": "m"}]), "spec.validations[0].expression", "CEL expression"),
    "expression unquoted": (lambda b: b.policy([{"expression": True}]), "spec.validations[0].expression", "in quotes"),
    "not bool": (lambda b: b.policy(["object.spec.x"]), "spec.validations[0].expression", "bool but got dyn"),
    "syntax": (lambda b: b.policy(["1 +"]), "spec.validations[0].expression", "Syntax error"),
    "unknown function": (lambda b: b.policy(["nope()"]), "spec.validations[0].expression", "nope"),
    "params undeclared": (
        lambda b: b.policy(["params == null"]),
        "spec.validations[0].expression",
        "undeclared reference to 'params'",
    ),
    "bad pattern": (lambda b: b.policy(["'a'.matches('(')"]), "spec.validations[0].expression", "matches argument"),
    "blank message": (
        lambda b: b.policy([{"expression": "true", "message": " "}]),
        "spec.validations[0].message",
        "some text",
    ),
    "message of two lines": (
        lambda b: b.policy([{"expression": "true", "message": "a\nb"}]),
        "spec.validations[0].message",
        "line breaks",
    ),
    "blank message expression": (
        lambda b: b.policy([{"expression": "true", "messageExpression": " "}]),
        "spec.validations[0].messageExpression",
        "an expression",
    ),
    "message expression of another type": (
        lambda b: b.policy([{"expression": "true", "messageExpression": "1"}]),
        "spec.validations[0].messageExpression",
        "string but got int",
    ),
    "message expression with authorizer": (
        lambda b: b.policy([{"expression": "true", "messageExpression": "string(authorizer)"}]),
        "spec.validations[0].messageExpression",
        "undeclared reference to 'authorizer'",
    ),
    "reason": (
        lambda b: b.policy([{"expression": "true", "reason": "Unauthorized"}]),
        "spec.validations[0].reason",
        "Forbidden, Invalid, RequestEntityTooLarge",
    ),
    "many annotations": (
        lambda b: spec(b, auditAnnotations=[{"key": f"k{i}", "valueExpression": "'a'"} for i in range(21)]),
        "spec.auditAnnotations",
        "at most 20",
    ),
    "same annotation": (
        lambda b: spec(b, auditAnnotations=[{"key": "k", "valueExpression": "'a'"}] * 2),
        "spec.auditAnnotations[1].key",
        "taken",
    ),
    "annotation key": (
        lambda b: spec(b, auditAnnotations=[{"key": "k" * 64, "valueExpression": "'a'"}]),
        "spec.auditAnnotations[0].key",
        "63 characters",
    ),
    "annotation of another type": (
        lambda b: spec(b, auditAnnotations=[{"key": "k", "valueExpression": "1"}]),
        "spec.auditAnnotations[0].valueExpression",
        "[string null_type] but got int",
    ),
    "long annotation": (
        lambda b: spec(b, auditAnnotations=[{"key": "k", "valueExpression": f"'{'a' * 5_119}'"}]),
        "spec.auditAnnotations[0].valueExpression",
        "5120 bytes",
    ),
    "param kind": (
        lambda b: spec(b, paramKind={"apiVersion": "a/b/c", "kind": "ConfigMap"}),
        "spec.paramKind.apiVersion",
        "version",
    ),
    "param kind's kind": (
        lambda b: spec(b, paramKind={"apiVersion": "v1", "kind": "Config Map"}),
        "spec.paramKind.kind",
        "letters",
    ),
    "wrong type": (lambda b: spec(b, validations={"expression": "true"}), "spec.validations", "a list, found a map"),
    "item of a wrong type": (
        lambda b: b.policy() | {"spec": spec(b)["spec"] | {"validations": ["true"]}},
        "spec.validations[0]",
        "a map, found text",
    ),
    "severity": (
        lambda b: b.policy(["true"], annotations={"wouldblock.dev/severity": "fatal"}),
        "metadata.annotations[wouldblock.dev/severity]",
        "critical, high",
    ),
    "our annotation misspelt": (
        lambda b: b.policy(["true"], annotations={"wouldblock.dev/severty": "high"}),
        "metadata.annotations[wouldblock.dev/severty]",
        "wouldblock.dev/severity",
    ),
    "default unquoted": (
        lambda b: b.policy(["true"], annotations={"wouldblock.dev/default": False}),
        "metadata.annotations[wouldblock.dev/default]",
        "expected text",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_of_a_policy(bench: Any, name: str) -> None:
    make, path, message = BROKEN[name]
    problems = bench.problems(make(bench))
    found = [problem for problem in problems if problem.path == path]
    assert found, [str(problem) for problem in problems]
    assert any(message in problem.message for problem in found), [problem.message for problem in found]


def test_a_policy_as_the_server_stores_it_is_good(bench: Any) -> None:
    stored = bench.policy(["true"])
    stored["metadata"] |= {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 1,
        "managedFields": [],
        "creationTimestamp": "t",
    }
    stored["spec"] |= {"failurePolicy": "Fail", "matchConditions": None, "variables": None}
    assert bench.problems(stored | {"status": {"observedGeneration": 1}}) == ()


def test_all_problems_at_once(bench: Any) -> None:
    policy = bench.policy([{"expression": "1 +", "reason": "No"}, "2"], failurePolicy="no", name="Bad_")
    _, problems = read_policy(Document(file="f", value=policy))
    assert [problem.path for problem in problems] == [
        "metadata.name",
        "spec.failurePolicy",
        "spec.validations[0].reason",
    ]


def test_metadata_comes_from_annotations(bench: Any) -> None:
    annotations = {
        "wouldblock.dev/title": "A title",
        "wouldblock.dev/severity": "critical",
        "wouldblock.dev/references": "cis:5.1.1, nsa:pods,",
        "wouldblock.dev/default": "off",
        "example.com/other": "ignored",
    }
    meta = bench.compiled(bench.policy(["true"], annotations=annotations)).meta
    assert (meta.title, meta.severity, meta.references, meta.default) == (
        "A title",
        Severity.CRITICAL,
        ("cis:5.1.1", "nsa:pods"),
        "off",
    )
    assert bench.compiled(bench.policy(["true"])).meta.title == "p.example.com"


BROKEN_BINDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "policy name": ({"policyName": "A_b"}, "spec.policyName"),
    "no policy name": ({"policyName": None}, "spec.policyName"),
    "no actions": ({"validationActions": []}, "spec.validationActions"),
    "unknown action": ({"validationActions": ["Block"]}, "spec.validationActions[0]"),
    "same action": ({"validationActions": ["Warn", "Warn"]}, "spec.validationActions[1]"),
    "deny and warn": ({"validationActions": ["Deny", "Warn"]}, "spec.validationActions"),
    "neither name nor selector": ({"paramRef": {"parameterNotFoundAction": "Deny"}}, "spec.paramRef"),
    "name and selector": (
        {"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}},
        "spec.paramRef",
    ),
    "no action when not found": ({"paramRef": {"name": "a"}}, "spec.paramRef.parameterNotFoundAction"),
    "unknown field": ({"params": {}}, "spec.params"),
    "selector": (
        {"matchResources": {"namespaceSelector": {"labels": {}}}},
        "spec.matchResources.namespaceSelector.labels",
    ),
}


@pytest.mark.parametrize("name", BROKEN_BINDINGS)
def test_each_rule_of_a_binding(bench: Any, name: str) -> None:
    change, path = BROKEN_BINDINGS[name]
    binding, problems = read_binding(Document(file="f", value=bench.binding(**change)))
    assert binding is None
    assert path in [problem.path for problem in problems], problems
    assert {problem.policy for problem in problems} <= {change.get("policyName", "p.example.com") or ""}


def test_a_binding_may_match_without_rules(bench: Any) -> None:
    binding, problems = read_binding(Document(file="f", value=bench.binding(matchResources={})))
    assert binding is not None
    assert not problems
