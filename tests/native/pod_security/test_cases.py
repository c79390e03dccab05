"""The cases beside each check's page, at every version that has a function of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import workload
from webhook.native.pod_security.check import Check, Violation
from webhook.native.pod_security.registry import CHECKS

FOLDER = Path(__file__).resolve().parents[3] / "policies" / "pod-security"


def cases(check: Check) -> list[dict[str, Any]]:
    file = FOLDER / f"{check.id}.cases.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text())["cases"]
    return found


def minor(version: str) -> int:
    return int(version.removeprefix("v1."))


def applies(case: dict[str, Any], since: int) -> bool:
    return minor(case.get("from", "v1.0")) <= since < minor(case.get("before", "v1.999"))


RUNS = [
    pytest.param(function, case, id=f"{check.id} · v1.{since} · {case['name']}")
    for check in CHECKS
    for since, function in check.versions
    for case in cases(check)
    if applies(case, since)
]


@pytest.mark.parametrize(("function", "case"), RUNS)
def test_case(function: Any, case: dict[str, Any]) -> None:
    assert case.keys() <= {"name", "pod", "expect", "from", "before"}
    pod = workload.pod(case["pod"])
    assert pod is not None
    expected = None if case["expect"] == "pass" else Violation(**case["expect"])
    assert function(pod) == expected


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_each_version_has_a_case_either_way(check: Check) -> None:
    names = [case["name"] for case in cases(check)]
    assert len(names) == len(set(names))
    for since, _ in check.versions:
        verdicts = {case["expect"] == "pass" for case in cases(check) if applies(case, since)}
        assert verdicts == {True, False}, since


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_version_without_its_function_would_be_noticed(check: Check) -> None:
    """For each function but the first there is a case on which it and the one before differ."""
    for (_, older), (since, newer) in zip(check.versions, check.versions[1:], strict=False):
        pods = [workload.pod(case["pod"]) for case in cases(check) if applies(case, since)]
        assert any(older(pod) != newer(pod) for pod in pods if pod is not None), since
