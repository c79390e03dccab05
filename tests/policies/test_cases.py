"""The shipped policies do what their cases say, and are shaped as shipped policies must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Raw, json, structs

from webhook import yamlfile
from webhook.check import cases
from webhook.evaluate import evaluate
from webhook.load import CASES, gather, load
from webhook.manifest.fields import PolicySpec

POLICIES = Path(__file__).resolve().parents[2] / "policies"
FILES = [path for path in cases.find([POLICIES]) if not cases.is_native(path)]


def every_case() -> list[tuple[Path, str]]:
    return [(path, case.name) for path in FILES for case in cases.read(path).cases]


@pytest.mark.parametrize(
    ("path", "name"), every_case(), ids=[f"{path.name.removesuffix(CASES)}: {name}" for path, name in every_case()]
)
def test_a_case(path: Path, name: str) -> None:
    file = cases.read(path)
    (case,) = (each for each in file.cases if each.name == name)
    assert cases.mismatch(file, case) == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_policy_passes_and_fails_something_and_is_updated(path: Path) -> None:
    found = cases.read(path).cases
    assert any(case.expect == "pass" for case in found)
    assert any(isinstance(case.expect, cases.Verdicts) and case.expect.findings for case in found)
    assert any(cases.operation_of(case) == "UPDATE" for case in found)


def cel_policies() -> list[tuple[Path, PolicySpec]]:
    found = []
    for path in yamlfile.files([POLICIES]):
        if not path.name.endswith(CASES):
            found += [(path, spec) for spec in gather([path]).policies.values()]
    return found


@pytest.mark.parametrize(("path", "spec"), cel_policies(), ids=lambda value: getattr(value, "id", ""))
def test_the_form_of_a_shipped_policy(path: Path, spec: PolicySpec) -> None:
    gathered = gather([path])
    assert (path.stem, path.parent.name) == (spec.id, spec.meta.pack)
    assert path.with_name(spec.id + CASES).exists()
    assert spec.meta.title != spec.id
    assert spec.meta.remediation
    assert spec.meta.references
    assert spec.meta.ticket in ("SR", "CO", "PT", "DA")
    bindings = [binding for binding in gathered.bindings.values() if binding.policy == spec.id]
    assert bindings
    assert all(set(binding.actions) == {"Warn", "Audit"} for binding in bindings)
    texts = [
        *(each.expression for each in (*spec.conditions, *spec.variables)),
        *(each.expression for each in spec.audit_annotations),
        *(each.expression + each.message_expression for each in spec.validations),
    ]
    # A webhook has neither: the policy would have no verdict here.
    assert not [text for text in texts if "authorizer" in text or "namespaceObject" in text]
    # Writes that only wait for finalizers to go are nobody's business.
    assert "not-being-deleted" in [condition.name for condition in spec.conditions]


def test_rules_that_are_null() -> None:
    """So the API server sends a role without rules; a merge patch cannot say it."""
    file = cases.read(POLICIES / "rbac" / "rbac-wildcard-admin.cases.yaml")
    (case,) = (each for each in file.cases if each.name == "rules left out")
    value = file.object_of(case) | {"rules": None}
    request = structs.replace(cases.request_of(file, case), object=Raw(json.encode(value)))
    outcome = evaluate(load([file.policy], pod_security=None), request, budget=60.0)
    assert (outcome.findings, outcome.evaluated) == ((), 1)


def test_what_the_shipped_set_shows() -> None:
    """Each part of the language of policies is in use, so that its path to a real server is tested."""
    specs = [spec for _, spec in cel_policies()]
    bindings = [binding for path, _ in cel_policies() for binding in gather([path]).bindings.values()]
    assert len(specs) >= 30
    assert any(spec.param_kind for spec in specs)
    assert any(spec.audit_annotations for spec in specs)
    assert any(each.message_expression for spec in specs for each in spec.validations)
    assert any(binding.match and binding.match.namespace_selector for binding in bindings)
    assert any(binding.param_ref for binding in bindings)
