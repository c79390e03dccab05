"""Whole policies against the API server's own engine: verdict, message, error and audit annotation of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook.check.reviews import requests_of
from webhook.errors import NotComparable, Problem
from webhook.manifest import build
from webhook.manifest.fields import BindingSpec, PolicySpec, read_binding, read_policy
from webhook.manifest.layout import Grants
from webhook.policy import Context, Finding, Policy, Verdict
from webhook.policyset import PolicySet
from webhook.review import NULL, Request, UserInfo
from webhook.state import State, snapshot
from webhook.yamlfile import Document

pytestmark = pytest.mark.corpus

ROWS = 280
COMPARABLE = 273
"""Without those that ask the cluster's authorizer, which a webhook has not: no verdict of ours could be compared."""
RIGHT = 273
"""How many of these are right: all."""

_AUTHORIZER = "asks the cluster's authorizer, which a webhook has not: recorded as not comparable"
DIFFERENT: dict[str, str] = {
    "matchConditions Fail: authorizer": _AUTHORIZER,
    "matchConditions Ignore: authorizer": _AUTHORIZER,
    "validation: authorizer.requestResource.check('delete').allowed()": _AUTHORIZER,
    "validation: authorizer.path('/healthz').check('get').allowed() == false": _AUTHORIZER,
    "validation: authorizer.serviceAccount('default','sa').group('').resource('pods')"
    ".check('get').allowed() == false": _AUTHORIZER,
    "auditAnnotations Fail: authorizer": _AUTHORIZER,
    "auditAnnotations Ignore: authorizer": _AUTHORIZER,
}

HARNESS = ("cluster scoped: namespaceObject null", "Namespace object")
"""Rows whose `decisions` were made with a namespace that the API server itself would not pass; `status` is its own."""


class Corpus:
    def __init__(self, folder: Path) -> None:
        with (folder / "vap.jsonl").open() as file:
            first, *rows = map(json.loads, file)
        with (folder / "differential-objects.jsonl").open() as file:
            held = {row["id"]: row["object"] for row in map(json.loads, file)}
        self._objects: dict[str, Any] = held | first["objects"]
        self.rows: list[dict[str, Any]] = rows
        self.verdicts: dict[str, Verdict | None] = {}
        """By all that they hang on: rows that differ in their actions alone are evaluated once."""

    def object(self, name: Any) -> Any:
        return self._objects[name] if isinstance(name, str) else name


@pytest.fixture(scope="module")
def corpus(corpora: Path) -> Corpus:
    return Corpus(corpora / "k8s-cel")


