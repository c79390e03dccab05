"""Whole policies that use features in unusual company, on the API server's own code: what they say of writes to objects
of several kinds, built in and custom, new, changed and deleted.

`oracle/policies.json` holds the policies in short, the objects, which of them are written in whose place, the namespace
and the one param.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.oracle.process import Oracle
from webhook.check.reviews import requests_of
from webhook.errors import NotComparable
from webhook.manifest import build
from webhook.manifest.fields import read_binding, read_policy
from webhook.manifest.layout import Grants
from webhook.policy import Context, Policy
from webhook.policyset import PolicySet
from webhook.review import NULL, Request, UserInfo
from webhook.state import State, snapshot
from webhook.yamlfile import Document

HELD: dict[str, Any] = json.loads((Path(__file__).parent / "oracle" / "policies.json").read_text())
POLICIES: dict[str, dict[str, Any]] = HELD["policies"]
WRITES = [tuple(HELD["objects"].get(name) for name in pair) for pair in HELD["writes"]]
FAILURES = "validation.policy.admission.k8s.io/validation_failure"
GROUP = "admissionregistration.k8s.io/v1"
ID = "p.example.com"

Said = tuple[list[tuple[int, str]], dict[str, str]]
"""Findings as (index of the validation, message), and audit annotations."""


@pytest.mark.parametrize("form", ["fast", "metered"])
def test_they_say_the_same(form: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "metered":
        monkeypatch.setattr(Grants, "at", lambda *_: None)
    unequal, compared = [], 0
    for name in POLICIES:
        for manifest in _manifests(name):
            policy, told = _built(name, manifest)
            questions = [_question(name, manifest, *write) for write in WRITES]
            for answer in oracle.ask(questions):
                difference = _difference(policy, told, answer)
                if difference is None:
                    continue
                compared += 1
                if difference:
                    unequal.append(f"{name}: {json.dumps(answer['seen'])}\n  {difference}")
    assert not unequal, f"{len(unequal)} of {compared}:\n" + "\n".join(unequal[:5])
    assert compared > 4_000


def _manifests(name: str) -> Iterator[dict[str, Any]]:
    """The policy, failing and not."""
    short = POLICIES[name]
    resources = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    spec: dict[str, Any] = {"matchConstraints": {"resourceRules": [resources]}}
    if "params" in short:
        spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    spec["variables"] = [{"name": key, "expression": text} for key, text in short.get("variables", {}).items()]
    spec["matchConditions"] = [
        {"name": f"c{at}", "expression": text} for at, text in enumerate(short.get("matchConditions", ()))
    ]
    spec["validations"] = [
        {"expression": each} if isinstance(each, str) else each for each in short.get("validations", ())
    ]
    spec["auditAnnotations"] = [
        {"key": key, "valueExpression": text} for key, text in short.get("auditAnnotations", {}).items()
    ]
    for failure in ("Fail", "Ignore"):
        yield {
            "apiVersion": GROUP,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": ID},
            "spec": {**{key: value for key, value in spec.items() if value}, "failurePolicy": failure},
        }


def _binding(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"policyName": ID, "validationActions": ["Warn", "Audit"]}
    if "params" in POLICIES[name]:
        spec["paramRef"] = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"},
        "spec": spec,
    }


def _question(name: str, policy: Mapping[str, Any], new: Any, old: Any) -> dict[str, Any]:
    asked = {"policy": policy, "bindings": [_binding(name)], "params": [HELD["params"]], "show": True}
    asked |= {key: value for key, value in (("object", new), ("oldObject", old)) if value}
    return {**asked, "namespaceObject": HELD["namespace"]}


def _built(name: str, manifest: Mapping[str, Any]) -> tuple[Policy | None, list[str]]:
    """The policy, and what is wrong with it."""
    spec, problems = read_policy(Document(file="policy.yaml", value=dict(manifest)))
    binding, wrong = read_binding(Document(file="binding.yaml", value=_binding(name)))
    assert spec is not None and binding is not None, wrong
    policy, more = build(spec, [binding])
    return policy, [each.message for each in (*problems, *more)]


def _difference(policy: Policy | None, told: list[str], answer: Mapping[str, Any]) -> str | None:
    """Empty if there is none, None if we cannot say what the server says."""
    refused = answer.get("invalid")
    if refused is not None or policy is None:
        same = told and refused and told[0] in refused[0]
        return "" if same else f"refused: ours {told}, server {refused}"
    seen = answer["seen"]
    request = _request(seen["object"], seen["oldObject"])
    try:
        ours = _ours(policy, request)
    except NotComparable:
        return None
    server = _server(answer)
    if not answer["allowed"]:
        # An audit annotation that fails denies, although the binding only warns, and the first one is told. Ours are
        # findings.
        denied = answer["status"]["message"].partition("denied request: ")[2]
        others = [each for each in ours[0] if each not in server[0]]
        same = denied in (message for _, message in others) and len(ours[0]) == len(others) + len(server[0])
    else:
        same = ours == server
    return "" if same else f"ours   {ours}\n  server {server}"


def _server(answer: Mapping[str, Any]) -> Said:
    annotations = dict(answer.get("annotations", {}))
    failures = json.loads(annotations.pop(FAILURES, "[]"))
    findings = [(each["expressionIndex"], each["message"]) for each in failures]
    return sorted(findings), {key.rpartition("/")[2]: value for key, value in annotations.items()}


def _ours(policy: Policy, request: Request) -> Said:
    if not PolicySet([policy]).candidates(request):
        return [], {}
    context = Context(request, state=_state(request), clock=lambda: 0.0, deadline=1.0)
    verdict = policy.run(context)
    if verdict is None:
        return [], {}
    return sorted((each.index, each.message) for each in verdict.findings), dict(verdict.annotations)


def _request(new: Any, old: Any) -> Request:
    operation = "DELETE" if new is None else "CREATE" if old is None else "UPDATE"
    request = next(requests_of(new or old, where="here"))
    return msgspec.structs.replace(
        request,
        operation=operation,
        object=NULL if new is None else request.object,
        old_object=NULL if old is None else msgspec.Raw(msgspec.json.encode(old)),
        options=msgspec.Raw(
            msgspec.json.encode({"apiVersion": "meta.k8s.io/v1", "kind": f"{operation.capitalize()}Options"})
        ),
        user_info=UserInfo("alice", "", ("dev", "system:authenticated")),
    )


def _state(request: Request) -> State:
    namespace = HELD["namespace"]
    if request.namespace:
        namespace = namespace | {"metadata": namespace["metadata"] | {"name": request.namespace}}
    return snapshot([namespace, HELD["params"]], taken_at=0.0, kinds=[("v1", "ConfigMap")])
