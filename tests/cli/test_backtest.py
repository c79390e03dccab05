"""`backtest`: changed policies on recorded reviews."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import review
from webhook.check.backtest_redacted import Redacted, Touched
from webhook.cli import main
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.native.pod_security import PodSecurityConfig
from webhook.policyset import PolicySet
from webhook.serve.metrics import Cells
from webhook.serve.record import Options, Recorder
from webhook.serve.redact import Keep

Record = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Reviews as `serve --record` writes them, answered by a set."""

    def make(bodies: Sequence[bytes], policies: PolicySet, keep: Keep | None = None, folder: str = "record") -> Path:
        cells = Cells()
        options = Options(folder=tmp_path / folder, keep=keep or Keep())
        recorder = Recorder(options, cells=cells, log=lambda *args, **fields: None, share=1.0)
        for body in bodies:
            recorder(body, evaluate(policies, review.decode(body).request, clock=lambda: 0.0), policies)
        recorder.close(60)
        assert not any(cells.record_dropped.values())
        return tmp_path / folder

    return make


def policy(folder: Path, name: str, expression: str, **more: Any) -> Path:
    """A ValidatingAdmissionPolicy with its binding, in a file of its own."""
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]
    documents = [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": expression, "message": "no"}],
                **more,
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Warn"]},
        },
    ]
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump_all(documents))
    return file


def loaded(*files: Path) -> PolicySet:
    found = load(files, pod_security=PodSecurityConfig())
    assert not found.broken
    return found


def body(obj: Any, old: Any = None, **changes: Any) -> bytes:
    kind = obj["kind"]
    request: dict[str, Any] = {
        "uid": "u",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": kind.lower() + "s"},
        "name": obj["metadata"]["name"],
        "namespace": "shop",
        "operation": "CREATE" if old is None else "UPDATE",
        "userInfo": {"username": "alice", "extra": {"k": ["v"]}},
        "object": obj,
        "oldObject": old,
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | changes}
    return json.dumps(document).encode()


