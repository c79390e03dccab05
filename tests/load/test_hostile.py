"""Files that somebody made to hurt: each costs itself, quickly, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import Raw

from webhook.load import Loaded, read
from webhook.policy import Context
from webhook.review import GroupVersionKind, GroupVersionResource, Request
from webhook.state import EMPTY

GOOD = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: good}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
  validations: [{expression: EXPRESSION}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: good}
spec: {policyName: good, validationActions: [Warn]}
"""


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD.replace("EXPRESSION", "'true'"))
    return tmp_path


def with_expression(folder: Path, expression: str) -> Loaded:
    text = GOOD.replace("good", "evil").replace("EXPRESSION", json.dumps(expression))
    (folder / "evil.yaml").write_text(text)
    return read([folder])


def survives(loaded: Loaded, *messages: str) -> None:
    assert [policy.id for policy in loaded.policies] == ["good"]
    texts = [problem.message for problem in loaded.problems]
    assert len(texts) == len(messages), texts
    for text, message in zip(texts, messages, strict=True):
        assert message in text


def test_a_megabyte_of_expression(beside: Path) -> None:
    survives(with_expression(beside, "true || " * 130_000 + "true"), "code point size exceeds limit")


def test_an_expression_nested_without_end(beside: Path) -> None:
    survives(with_expression(beside, "(" * 10_000 + "true" + ")" * 10_000), "recursion limit exceeded")


def test_variables_in_a_circle(beside: Path) -> None:
    variables = "[{name: a, expression: variables.b}, {name: b, expression: variables.a}]"
    text = GOOD.replace("good", "evil").replace("EXPRESSION", "'true'")
    (beside / "evil.yaml").write_text(text.replace("  validations:", f"  variables: {variables}\n  validations:"))
    loaded = read([beside])
    survives(loaded, "undefined field 'b'")
    (problem,) = loaded.problems
    assert (problem.line, problem.column, problem.path) == (7, 46, "spec.variables[0].expression")
    assert problem.caret == 10


def test_loops_within_loops(beside: Path) -> None:
    """What such an expression may cost has no useful bound: it is counted."""
    depth = 40
    text = "".join(f"object.l.all(x{each}, " for each in range(depth)) + "true" + ")" * depth
    loaded = with_expression(beside, text)
    assert loaded.problems == ()
    evil = next(policy for policy in loaded.policies if policy.id == "evil")
    kind, resource = GroupVersionKind("", "v1", "X"), GroupVersionResource("", "v1", "xs")
    request = Request(uid="u", kind=kind, resource=resource, operation="CREATE", object=Raw(b'{"l":[1,2,3]}'))
    verdict = evil.run(Context(request, state=EMPTY, clock=lambda: 0.0, deadline=1.0))
    assert verdict is not None
    (finding,) = verdict.findings
    assert finding.message.endswith("resulted in error: operation cancelled: actual cost limit exceeded")


def test_hostile_patterns(beside: Path) -> None:
    survives(with_expression(beside, "'a'.matches('(a{1000}){1000}')"), "matches argument")


def test_a_pattern_that_backtracks_elsewhere_is_linear_here(beside: Path) -> None:
    loaded = with_expression(beside, "('a'.matches('x') ? '' : object.s).matches('^(a+)+$')")
    assert loaded.problems == ()
    evil = next(policy for policy in loaded.policies if policy.id == "evil")
    kind, resource = GroupVersionKind("", "v1", "X"), GroupVersionResource("", "v1", "xs")
    request = Request(
        uid="u", kind=kind, resource=resource, operation="CREATE", object=Raw(b'{"s":"%b!"}' % (b"a" * 50_000))
    )
    verdict = evil.run(Context(request, state=EMPTY, clock=lambda: 0.0, deadline=1.0))
    assert verdict is not None
    assert len(verdict.findings) == 1


def test_aliases_that_multiply(beside: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (beside / "bomb.yaml").write_text("\n".join(lines))
    survives(read([beside]), "aliases multiply")


def test_deep_nesting(beside: Path) -> None:
    (beside / "deep.yaml").write_text("[" * 900 + "]" * 900)
    (beside / "deeper.yaml").write_text("[" * 200_000)
    survives(read([beside]), "levels deep", "not YAML")


def test_bytes_that_are_no_text(beside: Path) -> None:
    (beside / "latin.yaml").write_bytes("größe: 1".encode("latin-1"))
    (beside / "null.yaml").write_bytes(b"\x00" * 100)
    (beside / "tar.json").write_bytes(b"\x1f\x8b\x08" + bytes(range(256)))
    survives(read([beside]), "not UTF-8", "control characters", "not UTF-8")


def test_folders_named_like_files_and_broken_links(beside: Path) -> None:
    (beside / "folder.yaml").mkdir()
    (beside / "broken.yaml").symlink_to(beside / "nowhere")
    survives(read([beside]), "no such file")


def test_a_policy_that_is_no_map_anywhere(beside: Path) -> None:
    kind = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n"
    (beside / "a.yaml").write_text(kind + "metadata: 5\nspec: []\n")
    loaded = read([beside])
    assert [policy.id for policy in loaded.policies] == ["good"]
    assert [problem.path for problem in loaded.problems] == ["metadata", "spec"]


def test_names_of_python_in_the_policy_do_not_reach_the_code(beside: Path) -> None:
    """User text never enters the generated source."""
    loaded = with_expression(beside, "object['__import__(\"os\").system(\"true\")'] == '\\'\\'\\' + x # {y}'")
    (evil,) = (policy for policy in loaded.policies if policy.id == "evil")
    assert "__import__" not in evil.python
    assert "{y}" not in evil.python
