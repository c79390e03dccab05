"""Outcome → warnings and the answer's bytes."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import respond
from webhook.policy import Exempted, Finding, Outcome, Severity
from webhook.review import GroupVersionKind, GroupVersionResource, Request, UserInfo

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


def request(**changes: object) -> Request:
    plain = Request(
        uid="u-1",
        kind=GroupVersionKind(version="v1", kind="Pod"),
        resource=GroupVersionResource(version="v1", resource="pods"),
        name="web",
        namespace="shop",
        operation="CREATE",
        user_info=UserInfo(username="alice"),
    )
    return msgspec.structs.replace(plain, **changes)


findings = st.builds(
    Finding,
    policy=st.from_regex(r"[a-z][a-z-]{0,40}", fullmatch=True),
    message=ANY_TEXT,
    severity=st.sampled_from(Severity),
    error=st.booleans(),
    verbatim=st.booleans(),
    warn=st.booleans(),
)
outcomes = st.builds(
    Outcome,
    evaluated=st.integers(0, 1 << 120),
    findings=st.lists(findings, max_size=12).map(tuple),
    exempted=st.lists(st.builds(Exempted, policy=ANY_TEXT, exemption=ANY_TEXT), max_size=3).map(tuple),
    incomplete=st.sampled_from(["", "deadline", "size"]),
    annotations=st.lists(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT), max_size=3).map(tuple),
)


@given(outcomes, ANY_TEXT)
def test_allowed_is_true_whatever_the_outcome(outcome: Outcome, name: str) -> None:
    body = respond.respond(request(name=name), outcome)
    assert b'"allowed":true' in body
    answer = json.loads(body)
    assert answer["response"]["allowed"] is True
    assert answer["response"]["uid"] == "u-1"
    assert set(answer["response"]) <= {"uid", "allowed", "warnings", "auditAnnotations"}
    assert respond.respond(request(name=name), outcome) == body


@given(st.lists(findings, max_size=12), ANY_TEXT)
def test_warnings_keep_every_limit(found: list[Finding], name: str) -> None:
    lines = respond.warnings_for(found, f"Pod/{name}")
    assert len(lines) <= respond.LINES_MAX + 1
    assert sum(map(len, lines)) <= respond.WARNINGS_RUNES
    verbatim = {respond.clean(each.message) for each in found if each.verbatim}
    for line in lines:
        assert not any(unicodedata.category(rune) in ("Cc", "Cs", "Zl", "Zp") for rune in line)
        assert "=?" not in line
        assert len(line) <= respond.LINE_RUNES or any(text.startswith(line[:100]) for text in verbatim)


def test_a_line_names_the_object_and_the_policy() -> None:
    finding = Finding(policy="image-tag", message='container "app" has no tag')
    assert respond.warnings_for([finding], "Deployment/web") == [
        'Deployment/web: container "app" has no tag [image-tag]'
    ]


def test_what_is_left_out_is_counted() -> None:
    found = [Finding(policy=f"p{number}", message="m") for number in range(8)]
    lines = respond.warnings_for(found, "Pod/web")
    assert lines[:5] == [f"Pod/web: m [p{number}]" for number in range(5)]
    assert lines[5:] == ["wouldblock: 3 more findings, see the audit annotation"]


def test_a_line_is_told_once() -> None:
    """Two bindings find the same, and what differs may be beyond the cut; more of the same are no more findings."""
    alike = [Finding(policy="p", message="x" * 300 + end) for end in "12"]
    twice = [Finding(policy=f"q{number}", message="m", binding=each) for number in range(7) for each in "ab"]
    assert [line[-4:] for line in respond.warnings_for([*alike, *twice[:4]], "Pod/web")] == [" [p]", "[q0]", "[q1]"]
    lines = respond.warnings_for(twice, "Pod/web")
    assert lines[:5] == [f"Pod/web: m [q{number}]" for number in range(5)]
    assert lines[5:] == ["wouldblock: 2 more findings, see the audit annotation"]


def test_the_most_severe_come_first() -> None:
    found = [
        Finding(policy="a", message="low", severity=Severity.LOW),
        Finding(policy="b", message="critical", severity=Severity.CRITICAL),
    ]
    assert [line.split(": ")[1] for line in respond.warnings_for(found, "Pod/web")] == ["critical [b]", "low [a]"]


def test_pod_security_is_verbatim_and_longer_than_a_line() -> None:
    text = 'would violate PodSecurity "restricted:latest": ' + "x" * 300
    finding = Finding(policy="pod-security-restricted", message=text, verbatim=True)
    assert respond.warnings_for([finding], "Pod/web") == [text]


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("a\nb\tc", "a b c"),
        ("zero\u200bwidth", "zero width"),
        ("bidi\u202eoverride", "bidi override"),
        ("=?utf-8?q?a=0Ab?=", "= ?utf-8?q?a=0Ab?="),
        ("half \ud800", "half \ufffd"),
        ("naïve 🙂 “quoted”", "naïve 🙂 “quoted”"),
    ],
)
def test_clean(sent: str, received: str) -> None:
    assert respond.clean(sent) == received


@pytest.mark.parametrize(
    "user", ["system:serviceaccount:kube-system:replicaset-controller", "system:node:a", "system:kube-scheduler"]
)
def test_machines_are_not_warned_but_recorded(user: str) -> None:
    outcome = Outcome(findings=(Finding(policy="p", message="m"),))
    answer = json.loads(respond.respond(request(user_info=UserInfo(username=user)), outcome))["response"]
    assert "warnings" not in answer
    assert "violations" in answer["auditAnnotations"]


def test_owned_objects_are_not_warned() -> None:
    outcome = Outcome(findings=(Finding(policy="p", message="m"),), owner="ReplicaSet/web-1")
    assert "warnings" not in json.loads(respond.respond(request(), outcome))["response"]


def test_admit_says_why_nothing_ran() -> None:
    answer = json.loads(respond.admit("u-2", Outcome(incomplete="shed")))
    assert answer == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "u-2",
            "allowed": True,
            "auditAnnotations": {"reviewed": "v=1 ran=0", "incomplete": "shed"},
        },
    }


def test_no_answer_that_denies_can_be_decoded_from_our_own_type() -> None:
    from webhook.review import Response

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"uid":"x","allowed":false}', type=Response)