def pod(name: str, image: str = "web:1", value: str = "x") -> dict[str, Any]:
    container = {"name": "c", "image": image, "env": [{"name": "MODE", "value": value}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """What is said of one policy; Pod Security is in every set."""
    (change,) = (each for each in document["policies"] if each["policy"] == name)
    return dict(change)


def result(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["backtest", str(folder), "--output", "json", *arguments])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


@pytest.mark.corpus
@pytest.mark.parametrize("keep", [Keep(), Keep(env=True, config_maps=True)], ids=["redacted", "kept"])
def test_unchanged_policies_make_no_difference(
    corpora: Path, record: Record, capsys: pytest.CaptureFixture[str], keep: Keep
) -> None:
    bodies = [
        line
        for name in ("reviews.jsonl", "recorded.jsonl")
        for line in (corpora / "reviews" / name).read_bytes().splitlines()
    ]
    policies = load(shipped(), pod_security=PodSecurityConfig(), enable=["all"])
    folder = record(bodies, policies, keep)
    code, document = result(capsys, folder, "--enable", "all")
    assert code == 0
    assert document["record"]["reviews"] > 600
    assert document["record"]["damage"] == {}
    assert sum(each["still"] for each in document["policies"]) > 500
    for each in document["policies"]:
        assert (each["newly"], each["no_longer"], each["errors"], each["failed"]) == (0, 0, 0, 0), each
        assert each["known"]


IMAGE = "object.kind != 'Pod' || object.spec.containers.all(c, !c.image.endsWith(':latest'))"
STRICTER = "object.kind != 'Pod' || object.spec.containers.all(c, c.image.contains('@sha256:'))"
LAXER = "true"


def test_what_changes_and_the_exit_code(tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    old = policy(tmp_path / "old", "image", IMAGE)
    bodies = [body(pod("a", "web:latest")), body(pod("b")), body(pod("b")), body(pod("c", "web@sha256:1"))]
    folder = record(bodies, loaded(old))

    stricter = policy(tmp_path / "new", "image", STRICTER)
    code, document = result(capsys, folder, "--policies", str(stricter))
    change = of(document, "image")
    assert code == 1
    assert (change["newly"], change["still"], change["fine"], change["no_longer"]) == (2, 1, 1, 0)
    (place,) = change["newly_at"]
    assert (place["namespace"], place["workload"], place["reviews"], place["message"]) == ("shop", "Pod/b", 2, "no")

    laxer = policy(tmp_path / "new", "image", LAXER)
    code, document = result(capsys, folder, "--policies", str(laxer))
    change = of(document, "image")
    assert code == 0
    assert (change["newly"], change["no_longer"], change["fine"]) == (0, 1, 3)
    assert [each["workload"] for each in change["no_longer_at"]] == ["Pod/a"]

    code, document = result(capsys, folder, "--policies", str(stricter), "--against", str(laxer))
    assert code == 0  # the file of both is the laxer one by now
    policy(tmp_path / "new", "image", STRICTER)
    policy(tmp_path / "laxer", "image", LAXER)
    against = str(tmp_path / "laxer")
    code, document = result(capsys, folder, "--policies", str(stricter), "--against", against)
    assert code == 1
    assert of(document, "image")["newly"] == 3


def test_a_policy_that_is_new_or_gone(tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    old = policy(tmp_path / "old", "image", IMAGE)
    folder = record([body(pod("a", "web:latest"))], loaded(old))
    new = policy(tmp_path / "new", "other", "false")
    code, document = result(capsys, folder, "--policies", str(new))
    assert code == 1
    change = of(document, "other")
    assert (change["known"], change["newly"]) == (False, 1)
    assert document["record"]["left_out"] == {"image": 1}


def test_errors_are_violations_and_are_told_apart(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    old = policy(tmp_path / "old", "p", "true")
    folder = record([body(pod("a"))], loaded(old))
    failing = policy(tmp_path / "new", "p", "object.spec.nope == 1")
    code, document = result(capsys, folder, "--policies", str(failing))
    assert code == 1
    assert (of(document, "p")["newly"], of(document, "p")["errors"]) == (1, 1)


def test_exemptions_are_not_newly_violated(tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    folder = record([body(pod("a"))], loaded(policy(tmp_path / "old", "p", "true")))
    new = policy(tmp_path / "new", "p", "false")
    file = tmp_path / "exemptions.yaml"
    entry = {"id": "e", "policies": ["p"], "reason": "a good reason", "owner": "me", "namespaces": ["shop"]}
    dates = "created: 2999-01-01, expires: 2999-02-01"
    file.write_text(f"exemptions: [{{{json.dumps(entry)[1:-1]}, {dates}}}]")
    code, document = result(capsys, folder, "--policies", str(new), "--exemptions", str(file))
    assert code == 0
    assert of(document, "p")["exempted"] == 1


TOUCHING = {
    "env equals": "object.spec.containers.all(c, c.env.all(e, e.value != 'true'))",
    "env equals, turned": "object.spec.containers.all(c, c.env.all(e, 'true' != e.value))",
    "env in": "object.spec.containers.all(c, c.env.all(e, !(e.value in ['a', 'b'])))",
    "env holds": "object.spec.containers.all(c, !('secret' in c.env.map(e, e.value)))",
    "env size": "object.spec.containers.all(c, c.env.all(e, size(e.value) < 3))",
    "env matches": "object.spec.containers.all(c, c.env.all(e, !e.value.matches('^a')))",
    "env type": "object.spec.containers.all(c, c.env.all(e, type(e.value) == string))",
    "env as text": "object.spec.containers.all(c, c.env.all(e, string(e.value) != 'a'))",
    "env plus": "object.spec.containers.all(c, c.env.all(e, e.value + 'a' != 'b'))",
    "env absorbed": "object.spec.containers.all(c, c.env.all(e, e.value == 'a' || e.name == 'MODE'))",
    "env whole": "object.spec.containers.all(c, c.env == [{'name': 'MODE', 'value': 'a'}])",
    "env joined": "object.spec.containers.all(c, c.env.map(e, e.value).join(',') != '')",
    "env sorted": "object.spec.containers.all(c, c.env.map(e, e.value).isSorted())",
    "env as a key": "object.spec.containers.all(c, c.env.all(e, {e.value: 1}.size() == 1))",
    "old and new": "oldObject == null || object == oldObject",
    "old spec": "oldObject == null || object.spec == oldObject.spec",
    "extra": "request.userInfo.extra['k'][0] == 'v'",
    "extra in": "!('w' in request.userInfo.extra['k'])",
    "variable": "variables.values.all(v, v != 'a')",
}
NOT_TOUCHING = {
    "env names": "object.spec.containers.all(c, c.env.all(e, e.name != 'PASSWORD'))",
    "env presence": "object.spec.containers.all(c, c.env.all(e, has(e.value)))",
    "env count": "object.spec.containers.all(c, size(c.env) < 3)",
    "extra keys": "'k' in request.userInfo.extra",
    "carried": "object.spec.containers.all(c, c.env.map(e, e.value).size() == 1)",
}
VARIABLES = [{"name": "values", "expression": "object.spec.containers[0].env.map(e, e.value)"}]


@pytest.mark.parametrize("name", [*TOUCHING, *NOT_TOUCHING])
def test_a_policy_that_reads_what_was_redacted_is_not_comparable(
    name: str, tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    expression = (TOUCHING | NOT_TOUCHING)[name]
    file = policy(tmp_path / "p", "p", expression, variables=VARIABLES)
    bodies = [body(pod("a", value="a"), pod("a", value="b"))]
    code, document = result(capsys, record(bodies, loaded(file)), "--policies", str(file))
    change = of(document, "p")
    assert code == 0
    if name in TOUCHING:
        assert change["not_comparable"] == {"it reads what was redacted": 1}
        assert change["compared"] == 0
    else:
        assert change["not_comparable"] == {}
        assert change["compared"] == 1
    kept = record([body(pod("b", value="a"), pod("b", value="a"))], loaded(file), Keep(env=True), folder="kept")
    _, document = result(capsys, kept, "--policies", str(file))
    if name not in ("extra", "extra in"):
        assert of(document, "p")["not_comparable"] == {}


def test_messages_and_annotations_may_quote_what_was_redacted(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """They decide nothing; an example shows the placeholder."""
    old = policy(tmp_path / "old", "p", "true")
    folder = record([body(pod("a", value="hunter2"))], loaded(old))
    quote = "'mode ' + object.spec.containers[0].env[0].value"
    new = policy(
        tmp_path / "new",
        "p",
        "false",
        validations=[{"expression": "false", "messageExpression": quote}],
        auditAnnotations=[{"key": "mode", "valueExpression": quote}],
    )
    code, document = result(capsys, folder, "--policies", str(new))
    assert code == 1
    assert of(document, "p")["newly_at"][0]["message"] == "mode REDACTED"


def test_a_redacted_value_cannot_be_looked_at() -> None:
    value = Redacted()
    looks: list[Callable[[], object]] = [
        lambda: value == 1,
        lambda: 1 != value,  # noqa: SIM300
        lambda: {"a": value} == {"a": Redacted()},
        lambda: hash(value),
        lambda: isinstance(value, str),
        lambda: value.__class__,
        lambda: bool(value),
        lambda: str(value),
        lambda: f"{value}",
        lambda: value + "a",
        lambda: "a" in value,
        lambda: sorted([value, Redacted()]),
        lambda: value.startswith("a"),
    ]
    for look in looks:
        with pytest.raises(Touched):
            look()


def test_the_text(tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    old = policy(tmp_path / "old", "p", "true")
    folder = record([body(pod("a\x1b[2J"))], loaded(old))
    segment = next(folder.glob("*.gz"))
    (folder / "reviews-0-torn.jsonl.gz.part").write_bytes(segment.read_bytes()[:-20])
    (folder / "reviews-0-junk.jsonl.gz").write_bytes(b"junk")
    assert main(["backtest", str(folder), "--policies", str(policy(tmp_path / "new", "p", "false"))]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "p, newly violated:\n  shop/Pod/a" in out
    assert "not read: 1 corrupt (reviews-0-junk.jsonl.gz)" in out
    assert "not read: 1 half-written end (reviews-0-torn.jsonl.gz.part)" in out


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(tmp_path / "none")]) == 2
    assert "not a folder" in capsys.readouterr().err
    assert main(["backtest", str(tmp_path)]) == 2
    assert "serve --record" in capsys.readouterr().err
