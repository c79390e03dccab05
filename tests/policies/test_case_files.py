"""How case files are read: merge patches, defaults, and what is said of a file that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webhook.check import cases
from webhook.errors import InvalidInput

POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
  validations: [{expression: "object == null || object.metadata.name == 'a'", message: other name}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: p}
spec: {policyName: p, validationActions: [Warn]}
"""
CASES = """\
objects:
  pod: {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, labels: {x: "1"}}}
cases:
- {name: one, object: pod, expect: pass}
- {name: two, object: pod, patch: {metadata: {name: b, labels: null}}, expect: {findings: [{message: other name}]}}
- {name: three, object: pod, oldPatch: {metadata: {name: z}}, expect: pass}
- {name: four, object: pod, operation: DELETE, expect: pass}
- {name: wrong, object: pod, expect: none}
- {name: wrong text, object: pod, patch: {metadata: {name: b}}, expect: {findings: [{message: another}]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> cases.CaseFile:
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "p.cases.yaml").write_text(CASES)
    (path,) = cases.find([tmp_path / "p.yaml"])
    return cases.read(path)


def test_outcomes(file: cases.CaseFile) -> None:
    wrong = {case.name: cases.mismatch(file, case) for case in file.cases}
    assert {name for name, text in wrong.items() if text} == {"wrong", "wrong text"}
    assert "found a verdict" in wrong["wrong"]
    assert '"message":"other name"' in wrong["wrong text"]


def test_requests(file: cases.CaseFile) -> None:
    one, two, three, four, *_ = [cases.request_of(file, case) for case in file.cases]
    assert (one.operation, three.operation, four.operation) == ("CREATE", "UPDATE", "DELETE")
    assert (bytes(one.old_object), bytes(four.object)) == (b"null", b"null")
    assert b'"labels"' not in bytes(two.object)
    assert b'"name":"z"' in bytes(three.old_object)
    assert (one.namespace, one.resource.resource, one.user_info.username) == ("shop", "pods", "alice")


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": 1}, {"a": None, "b": {"c": None, "d": 2}}, {"b": {"d": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ([1], {"a": 1}, {"a": 1}),
        ({"a": 1}, 5, 5),
    ],
)
def test_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    assert cases.merge(target, patch) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: [", "not YAML"),
        ("cases: []", "not a case file"),
        ("objects: {}\ncases: [{name: a, object: b, expect: pass}]", "there is no object 'b'"),
        ("objects: {}\ncases: [{name: a, object: b, expect: fine}]", "not a case file"),
        ("objects: {}\ncases: [{name: a, object: b, expct: pass}]", "not a case file"),
    ],
)
def test_what_is_no_case_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.cases.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        cases.read(path)
