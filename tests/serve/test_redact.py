"""No secret reaches the disk, and what is left is still the same object."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import recorded, review
from webhook.load import load, shipped
from webhook.native.pod_security import PodSecurityConfig
from webhook.policy import Exempted, Finding, Outcome
from webhook.serve.redact import TEXT, Keep, redact

CANARY = "c4n4ry-7f3a9b"
CODED = base64.b64encode(CANARY.encode()).decode()


def request_of(obj: Any, old: Any = None, **changes: Any) -> review.Request:
    kind = (obj or old or {}).get("kind", "Widget")
    values: dict[str, Any] = {
        "uid": "1",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": kind.lower() + "s"},
        "operation": "CREATE" if old is None else "UPDATE",
        "object": obj,
        "oldObject": old,
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": values | changes}
    return review.decode(json.dumps(body).encode()).request


def line_of(request: review.Request, keep: Keep = Keep()) -> str:  # noqa: B008 (frozen)
    """What would be written, with an outcome that quotes the secret wherever an outcome has free text."""
    found = redact(request, keep)
    if found is None:
        return ""
    outcome = Outcome(
        evaluated=3,
        findings=(Finding(policy="p", message=f"value {CANARY}", keys=(CANARY,)),),
        exempted=(Exempted(policy="q", exemption="e"),),
        not_comparable=(("r", CANARY),),
        internal_errors=(("s", CANARY),),
        annotations=(("p", "key", CANARY),),
        notes=(("note", CANARY),),
    )
    return recorded.encode(recorded.recorded(1.0, *found, outcome)).decode()


def pod(container: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", **meta},
        "spec": {"containers": [{"name": "web", "image": "web:1", **container}]},
    }


PLACES: dict[str, Any] = {
    "secret data": {"kind": "Secret", "data": {"password": CODED}},
    "secret stringData": {"kind": "Secret", "stringData": {"a/b~c": CANARY}},
    "config map": {"kind": "ConfigMap", "data": {"a.conf": CANARY}, "binaryData": {"b": CODED}},
    "list of secrets": {"kind": "List", "items": [{"kind": "Secret", "data": {"x": CODED}}]},
    "sealed template": {"kind": "ExternalSecret", "spec": {"target": {"template": {"data": {"x": CANARY}}}}},
    "env": pod({"env": [{"name": "MODE", "value": CANARY}]}),
    "env of a custom resource": {"kind": "Rollout", "spec": {"x": [{"env": [{"name": "A", "value": CANARY}]}]}},
    "env of the wrong type": {"kind": "Rollout", "spec": {"env": [{"name": "A", "value": {"deep": CANARY}}]}},
    "env as a map": {"kind": "App", "spec": {"env": {"A": CANARY}}},
    "last applied": pod({}, annotations={"kubectl.kubernetes.io/last-applied-configuration": CANARY}),
    "copy in an annotation": pod({}, annotations={"x/original": json.dumps({"kind": "Secret", "data": CODED})}),
    "managed fields": pod({}, managedFields=[{"manager": CANARY}]),
    "password of a custom resource": {"kind": "Database", "spec": {"adminPassword": CANARY}},
    "token in a list": {"kind": "Database", "spec": {"tokens": [], "token": [CANARY]}},
    "password as a mapping": {"kind": "Database", "spec": {"password": {"value": CANARY}}},
    "named parameter": {"kind": "Application", "spec": {"parameters": [{"name": "db.password", "value": CANARY}]}},
    "argument": pod({"args": [f"--db-password={CANARY}", "--port=80"]}),
    "argument after its flag": pod({"args": ["--token", CANARY]}),
    "shell": pod({"command": ["sh", "-c", f"export API_KEY={CANARY}; run"]}),
    "values": {"kind": "Application", "spec": {"values": f"db:\n  password: {CANARY}\n"}},
    "quoted with spaces": pod({"args": [f"sh -c 'run --password=\"a {CANARY} b\"'"]}),
    "plain with spaces": {"kind": "Application", "spec": {"values": f"password: a {CANARY} b\nport: 80\n"}},
    "block": {"kind": "Application", "spec": {"values": f"a:\n  token: |\n    x\n    {CANARY}\n  port: 80\n"}},
    "query": pod({"args": [f"https://x.example.com/?token=a&{CANARY}"]}),
    "escaped json": {"kind": "X", "spec": {"values": json.dumps(json.dumps({"password": f'a "{CANARY}'}))}},
    "json text": {"kind": "Application", "spec": {"values": json.dumps({"password": CANARY})}},
    "url": pod({"args": [f"postgres://app:{CANARY}@db/shop"]}),
    "header": pod({"args": [f"Authorization: Bearer {CANARY}"]}),
    "private key": {"kind": "Cert", "spec": {"pem": f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}"}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_a_known_place_is_not_written(place: str) -> None:
    value = PLACES[place]
    for request in (request_of(value), request_of(value, value), request_of(None, value, operation="DELETE")):
        line = line_of(request)
        assert CANARY not in line
        assert CODED not in line
        assert json.loads(line)["redacted"]


def test_user_extra_and_the_command_of_an_exec() -> None:
    user = {"username": "alice", "groups": ["dev"], "extra": {"scopes/x": [CANARY, CANARY]}}
    line = line_of(request_of({"kind": "Pod"}, userInfo=user))
    assert CANARY not in line
    assert json.loads(line)["redacted"] == ["/userInfo/extra/scopes~1x"]
    assert json.loads(line)["request"]["userInfo"]["extra"] == {"scopes/x": [TEXT, TEXT]}
    options = {"kind": "PodExecOptions", "command": ["mysql", f"-p{CANARY}"]}
    assert CANARY not in line_of(request_of(options, operation="CONNECT"))


@pytest.mark.parametrize(
    ("group", "resource", "sub"),
    [
        ("authentication.k8s.io", "tokenreviews", ""),
        ("authorization.k8s.io", "subjectaccessreviews", ""),
        ("oauth.openshift.io", "oauthaccesstokens", ""),
        ("", "serviceaccounts", "token"),
    ],
)
def test_requests_about_credentials_are_not_recorded(group: str, resource: str, sub: str) -> None:
    where = {"group": group, "version": "v1", "resource": resource}
    assert redact(request_of({"kind": "X"}, resource=where, subResource=sub), Keep()) is None


_TEXT = st.sampled_from(["", "a", "http://x/y", "x=1", "v: w", "kind", CANARY[:4]])
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), _TEXT)
_KEYS = st.sampled_from(["kind", "spec", "env", "data", "annotations", "metadata", "name", "value", "items", "a/b"])
_JSON = st.recursive(
    _LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=20,
)
_STEPS = st.lists(st.one_of(st.sampled_from(["spec", "template", "a"]), st.integers(0, 2)), max_size=5)


@given(place=st.sampled_from(sorted(PLACES)), around=_JSON, steps=_STEPS, keep=st.builds(Keep))
def test_nor_wherever_such_a_place_is_nested(place: str, around: Any, steps: list[str | int], keep: Keep) -> None:
    """An object inside other objects, lists and junk."""
    value: Any = PLACES[place]
    for step in steps:
        value = {step: value, "beside": around} if isinstance(step, str) else [around] * step + [value]
    line = line_of(request_of({"kind": "Wrapper", "spec": value, "junk": around}), keep)
    assert CANARY not in line
    assert CODED not in line


@given(_JSON)
def test_types_keys_and_emptiness_stay(value: Any) -> None:
    obj = {"kind": "Secret", "spec": value, "data": {"k": "dg=="}}
    found = redact(request_of(obj), Keep())
    assert found is not None
    after = json.loads(bytes(found[0].object))

    def same(one: Any, other: Any) -> None:
        assert type(one) is type(other)
        if isinstance(one, dict):
            assert list(one) == list(other)
            for key in one:
                same(one[key], other[key])
        elif isinstance(one, list):
            assert len(one) == len(other)
            for each, its in zip(one, other, strict=True):
                same(each, its)
        elif isinstance(one, str):
            assert bool(one) == bool(other)

    for key in ("kind", "spec"):
        if not isinstance(value, dict):
            same(obj[key], after[key])
    assert base64.b64decode(after["data"]["k"])


def test_what_the_operator_keeps() -> None:
    env = request_of(pod({"env": [{"name": "MODE", "value": "fast"}, {"name": "DB_PASSWORD", "value": CANARY}]}))
    assert "fast" not in line_of(env)
    assert "fast" in line_of(env, Keep(env=True))
    assert CANARY not in line_of(env, Keep(env=True))
    settings = request_of({"kind": "ConfigMap", "data": {"mode": "fast", "password": CANARY}})
    assert "fast" not in line_of(settings)
    assert "fast" in line_of(settings, Keep(config_maps=True))
    assert CANARY not in line_of(settings, Keep(config_maps=True))


def test_ordinary_values_stay() -> None:
    obj = pod(
        {
            "image": "registry.example.com/token:latest",
            "args": ["--token-file=/var/run/token", "--authorization-mode=RBAC", "--port=80"],
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
            "volumeMounts": [{"name": "secrets", "mountPath": "/etc/secret"}],
        },
        labels={"app": "web"},
    )
    found = redact(request_of(obj), Keep())
    assert found is not None
    assert found[1] == ()
    assert json.loads(bytes(found[0].object)) == obj


@pytest.mark.corpus
@pytest.mark.parametrize("file", ["reviews.jsonl", "recorded.jsonl"])
def test_shipped_policies_say_the_same_of_the_redacted_object(file: str, corpora: Path) -> None:
    from webhook.evaluate import evaluate

    policies = load(shipped(), pod_security=PodSecurityConfig(), enable=["all"])
    changed = 0
    for line in (corpora / "reviews" / file).read_bytes().splitlines():
        request = review.decode(line).request
        found = redact(request, Keep())
        if found is None:
            continue
        changed += bool(found[1])
        before = evaluate(policies, request, clock=lambda: 0.0)
        after = evaluate(policies, found[0], clock=lambda: 0.0)
        assert [(each.policy, each.index, each.keys) for each in before.findings] == [
            (each.policy, each.index, each.keys) for each in after.findings
        ]
        assert msgspec.structs.replace(before, findings=()) == msgspec.structs.replace(after, findings=())
    assert changed > 50
