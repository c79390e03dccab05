"""Policies, bindings and requests in a few words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from webhook.cel.share import Shared
from webhook.check.reviews import requests_of
from webhook.errors import Problem
from webhook.manifest import build
from webhook.manifest.fields import read_binding, read_policy
from webhook.policy import Context, Policy, Verdict
from webhook.policyset import PolicySet
from webhook.review import NULL, Request, UserInfo
from webhook.state import EMPTY, State
from webhook.yamlfile import Document

EVERYTHING = {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}


def policy_object(validations: Sequence[str | Mapping[str, Any]] = (), **spec: Any) -> dict[str, Any]:
    """A policy manifest that matches everything unless told otherwise."""
    items = [{"expression": each} if isinstance(each, str) else each for each in validations]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": spec.pop("name", "p.example.com"), "annotations": spec.pop("annotations", {})},
        "spec": {"matchConstraints": EVERYTHING, "validations": items} | spec,
    }


def binding_object(name: str = "b", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": "p.example.com", "validationActions": ["Deny"]} | spec,
    }


def problems_of(policy: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What is wrong with a policy manifest: its fields, or else its expressions."""
    spec, problems = read_policy(Document(file="policy.yaml", value=policy))
    return problems if problems or spec is None else build(spec, ())[1]


def compiled(
    policy: Mapping[str, Any],
    bindings: Iterable[Mapping[str, Any]] | None = None,
    *,
    folder: Iterable[Mapping[str, Any]] = (),
    state: State = EMPTY,
    shared: Shared | None = None,
) -> Policy:
    spec, problems = read_policy(Document(file="policy.yaml", value=policy))
    assert spec is not None
    assert not problems, problems
    bound = []
    for each in [binding_object()] if bindings is None else bindings:
        binding, problems = read_binding(Document(file="binding.yaml", value=each))
        assert binding is not None, problems
        bound.append(binding)
    built, problems = build(spec, bound, folder=folder, state=state, shared=shared)
    assert built is not None, problems
    return built


def request_for(
    obj: Mapping[str, Any], *, old: Mapping[str, Any] | None = None, operation: str = "", **fields: Any
) -> Request:
    """The review of an object: CREATE, UPDATE when `old` is given, or what `operation` says."""
    request = next(requests_of(dict(obj), where="test"))
    operation = operation or ("CREATE" if old is None else "UPDATE")
    stored = obj if operation == "DELETE" else old
    fields.setdefault("user_info", UserInfo("alice", "", ("dev", "system:authenticated")))
    return msgspec.structs.replace(
        request,
        operation=operation,
        object=NULL if operation == "DELETE" else request.object,
        old_object=NULL if stored is None else msgspec.Raw(msgspec.json.encode(stored)),
        **fields,
    )


def run(policy: Policy, request: Request, state: State = EMPTY) -> Verdict | None:
    """As `evaluate` runs it: rules are the dispatch's question, the rest is the policy's."""
    if not PolicySet([policy]).candidates(request):
        return None
    return undispatched(policy, request, state)


def undispatched(policy: Policy, request: Request, state: State = EMPTY) -> Verdict | None:
    deadline = time.monotonic() + 60
    return policy.run(Context(request, state=state, clock=time.monotonic, deadline=deadline))


class Bench:
    """The functions of this module, for tests."""

    policy = staticmethod(policy_object)
    binding = staticmethod(binding_object)
    problems = staticmethod(problems_of)
    compiled = staticmethod(compiled)
    request = staticmethod(request_for)
    run = staticmethod(run)
    undispatched = staticmethod(undispatched)
    everything = EVERYTHING

    def verdict(
        self,
        policy: Mapping[str, Any],
        obj: Mapping[str, Any],
        bindings: Iterable[Mapping[str, Any]] | None = None,
        *,
        state: State = EMPTY,
        folder: Iterable[Mapping[str, Any]] = (),
        **request: Any,
    ) -> Verdict | None:
        return run(compiled(policy, bindings, folder=folder, state=state), request_for(obj, **request), state)


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def pod() -> Callable[..., dict[str, Any]]:
    """A pod with metadata fields of one's choice."""

    def make(**meta: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop"} | meta,
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        }

    return make
