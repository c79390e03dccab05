"""`wouldblock policies`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webhook.cli import main

BROKEN = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: bad}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
  - expression: object.spec.hostNetwork
"""
CASE = """\
objects:
  pod: {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {containers: [{name: c, image: "a:1"}]}}
cases:
- {name: said wrongly, object: pod, expect: {findings: [{message: nothing}]}}
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["policies", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def output(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    return json.loads(out)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert out.splitlines()[1].startswith("pod-security-baseline ")
    assert any(line.split()[:3] == ["image-tag-mutable", "medium", "images"] for line in out.splitlines())
    records = output(capsys, "list", "--output", "json")
    assert {"id", "digest", "meta", "match", "source"} <= records[-1].keys()


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "resources-priority-class-system")
    assert code == 0
    assert "kubernetes.io/metadata.name NotIn (kube-system)" in out
    assert "deployments, replicasets, statefulsets, daemonsets (apps/v1)" in out


def test_show_python_is_code_that_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "image-tag-mutable", "--python")
    assert code == 0
    compile(out, "shown", "exec")
    shown = output(capsys, "show", "image-tag-mutable", "--python", "--output", "json")
    assert shown["python"].rstrip() == out.rstrip()


def test_show_what_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "show", "nope")
    assert (code, "policies list" in err) == (2, True)
    (tmp_path / "bad.yaml").write_text(BROKEN)
    code, _, err = run(capsys, "show", "bad", "--policies", tmp_path)
    assert (code, "bool but got dyn" in err) == (2, True)


def test_validate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BROKEN)
    code, out, _ = run(capsys, "validate", path)
    assert code == 1
    where = f"{path}:8:17: spec.validations[0].expression: must evaluate to bool but got dyn"
    assert out.splitlines()[0] == where
    code, out, _ = run(capsys, "validate", path, "--output", "json")
    found = json.loads(out)
    assert (code, found["problems"][0]["line"], found["policies"]) == (1, 8, [])
    assert found["notes"][0]["policy"] == "bad"


def test_validate_what_is_good(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    code, out, _ = run(capsys, "validate", root / "policies")
    assert code == 0
    assert "0 problems" in out


def test_validate_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "validate", tmp_path)[0] == 2
    code, _, err = run(capsys, "validate", tmp_path / "gone")
    assert (code, "no such file" in err) == (2, True)


def test_manifest_is_the_archive_of_the_set(capsys: pytest.CaptureFixture[str]) -> None:
    record = output(capsys, "manifest")
    assert [each["id"] for each in record["policies"]][:2] == ["pod-security-baseline", "pod-security-restricted"]
    assert len(record["digest"]) == 16


def test_manifest_of_a_set_with_a_broken_policy_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BROKEN)
    code, out, err = run(capsys, "manifest", "--policies", tmp_path)
    assert (code, "left out" in err) == (2, True)
    assert json.loads(out)["policies"]


def test_cases(capsys: pytest.CaptureFixture[str], tmp_path: Path, root: Path) -> None:
    code, out, _ = run(capsys, "test", root / "policies" / "reliability")
    assert (code, "0 not as expected" in out) == (0, True)
    policy = tmp_path / "image-tag-mutable.yaml"
    policy.write_text((root / "policies" / "images" / policy.name).read_text())
    (tmp_path / "image-tag-mutable.cases.yaml").write_text(CASE)
    code, out, _ = run(capsys, "test", policy)
    assert (code, "said wrongly: expected" in out) == (1, True)
    assert run(capsys, "test", tmp_path / "image-tag-mutable.cases.yaml", "--output", "json")[0] == 1


@pytest.mark.parametrize("verb", ["list", "show", "validate", "manifest", "test"])
def test_help_teaches_with_an_example(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit):
        main(["policies", verb, "--help"])
    assert f"wouldblock policies {verb}" in capsys.readouterr().out.split("example", 1)[1]


def test_validate_asks_of_what_is_off_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    off = 'metadata: {name: bad, annotations: {wouldblock.dev/default: "off"}}'
    binding = "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\n"
    spec = "metadata: {name: bad}\nspec: {policyName: bad, validationActions: [Warn]}\n"
    (tmp_path / "bad.yaml").write_text(BROKEN.replace("metadata: {name: bad}", off) + binding + spec)
    code, out, _ = run(capsys, "validate", tmp_path)
    assert (code, "must evaluate to bool but got dyn" in out) == (1, True)
