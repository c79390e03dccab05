"""The shipped CEL policies on the API server's own code, without a server: their cases, and those cases bent by chance.

`test_policies.py` asks a real server about each case. Here thousands of objects a second can be tried.
`WOULDBLOCK_ORACLE_MUTANTS` says how many per case.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.e2e.oracle.process import Oracle
from webhook.check import cases
from webhook.check.cases import Case, CaseFile
from webhook.load import gather, shipped
from webhook.manifest import build
from webhook.policy import Context, Policy
from webhook.policyset import PolicySet
from webhook.review import Request
from webhook.state import snapshot

MUTANTS = int(os.environ.get("WOULDBLOCK_ORACLE_MUTANTS", "40"))
HOLLOW = 15
"""Writes per case with null in place of something."""
FAILURES = "validation.policy.admission.k8s.io/validation_failure"
KEPT = (("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"))
"""What a mutant shares with its case: what the request says of the object."""

FILES = {
    path.name.removesuffix(".cases.yaml"): cases.read(path)
    for path in cases.find(list(shipped()))
    if not cases.is_native(path)
}


class Write(NamedTuple):
    """One request, beside the case that it came from."""

    case: Case
    object: dict[str, Any] | None
    old: dict[str, Any] | None


class Said(NamedTuple):
    """What a policy says of a write."""

    findings: list[tuple[str, int, str]]
    """Binding, index of the validation, message."""
    annotations: dict[str, str]


DENIED = re.compile(r".* with binding '([^']*)' denied request: (.*)", re.DOTALL)


@pytest.mark.parametrize("name", FILES)
def test_cases_and_their_mutants(name: str, oracle: Oracle) -> None:
    file = FILES[name]
    chance = random.Random(name)  # noqa: S311
    unequal, tried = [], 0
    for case in file.cases:
        whole = _write(file, case)
        writes = [whole, *(_bent(chance, whole) for _ in range(MUTANTS))]
        answers = oracle.ask(_questions(file, writes), all_good=False)
        assert "bad" not in answers[0], f"{case.name}: {answers[0]['bad']}"
        policy = _policy(file, case)
        for write, answer in zip(writes, answers, strict=True):
            if "bad" in answer:
                continue  # not of its kind any more: no server would ask about it
            tried += 1
            server, found = _server(file, answer), _ours(file, write, policy, answer["seen"])
            if server != found:
                unequal.append(f"{case.name}: {json.dumps(answer['seen'])}\n  ours   {found}\n  server {server}")
    assert not unequal, f"{len(unequal)} of {tried}:\n" + "\n".join(unequal[:3])
    assert tried >= len(file.cases) * (1 + MUTANTS // 2), "most mutants are of no kind at all"


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_a_server_delivers_makes_a_policy_err(name: str, oracle: Oracle) -> None:
    """Whatever is null or left out in a manifest, the server reads it into its types before it asks anybody: lists that
    must be there may then be null (`containers`, `verbs`), and no policy may err on that. An audit annotation that errs
    would even deny. Custom resources have no such types: they may be anything."""
    file, chance = FILES[name], random.Random(name)  # noqa: S311
    erred, tried = [], 0
    for case in file.cases:
        whole = _write(file, case)
        if not _built_in(whole):
            continue
        writes = [_hollow(chance, whole) for _ in range(HOLLOW)]
        policy = _policy(file, case)
        for write, answer in zip(writes, oracle.ask(_questions(file, writes), all_good=False), strict=True):
            if "bad" in answer:
                continue
            tried += 1
            found = _ours(file, write, policy, answer["seen"]).findings
            texts = [message for _, _, message in found if "resulted in error" in message]
            if texts or not answer["allowed"]:
                erred.append(f"{case.name}: {json.dumps(answer['seen'])}\n  {texts or answer['status']}")
    assert not erred, f"{len(erred)} of {tried}:\n" + "\n".join(erred[:3])


def test_mutants_meet_and_break_the_policies(oracle: Oracle) -> None:
    """Mutants are worth something only if verdicts change under them."""
    changed = 0
    for name, file in FILES.items():
        chance = random.Random(name)  # noqa: S311
        for case in file.cases:
            whole = _write(file, case)
            writes = [whole, *(_bent(chance, whole) for _ in range(10))]
            answers = oracle.ask(_questions(file, writes), all_good=False)
            verdicts = [_server(file, each) for each in answers if "bad" not in each]
            changed += any(each != verdicts[0] for each in verdicts)
    assert changed >= len(FILES)


def _write(file: CaseFile, case: Case) -> Write:
    deleted = cases.operation_of(case) == "DELETE"
    return Write(case, None if deleted else file.object_of(case), file.old_object_of(case))


def _questions(file: CaseFile, writes: list[Write]) -> list[dict[str, Any]]:
    """Questions about writes of one case."""
    usual = _usual(file, writes[0].case)
    return [
        usual | {key: value for key, value in (("object", each.object), ("oldObject", each.old)) if value}
        for each in writes
    ]


def _usual(file: CaseFile, case: Case) -> dict[str, Any]:
    gathered = gather([file.policy])
    (policy,) = gathered.policies.values()
    bindings = []
    for each in gathered.bindings.values():
        binding = copy.deepcopy(each.document.value)
        binding["spec"]["validationActions"] = ["Warn", "Audit"]
        bindings.append(binding)
    asked: dict[str, Any] = {"policy": policy.document.value, "bindings": bindings, "show": True}
    asked |= {"params": file.params_of(case), "subresource": case.subresource}
    asked["userInfo"] = {"name": case.user.username, "groups": list(case.user.groups or ())}
    asked["namespaceObject"] = _namespace(cases.request_of(file, case), case)
    return asked


def _namespace(request: Request, case: Case) -> dict[str, Any]:
    labels = {"kubernetes.io/metadata.name": request.namespace, **(case.namespace_labels or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": request.namespace, "labels": labels}}


def _server(file: CaseFile, answer: dict[str, Any]) -> Said:
    annotations = dict(answer.get("annotations", {}))
    failures = json.loads(annotations.pop(FAILURES, "[]"))
    findings = [(each["binding"], each["expressionIndex"], each["message"]) for each in failures]
    assert [message for _, _, message in findings] == [
        each.partition("': ")[2] for each in answer.get("warnings", [])
    ], answer
    if not answer["allowed"]:
        # An audit annotation that fails denies, although the binding only warns. Ours names it as a finding.
        denied = DENIED.fullmatch(answer["status"]["message"])
        assert denied is not None, answer
        findings.append((denied[1], 0, denied[2]))
    return Said(sorted(findings), {key.rpartition("/")[2]: value for key, value in annotations.items()})


def _policy(file: CaseFile, case: Case) -> Policy:
    gathered = gather([file.policy])
    (spec,) = gathered.policies.values()
    policy, problems = build(spec, list(gathered.bindings.values()), folder=file.params_of(case))
    assert policy is not None, problems
    return policy


def _ours(file: CaseFile, write: Write, policy: Policy, seen: dict[str, Any]) -> Said:
    request = msgspec.structs.replace(
        cases.request_of(file, write.case),
        object=msgspec.Raw(msgspec.json.encode(seen["object"])),
        old_object=msgspec.Raw(msgspec.json.encode(seen["oldObject"])),
    )
    if not PolicySet([policy]).candidates(request):
        return Said([], {})
    state = snapshot([_namespace(request, write.case)] if request.namespace else [], taken_at=0.0)
    context = Context(request, state=state, clock=time.monotonic, deadline=time.monotonic() + 60)
    verdict = policy.run(context)
    if verdict is None:
        return Said([], {})
    findings = [(each.binding, each.index, each.message) for each in verdict.findings]
    return Said(sorted(findings), dict(verdict.annotations))


# Bending an object

_GROUPS = ("", "apps", "batch", "policy", "rbac.authorization.k8s.io", "networking.k8s.io", "storage.k8s.io")


def _built_in(write: Write) -> bool:
    object = write.object or write.old or {}
    return object.get("apiVersion", "").rpartition("/")[0] in _GROUPS


def _hollow(chance: random.Random, write: Write) -> Write:
    """The write with null, or nothing, in place of something."""
    object, old = copy.deepcopy(write.object), copy.deepcopy(write.old)
    target = chance.choice([each for each in (object, old) if each is not None])
    places = [place for place in _places(target, ()) if place not in KEPT]
    if places:
        *way, last = chance.choice(places)
        holder: Any = target
        for step in way:
            holder = holder[step]
        if chance.random() < 0.7:
            holder[last] = None
        else:
            del holder[last]
    return write._replace(object=object, old=old)


Place = tuple[str | int, ...]


def _bent(chance: random.Random, write: Write) -> Write:
    """The write with one to three changes in its objects."""
    object, old = copy.deepcopy(write.object), copy.deepcopy(write.old)
    both = [each for each in (object, old) if each is not None]
    for _ in range(chance.choice((1, 1, 2, 3))):
        _change(chance, chance.choice(both))
    return write._replace(object=object, old=old)


def _change(chance: random.Random, object: dict[str, Any]) -> None:
    places = [place for place in _places(object, ()) if place not in KEPT]
    if not places:
        return
    # What policies look at is deep inside; labels and the like are many and shallow.
    *way, last = chance.choice(sorted(places, key=len, reverse=True)[: max(4, len(places) * 2 // 3)])
    holder: Any = object
    for step in way:
        holder = holder[step]
    value = holder[last]
    roll = chance.random()
    if roll < 0.4:
        del holder[last]
    elif isinstance(value, bool):
        holder[last] = not value
    elif isinstance(value, int):
        holder[last] = chance.choice((0, 1, 2, 80, 1024, value + 1))
    elif isinstance(value, str):
        holder[last] = chance.choice(("", "x", value + "-x", value[:-1], value.upper(), "a/b:latest", "1", "*"))
    elif isinstance(value, list):
        holder[last] = chance.choice(([], value[:1], value + value[:1]))
    elif isinstance(value, dict):
        holder[last] = {}
    else:
        holder[last] = "x"


def _places(value: Any, at: Place) -> Iterator[Place]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*at, key)
            yield from _places(inner, (*at, key))
