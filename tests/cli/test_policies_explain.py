"""`wouldblock policies explain`, as a user runs it; and that what it shows is what serving says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.cel.test_properties import EXPRESSIONS, OBJECT
from webhook.cel.trace_unit import TraceUnit
from webhook.cel.unit import CompileErrors, Expression, Inputs
from webhook.cel.unparse import unparse
from webhook.check import cases
from webhook.check.explain import explain
from webhook.check.forms import Forms
from webhook.cli import main
from webhook.cli.policies.explain import as_record, text
from webhook.cli.policies.tree import Paint, lines, record
from webhook.load import gather, shipped

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: shown}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}]
  matchConditions:
  - {name: not-system, expression: "!has(request.userInfo.username) || request.userInfo.username != 'system'"}
  variables:
  - {name: names, expression: "object.spec.containers.map(c, c.name)"}
  validations:
  - expression: >-
      variables.names.size() < 5 &&
      object.spec.containers.all(c, c.image.startsWith(params.data.prefix))
    messageExpression: "'not from ' + params.data.prefix"
  - expression: "!has(object.spec.hostNetwork) || !object.spec.hostNetwork"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: bound}
spec:
  policyName: shown
  validationActions: [Warn]
  paramRef: {name: allowed, namespace: ops, parameterNotFoundAction: Deny}
"""
PARAM = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: allowed, namespace: ops}\ndata: {prefix: our/}\n"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: [{name: a, image: our/a}, {name: b, image: "evil/b\\u202e"}, {name: c, image: evil/c}]}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "shown.yaml").write_text(POLICY)
    (tmp_path / "policies" / "param.yaml").write_text(PARAM)
    (tmp_path / "pod.yaml").write_text(POD)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], files: Path, *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["policies", "explain", *map(str, arguments), "--policies", str(files / "policies")])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_element_and_the_clause_that_decided(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml")
    assert code == 1
    lines = out.splitlines()
    assert lines[:2] == ["shown: CREATE of Pod shop/web", "would be blocked: not from our/"]
    at = next(number for number, line in enumerate(POLICY.splitlines(), 1) if "c.image.startsWith" in line)
    assert any(line.startswith("validation 0") and f":{at}:37, cost " in line for line in lines)
    marked = [line for line in lines if line.startswith(">")]
    assert [line.split() for line in marked] == [["> c.image.startsWith(params.data.prefix) = false"][0].split()]
    with_c = lines[lines.index(marked[0]) - 1]
    assert '"name": "b"' in with_c and "\u202e" not in out, "the element that decided, made safe for a terminal"
    caret = next(at for at, line in enumerate(lines) if line.endswith("^ decided"))
    assert lines[caret - 1][lines[caret].index("^") :].startswith("c.image.startsWith")
    assert "variables.names.size() < 5  =  true" in out
    assert "\x1b[" not in out


def test_json(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml", "--output", "json")
    found = json.loads(out)
    assert (code, found["blocked"]) == (1, ["not from our/"])
    (round_,) = found["rounds"]
    assert (round_["binding"], round_["param"], round_["said"]) == ("bound", "ops/allowed", {"0": "not from our/"})
    roles = [(part["role"], part["name"]) for part in round_["parts"]]
    assert roles == [
        ("match condition", "not-system"),
        ("variable", "names"),
        ("validation", "0"),
        ("message", "0"),
        ("validation", "1"),
    ]
    loop = round_["parts"][2]["tree"]["parts"][1]
    assert (loop["value"], loop["decidedAt"], len(loop["elements"])) == ({"bool": False}, [1], 2)
    assert loop["elements"][1]["parts"][0]["decided"] is True
    last = round_["parts"][4]["tree"]
    assert last["notEvaluated"] == ["!object.spec.hostNetwork"]


def test_params_in_place_of_the_bindings(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    (files / "other.yaml").write_text(PARAM.replace("our/", "''").replace("allowed", "other"))
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml", "--params", files / "other.yaml")
    assert (code, "would not be blocked" in out, "with param ops/other" in out) == (0, True, True)


def test_where_an_error_broke_off(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    (files / "pod.yaml").write_text(POD.replace("image: our/a", "other: 1"))
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml")
    assert code == 1
    # `all` goes on after an error, and another element decides.
    assert "c.image  =  error: no such key: image" not in out
    (files / "pod.yaml").write_text(POD.replace("image: our/a", "other: 1").replace("evil", "our"))
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml")
    assert (code, out.count("c.image  =  error: no such key: image")) == (1, 1)
    assert "would be blocked: expression 'variables.names" in out


def test_what_is_not_its_business(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    (files / "pod.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n")
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml")
    assert (code, "no rule is for CREATE of v1/services" in out) == (0, True)


def test_a_review_and_its_user(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "shop",
            "userInfo": {"username": "system"},
            "object": {"spec": {"containers": []}},
        },
    }
    (files / "review.json").write_text(json.dumps(review))
    code, out, _ = run(capsys, files, "shown", "--object", files / "review.json")
    assert (code, "request.userInfo.username != 'system'  =  false" in out) == (0, True)


def test_somebody_writes(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, out, _ = run(capsys, files, "shown", "--object", files / "pod.yaml", "--as", "system", "--as-group", "ops")
    assert (code, "request.userInfo.username != 'system'  =  false" in out) == (0, True)


def test_an_update_and_a_namespace_that_is_not_known(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    text = POLICY.replace("variables.names.size() < 5", "object.spec == oldObject.spec")
    (files / "policies" / "shown.yaml").write_text(
        text.replace("!has(object.spec.hostNetwork) ||", "has(namespaceObject.metadata) ||")
    )
    arguments = ("shown", "--object", files / "pod.yaml", "--old-object", files / "pod.yaml")
    code, out, _ = run(capsys, files, *arguments)
    assert (code, "shown: UPDATE of Pod" in out) == (2, True)
    assert "object.spec == oldObject.spec  =  true" in out
    assert "needs state: the namespace of this request" in out
    (files / "cluster.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    code, out, _ = run(capsys, files, *arguments, "--snapshot", files / "cluster.yaml")
    assert (code, "has(namespaceObject.metadata)  =  true" in out) == (1, True)


def test_wrong_input(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    assert run(capsys, files, "nope", "--object", files / "pod.yaml")[0] == 2
    (files / "two.yaml").write_text(f"{POD}---\n{POD}")
    code, _, err = run(capsys, files, "shown", "--object", files / "two.yaml")
    assert (code, "2 objects, expected one" in err) == (2, True)


def test_pod_security_names_check_container_and_field(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    (files / "pod.yaml").write_text(
        """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/b: unconfined}}
    spec:
      containers:
      - {name: a, image: a}
      - {name: b, image: b, ports: [{hostPort: 0}, {hostPort: 80}], securityContext: {privileged: true}}
      volumes: [{name: v, hostPath: {path: /}}]
"""
    )
    code, out, _ = run(capsys, files, "pod-security-baseline", "--object", files / "pod.yaml")
    assert code == 1
    assert ">   spec.template.spec.containers[b].ports[1].hostPort  =  80" in out
    assert ">   spec.template.spec.containers[b].securityContext.privileged  =  true" in out
    assert '>   spec.template.spec.volumes[v].hostPath  =  {"path": "/"}' in out
    assert "containers[a]" not in out
    code, out, _ = run(capsys, files, "pod-security-restricted", "--object", files / "pod.yaml", "--output", "json")
    found: Any = json.loads(out)
    checks = {check["id"]: check for check in found["checks"]}
    absent = [each["path"] for each in checks["allowPrivilegeEscalation"]["fields"] if each["value"] == "absent"]
    assert absent == [
        f"spec.template.spec.containers[{name}].securityContext.allowPrivilegeEscalation" for name in "ab"
    ]


@pytest.mark.parametrize(
    "path", [each for each in cases.find(list(shipped())) if not cases.is_native(each)], ids=lambda path: path.stem
)
def test_the_explanation_says_what_serving_says(path: Path) -> None:
    file = cases.read(path)
    gathered = gather([file.policy])
    (spec,) = gathered.policies.values()
    bindings, forms = list(gathered.bindings.values()), Forms(spec)
    for case in file.cases:
        request = cases.request_of(file, case)
        found = explain(
            spec, bindings, request, state=cases.state_of(case, request), folder=file.params_of(case), forms=forms
        )
        written = "\n".join(text(found, Paint()))
        assert written.replace("\n", "").isprintable()
        json.dumps(as_record(found))
        concluded = [judged.said for each in found.rounds for judged in each.validations if judged.fires]
        errors = [
            part for each in found.rounds for part in each.conditions if part.step is not None and part.step.failed
        ]
        if found.unknown or errors:
            continue
        said = [] if found.verdict is None else [finding.message for finding in found.verdict.findings]
        assert concluded == said, case.name
        if isinstance(case.expect, msgspec.Struct):
            assert said == [finding.message for finding in case.expect.findings], case.name


@settings(max_examples=200)
@given(EXPRESSIONS)
def test_whatever_was_traced_can_be_shown(text: str) -> None:
    try:
        step = TraceUnit([Expression(path="x", text=text)]).start(Inputs(object=OBJECT)).trace(0)
    except CompileErrors:
        return
    shown = list(lines(step, Paint(), 0))
    assert shown and all(line.isprintable() for line in shown)
    assert json.loads(json.dumps(record(step)))["expression"] == unparse(step.node)


def test_colour_for_those_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", _Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Paint()("no", "red") == "\x1b[31mno\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Paint()("no", "red") == "no"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
