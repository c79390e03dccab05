"""Policy set × request → outcome: what goes wrong inside a policy stays that policy's."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from webhook import evaluate as evaluation
from webhook.errors import NeedsState, NotComparable
from webhook.exemptions import Exemption, Exemptions
from webhook.policy import PASS, Context, Finding, Match, Metadata, Outcome, Policy, Rule, Verdict
from webhook.policyset import PolicySet
from webhook.review import GroupVersionKind, GroupVersionResource, Request

PODS = Match(rules=(Rule(operations=("CREATE", "UPDATE"), groups=("",), versions=("v1",), resources=("pods",)),))
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"hostNetwork": True}}


def policy(id: str, run: Callable[[Context], Verdict | None]) -> Policy:
    return Policy(id=id, digest=id, meta=Metadata(title=id), match=PODS, run=run)


def request(object: Any = POD, old: Any = None, **changes: Any) -> Request:
    plain = Request(
        uid="u",
        kind=GroupVersionKind(version="v1", kind="Pod"),
        resource=GroupVersionResource(version="v1", resource="pods"),
        name="web",
        namespace="shop",
        operation="CREATE" if old is None else "UPDATE",
        object=msgspec.Raw(msgspec.json.encode(object)),
        old_object=msgspec.Raw(msgspec.json.encode(old)),
    )
    return msgspec.structs.replace(plain, **changes)


def host_network(context: Context) -> Verdict:
    return (
        Verdict(findings=(Finding(policy="hn", message="no"),)) if context.object["spec"].get("hostNetwork") else PASS
    )


def boom(context: Context) -> Verdict:
    raise ZeroDivisionError(f"secret {context.object}")


def needs_state(context: Context) -> Verdict:
    raise NeedsState("Namespace shop")


def not_comparable(context: Context) -> Verdict:
    raise NotComparable("authorizer")


def recursion(context: Context) -> Verdict:
    return recursion(context)


def decide(policies: PolicySet, asked: Request, **changes: Any) -> Outcome:
    """Without a clock of its own choice a test has all the time in the world."""
    return evaluation.evaluate(policies, asked, **{"budget": 3_600.0, **changes})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_verdict_has_its_place() -> None:
    chosen = PolicySet(
        [
            policy("pass", lambda context: PASS),
            policy("boom", boom),
            policy("hn", host_network),
            policy("state", needs_state),
            policy("authz", not_comparable),
            policy("none", lambda context: None),
            policy("deep", recursion),
            policy("last", lambda context: PASS),
        ]
    )
    outcome = decide(chosen, request())
    assert outcome.evaluated == 0b1000_0101
    assert [each.policy for each in outcome.findings] == ["hn"]
    assert outcome.internal_errors == (("boom", "ZeroDivisionError"), ("deep", "RecursionError"))
    assert outcome.not_comparable == (
        ("state", "needs state: Namespace shop"),
        ("authz", "not comparable: authorizer"),
    )
    assert outcome.incomplete == ""
    assert "secret" not in repr(outcome)


def test_what_did_not_run_is_named() -> None:
    clock = Clock()

    def slow(context: Context) -> Verdict:
        clock.now += 1
        return PASS

    chosen = PolicySet([policy("a", slow), policy("b", slow), policy("c", slow)])
    outcome = decide(chosen, request(), clock=clock, budget=0.5)
    assert (outcome.evaluated, outcome.incomplete, outcome.skipped) == (1, "deadline", ("b", "c"))


def test_a_policy_that_stops_inside_itself_gives_no_verdict() -> None:
    clock = Clock()

    def loops(context: Context) -> Verdict:
        while True:
            clock.now += 0.1
            context.check_deadline()

    chosen = PolicySet([policy("a", lambda context: PASS), policy("loop", loops), policy("c", lambda context: PASS)])
    outcome = decide(chosen, request(), clock=clock, budget=0.5)
    assert (outcome.evaluated, outcome.skipped) == (1, ("loop", "c"))


@pytest.mark.parametrize(
    ("old", "pre_existing"),
    [({"spec": {"hostNetwork": True}}, True), ({"spec": {}}, False), ({"spec": None}, False), (7, False)],
)
def test_findings_of_an_update_are_new_or_pre_existing(old: Any, pre_existing: bool) -> None:
    outcome = decide(PolicySet([policy("hn", host_network)]), request(old=old))
    assert [each.pre_existing for each in outcome.findings] == [pre_existing]


def test_a_finding_with_new_parts_is_new() -> None:
    def parts(context: Context) -> Verdict:
        return Verdict(findings=(Finding(policy="p", message="m", keys=tuple(context.object["keys"])),))

    chosen = PolicySet([policy("p", parts)])
    grown = decide(chosen, request({"keys": ["a", "b"]}, {"keys": ["a"]}))
    shrunk = decide(chosen, request({"keys": ["a"]}, {"keys": ["a", "b"]}))
    assert (grown.findings[0].pre_existing, shrunk.findings[0].pre_existing) == (False, True)


def test_requests_of_no_policy_decode_nothing() -> None:
    asked = request(
        resource=GroupVersionResource(version="v1", resource="secrets"), object=msgspec.Raw(b"not even JSON")
    )
    outcome = decide(PolicySet([policy("hn", host_network)]), asked)
    assert (outcome.evaluated, outcome.incomplete, outcome.findings) == (0, "", ())


@pytest.mark.parametrize("raw", [b"[" * 20_000 + b"]" * 20_000, b'{"a":1e999}', b"{"])
def test_an_object_that_cannot_be_decoded_is_incomplete(raw: bytes) -> None:
    outcome = decide(PolicySet([policy("hn", host_network)]), request(object=msgspec.Raw(raw)))
    assert outcome.incomplete == "undecodable"


@pytest.mark.parametrize("object", [None, 7, "x", [], {"metadata": 3}, {"metadata": {"ownerReferences": [1]}}])
def test_any_json_is_an_object(object: Any) -> None:
    outcome = decide(PolicySet([policy("pass", lambda context: PASS)]), request(object=object))
    assert outcome.evaluated == 1


def test_the_owner_is_the_controller() -> None:
    pod = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]}}
    assert decide(PolicySet([policy("p", lambda context: PASS)]), request(pod)).owner == "ReplicaSet/web-1"


EXEMPTION = Exemption(
    id="node-agent",
    policies=("h*",),
    reason="reads the host's network statistics",
    owner="team-net",
    created=datetime.date(2026, 1, 1),
    expires=datetime.date(2026, 3, 1),
    namespaces=("sh*",),
)
BEFORE = datetime.datetime(2026, 3, 1, 23, 59, tzinfo=datetime.UTC).timestamp()
AFTER = datetime.datetime(2026, 3, 2, 0, 1, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("entry", "now", "exempt"),
    [
        (EXEMPTION, BEFORE, True),
        (EXEMPTION, AFTER, False),
        (msgspec.structs.replace(EXEMPTION, namespaces=("other",)), BEFORE, False),
        (msgspec.structs.replace(EXEMPTION, policies=("x",)), BEFORE, False),
        (msgspec.structs.replace(EXEMPTION, kinds=("Pod",), names=("web",)), BEFORE, True),
        (msgspec.structs.replace(EXEMPTION, users=("bob",)), BEFORE, False),
    ],
)
def test_exempted_findings_are_recorded_with_who_answers_for_them(entry: Exemption, now: float, exempt: bool) -> None:
    outcome = decide(
        PolicySet([policy("hn", host_network)]), request(), exemptions=Exemptions([entry]), wall=lambda: now
    )
    assert [each.exemption for each in outcome.exempted] == (["node-agent"] if exempt else [])
    assert len(outcome.findings) == (0 if exempt else 1)
    assert outcome.evaluated == 1
