"""Limits of cost on the API server's own code: policies around them, which the corpus has not, are told the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.oracle.process import Oracle
from tests.manifest.conftest import Bench
from webhook.policy import Context
from webhook.policyset import PolicySet
from webhook.state import snapshot

ALL = {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
FAILURES = "validation.policy.admission.k8s.io/validation_failure"


def widget(**spec: Any) -> dict[str, Any]:
    meta = {"name": "w", "namespace": "shop"}
    return {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": meta, "spec": spec}


def pairs(texts: str) -> str:
    return f"object.spec.{texts}.all(a, object.spec.{texts}.all(b, a + b != ''))"


NAMES = [f"name-{each}" for each in range(400)]
CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    # Validations, other fields of the policy, the object's spec.
    "just below the limit of one": ([pairs("l")], {}, {"l": NAMES[:330]}),
    "just above the limit of one": ([pairs("l")], {}, {"l": NAMES[:345]}),
    "one call above the limit": (["object.spec.l.distinct().size() > 0"], {}, {"l": NAMES * 2}),
    "one call above the budget": (["object.spec.l.distinct().size() > 0"], {}, {"l": NAMES * 8}),
    "a pattern above the limit": (["object.spec.s.matches('^[a-z]{1,9}(x|y|z)+$')"], {}, {"s": "x" * 2_000_000}),
    "an error beside the limit": (["object.spec.nope == object.spec.l.distinct().size()"], {}, {"l": NAMES * 2}),
    "an error, and a loop that goes on": (
        ["object.spec.l.map(a, object.spec.nope + object.spec.l.filter(b, b != '').size()).size() > 0"],
        {},
        {"l": NAMES},
    ),
    "several above the limit": ([pairs("l"), "false", pairs("l")], {}, {"l": NAMES}),
    "variables above the limit": (
        ["variables.a", "variables.b || true", "variables.c > 1"],
        {
            "variables": [
                {"name": "a", "expression": pairs("l")},
                {"name": "b", "expression": "variables.a"},
                {"name": "c", "expression": "object.spec.l.size()"},
            ]
        },
        {"l": NAMES},
    ),
    "a message that makes a large text": (
        [{"expression": "false", "messageExpression": "object.spec.l.join(object.spec.l.join(','))"}],
        {},
        {"l": NAMES[:60]},
    ),
    "a condition that is false, among costly ones": (
        ["false"],
        {
            "matchConditions": [
                {"name": "first", "expression": "false"},
                *({"name": f"c{each}", "expression": pairs("l")} for each in range(3)),
            ]
        },
        {"l": NAMES},
    ),
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("name", CASES)
def test_limits(name: str, oracle: Oracle, bench: Bench) -> None:
    validations, fields, spec = CASES[name]
    policy = bench.policy(validations, matchConstraints=ALL, **fields)
    binding = bench.binding(validationActions=["Warn", "Audit"])
    obj = widget(**spec)
    (answer,) = oracle.ask([{"policy": policy, "bindings": [binding], "object": obj, "namespaceObject": NAMESPACE}])
    annotations = dict(answer.get("annotations", {}))
    failures = {(each["expressionIndex"], each["message"]) for each in json.loads(annotations.pop(FAILURES, "[]"))}
    if not answer["allowed"]:
        failures.add((0, answer["status"]["message"].partition("denied request: ")[2]))

    request = bench.request(obj)
    ours = bench.compiled(policy, [binding])
    assert PolicySet([ours]).candidates(request)
    state = snapshot([NAMESPACE], taken_at=0.0)
    verdict = ours.run(Context(request, state=state, clock=time.monotonic, deadline=time.monotonic() + 300))
    findings = {(each.index, each.message) for each in verdict.findings} if verdict else set()
    assert findings == failures
    assert {f"p.example.com/{key}": value for key, value in (verdict.annotations if verdict else ())} == annotations
