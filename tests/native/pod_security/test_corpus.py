"""All of Kubernetes' own fixtures and message vectors: verdict, order, reason and detail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook import workload
from webhook.native.pod_security.evaluate import evaluate, message
from webhook.native.pod_security.registry import CHECKS, RUNS
from webhook.native.pod_security.screen import suspects
from webhook.native.pod_security.view import POD

pytestmark = pytest.mark.corpus


def lines(file: Path) -> list[Any]:
    assert file.is_file(), f"{file} is missing"
    return [json.loads(line) for line in file.read_text().splitlines()]


def minor(version: str) -> int:
    return int(version.removeprefix("v1."))


def seen(pod: Any) -> Any:
    """As much of it as is decoded for the pack."""
    return POD.decode(msgspec.Raw(msgspec.json.encode(pod)))


def suspected(pod: Any) -> int:
    return suspects(workload.mapping(pod.get("spec")), workload.annotations_of(pod))


def test_every_fixture_has_the_verdict_of_kubernetes(corpora: Path) -> None:
    fixtures = lines(corpora / "pod-security" / "fixtures.jsonl")
    wrong = []
    for fixture in fixtures:
        holder = seen(fixture["pod"])
        failures = evaluate(
            workload.pod(holder), fixture["level"], minor(fixture["version"]), suspects=suspected(holder)
        )
        text = message(fixture["level"], fixture["version"], failures)
        passed = not failures
        if passed != (fixture["expected"] == "pass") or (not passed and fixture["message_contains"] not in text):
            wrong.append(f"{fixture['level']} {fixture['version']} {fixture['name']}: {text}")
    assert len(fixtures) == 4537
    assert not wrong, "\n".join(wrong[:20])


def test_a_failing_fixture_fails_the_check_it_was_made_for(corpora: Path) -> None:
    overridden = {other: check.id for check in CHECKS for other in check.overrides}
    for fixture in lines(corpora / "pod-security" / "fixtures.jsonl"):
        if fixture["expected"] == "fail":
            pod = workload.pod(fixture["pod"])
            failed = {check for check, _ in evaluate(pod, fixture["level"], minor(fixture["version"]))}
            assert failed & {fixture["check"], overridden.get(fixture["check"])}, fixture


def test_every_message_vector_is_equal_byte_for_byte(corpora: Path) -> None:
    functions = {(check.id, since): function for check in CHECKS for since, function in check.versions}
    vectors = lines(corpora / "pod-security" / "messages.jsonl")
    for vector in vectors:
        pod = workload.pod(seen(vector["pod"]))
        # The vectors are run without the API server's defaults: a volume without a source stays one.
        raw = tuple(vector["pod"].get("spec", {}).get("volumes", ()))
        found = functions[vector["check"], minor(vector["min_version"])](msgspec.structs.replace(pod, volumes=raw))
        where = f"{vector['check']} {vector['min_version']} {vector['name']}"
        assert (found is None) == vector["allowed"], where
        if found is not None:
            assert found.reason == vector.get("reason", found.reason), where
            assert found.detail == vector.get("detail", found.detail), where
    assert {vector["check"] for vector in vectors} == {check.id for check in CHECKS}


def test_what_runs_is_what_kubernetes_runs_in_its_order(corpora: Path) -> None:
    facts = json.loads((corpora / "pod-security" / "checks.json").read_text())
    functions = {(check.id, since): function for check in CHECKS for since, function in check.versions}
    expected = {
        (level, minor(version)): [(check, functions[check, minor(since)]) for check, since in checks.items()]
        for level, versions in facts["effective"].items()
        for version, checks in versions.items()
    }
    assert {key: [(check, run) for check, run, _ in runs] for key, runs in RUNS.items()} == expected
    assert {check["id"]: check["level"] for check in facts["checks"]} == {check.id: check.level for check in CHECKS}
