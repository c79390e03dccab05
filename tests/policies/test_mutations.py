"""The cases of every shipped policy notice each small change of it; and what the mutation check itself finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from webhook.check import cases
from webhook.check.mutants import mutants
from webhook.check.mutation import Survey, survey
from webhook.load import gather, shipped

FILES = {
    path.name.removesuffix(".cases.yaml"): path for path in cases.find(list(shipped())) if not cases.is_native(path)
}
POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  matchConditions: [{name: named, expression: has(object.metadata.name)}]
  variables:
  - name: few
    expression: >-
      object.spec.of.all(n,
      n < 3)
  validations:
  - expression: variables.few || !(object.spec.free)
    message: too many
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: p}
spec: {policyName: p, validationActions: [Warn]}
"""
CASES = """\
objects:
  pod: {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {of: [1, 2], free: true}}
cases:
- {name: few, object: pod, expect: pass}
"""
MANY = "- {name: many, object: pod, patch: {spec: {of: [1, 3]}}, expect: {findings: [{message: too many}]}}\n"
REST = """\
- {name: not free, object: pod, patch: {spec: {of: [5], free: false}}, expect: pass}
- {name: unnamed, object: pod, patch: {metadata: {name: null}}, expect: none}
"""


@pytest.mark.parametrize("name", FILES)
def test_every_change_of_a_shipped_policy_is_noticed(name: str) -> None:
    found = survey(cases.read(FILES[name]))
    assert found.tried > 1
    assert [f"{each.place}\nbecame: {each.text}" for each in found.survivors] == []
    assert found.unused == ()


def asked(folder: Path, text: str) -> Survey:
    (folder / "p.yaml").write_text(POLICY)
    (folder / "p.cases.yaml").write_text(text)
    return survey(cases.read(folder / "p.cases.yaml"))


def test_which_changes_there_are(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    (spec,) = gather([tmp_path / "p.yaml"]).policies.values()
    found = [(each.place.path, each.place.message, each.text) for each in mutants(spec)]
    condition, variable, validation = "matchConditions", "variables", "validations"
    assert found == [
        (f"spec.{part}[0].expression", what, text)
        for part, what, text in [
            (condition, "the match condition is not there", "true"),
            (condition, "the match condition is negated", "!has(object.metadata.name)"),
            (variable, "exists instead of all", "object.spec.of.exists(n, n < 3)"),
            (variable, ">= instead of <", "object.spec.of.all(n, n >= 3)"),
            (variable, "off by one: <= instead of <", "object.spec.of.all(n, n <= 3)"),
            (variable, "off by one: 2 instead of 3", "object.spec.of.all(n, n < 2)"),
            (validation, "the validation is not there", "true"),
            (validation, "the validation is negated", "!(variables.few || !object.spec.free)"),
            (validation, "lost a clause of ||: variables.few", "!object.spec.free"),
            (validation, "lost a clause of ||: !object.spec.free", "variables.few"),
            (validation, "not negated: object.spec.free", "variables.few || object.spec.free"),
        ]
    ]


def test_what_no_case_notices_is_shown_where_it_stands(tmp_path: Path) -> None:
    found = asked(tmp_path, CASES)
    alive = {each.place.message: each for each in found.survivors}
    assert "the validation is not there" in alive
    shifted = alive["off by one: <= instead of <"].place
    line = next(number for number, text in enumerate(POLICY.splitlines(), 1) if "n < 3" in text)
    assert (shifted.line, shifted.column) == (line, 7)
    assert shifted.source[shifted.caret - 1 :] == "n < 3)"


def test_cases_that_tell_every_change_apart(tmp_path: Path) -> None:
    assert [each.name for each in asked(tmp_path, CASES + MANY + REST).survivors] == []
    alive = [each.place.message for each in asked(tmp_path, CASES + MANY).survivors]
    assert alive == ["the match condition is not there", "lost a clause of ||: !object.spec.free"]


def test_what_no_case_can_tell_apart_is_written_down(tmp_path: Path) -> None:
    name = "spec.matchConditions[0].expression: the match condition is not there"
    found = asked(tmp_path, f'{CASES}{MANY}equal:\n  "{name}": whoever is stored has a name\n  "gone": why\n')
    assert [each.place.message for each in found.survivors] == ["lost a clause of ||: !object.spec.free"]
    assert (found.equal, found.unused) == (1, ("gone",))