@pytest.mark.parametrize("form", ["fast", "metered"])
def test_every_policy_of_the_corpus(form: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the fast form wherever it is allowed, and by the one that counts cost alone: both say the same."""
    if form == "metered":
        monkeypatch.setattr(Grants, "at", lambda *_: None)
    wrong = {row["name"]: what for row in corpus.rows if (what := _difference(corpus, row))}
    unexpected = {name: what for name, what in wrong.items() if name not in DIFFERENT}
    assert not unexpected, "\n".join(f"{name}: {what}" for name, what in unexpected.items())
    not_comparable = [name for name in wrong if DIFFERENT[name] == _AUTHORIZER]
    assert len(corpus.rows) == ROWS
    assert ROWS - len(not_comparable) == COMPARABLE
    assert ROWS - len(wrong) >= RIGHT


def test_every_difference_is_still_in_the_corpus(corpus: Corpus) -> None:
    assert DIFFERENT.keys() <= {row["name"] for row in corpus.rows}


def _difference(corpus: Corpus, row: Mapping[str, Any]) -> str:
    spec, problems = read_policy(Document(file="policy.yaml", value=row["policy"]))
    assert spec is not None
    bindings = []
    for value in row["bindings"]:
        binding, wrong = read_binding(Document(file="binding.yaml", value=value))
        assert binding is not None, wrong
        bindings.append(binding)
    policy, more = build(spec, bindings)
    if "invalid" in row:
        return _refusal(problems or more, row["invalid"])
    if policy is None:
        return f"refused: {more}"
    request = _request(corpus, row)
    try:
        verdict = _verdict(corpus, row, policy, request)
    except NotComparable as error:
        return str(error)
    return _outcome(spec, bindings, verdict, row) or _decisions(bindings, verdict, row)


def _verdict(corpus: Corpus, row: Mapping[str, Any], policy: Policy, request: Request) -> Verdict | None:
    if not PolicySet([policy]).candidates(request):
        return None
    context = Context(request, state=_state(corpus, row, request), clock=lambda: 0.0, deadline=1.0)
    if "cost" not in row["name"] and "budget" not in row["name"]:
        return policy.run(context)
    bindings = [each["metadata"]["name"] for each in row["bindings"]]
    key = json.dumps([row["policy"], bindings, row.get("object")])
    if key not in corpus.verdicts:
        corpus.verdicts[key] = policy.run(context)
    return corpus.verdicts[key]


def _refusal(problems: tuple[Problem, ...], invalid: list[str]) -> str:
    """Refused for the field, and for CEL in the server's own words."""
    for problem, text in zip(problems, invalid, strict=False):
        if not text.startswith(problem.path) or ("expression" in problem.path and problem.message not in text):
            return f"refused with {problem}, expected {text}"
    return "" if len(problems) == len(invalid) else f"refused with {problems}, expected {invalid}"


def _outcome(spec: PolicySpec, bindings: list[BindingSpec], verdict: Verdict | None, row: Mapping[str, Any]) -> str:
    """What became of the request: allowed or not, with which text, warnings and annotations."""
    result, findings = row["result"], verdict.findings if verdict else ()
    actions = {binding.name: binding.actions for binding in bindings}
    denying = [each for each in findings if "Deny" in actions[each.binding] or _denies_always(spec, each)]
    if result["allowed"] != (not denying):
        return f"allowed should be {result['allowed']}: {findings}"
    if denying:
        texts = [f"with binding '{each.binding}' denied request: {each.message}" for each in denying]
        if not any(result["status"]["message"].endswith(text) for text in (texts if "params" in row else texts[:1])):
            return f"denied with {texts[0]!r}, expected {result['status']['message']!r}"
    warnings = {
        f"Validation failed for ValidatingAdmissionPolicy '{spec.id}' with binding '{each.binding}': {each.message}"
        for each in findings
        if "Warn" in actions[each.binding] and not _denies_always(spec, each)
    }
    if warnings != set(result.get("warnings", [])):
        return f"warnings {warnings}, expected {result.get('warnings')}"
    expected = dict(result.get("annotations", {}))
    failures = {
        (each["binding"], each["expressionIndex"], each["message"])
        for each in json.loads(expected.pop("validation.policy.admission.k8s.io/validation_failure", "[]"))
    }
    audited = {
        (each.binding, each.index, each.message)
        for each in findings
        if "Audit" in actions[each.binding] and not _denies_always(spec, each)
    }
    if failures != audited:
        return f"validation_failure {audited}, expected {failures}"
    published = {f"{spec.id}/{key}": set(value.split(", ")) for key, value in (verdict.annotations if verdict else ())}
    wanted = {key: set(value.split(", ")) for key, value in expected.items()}
    return "" if published == wanted else f"audit annotations {published}, expected {wanted}"


def _denies_always(spec: PolicySpec, finding: Finding) -> bool:
    """Errors that deny whatever the binding's actions are: of its configuration, or of an audit annotation."""
    if finding.message.startswith("failed to configure"):
        return True
    return finding.error and any(
        finding.message.startswith(f"expression '{each.expression}' resulted in error")
        for each in spec.audit_annotations
    )


def _decisions(bindings: list[BindingSpec], verdict: Verdict | None, row: Mapping[str, Any]) -> str:
    """The engine's decision on each validation, where one binding and no choice of params make it unique."""
    decisions = row["result"].get("decisions")
    if decisions is None or len(bindings) > 1 or "params" in row or row["name"] in HARNESS or verdict is None:
        return ""
    if any(each.message.startswith("failed to configure") for each in verdict.findings) or any(
        each["action"] == "error" for each in row["result"].get("auditAnnotations", ())
    ):
        return ""
    expected = [
        (index, each["message"], each["evaluation"] == "error")
        for index, each in enumerate(decisions)
        if each["action"] == "deny"
    ]
    if bindings[0].param_ref is not None and not verdict.findings:
        return ""
    actual = [(each.index, each.message, each.error) for each in verdict.findings]
    return "" if actual == expected else f"decisions {actual}, expected {expected}"


def _request(corpus: Corpus, row: Mapping[str, Any]) -> Request:
    new, old = (_as_sent(corpus.object(row[key])) if key in row else None for key in ("object", "oldObject"))
    operation = "DELETE" if new is None else "CREATE" if old is None else "UPDATE"
    options = {"apiVersion": "meta.k8s.io/v1", "kind": f"{operation.capitalize()}Options"}
    request = next(requests_of(new or old, where=row["name"]))
    return msgspec.structs.replace(
        request,
        operation=operation,
        object=NULL if new is None else request.object,
        old_object=NULL if old is None else _raw(old),
        options=_raw(options),
        sub_resource=row.get("subresource", ""),
        request_sub_resource=row.get("subresource", ""),
        user_info=UserInfo("alice", "", ("dev", "system:authenticated")),
    )


def _as_sent(obj: Any) -> Any:
    """What the API server writes into a review: structs of built-in kinds are there even when empty."""
    if obj["kind"] != "Pod" or obj["apiVersion"] != "v1":
        return obj
    containers = [{"resources": {}} | each for each in obj["spec"]["containers"]]
    return {"status": {}} | obj | {"spec": obj["spec"] | {"containers": containers}}


def _state(corpus: Corpus, row: Mapping[str, Any], request: Request) -> State:
    namespace = corpus.object(row.get("namespaceObject", "ns"))
    if request.namespace:
        namespace = namespace | {"metadata": namespace["metadata"] | {"name": request.namespace}}
    params = [corpus.object(name) for name in row.get("params", ())]
    return snapshot([namespace, *params], taken_at=0.0, kinds=[("v1", "ConfigMap")])


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
