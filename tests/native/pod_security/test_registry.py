"""A set of checks that cannot be right is refused at import."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.native.pod_security.check import Check, Violation
from webhook.native.pod_security.registry import CHECKS, resolve, validate
from webhook.native.pod_security.screen import EVERYTHING
from webhook.workload import Pod


def passes(pod: Pod) -> Violation | None:
    return None


def fails(pod: Pod) -> Violation | None:
    return Violation("no")


def check(**changes: Any) -> Check:
    return Check(**{"id": "a", "level": "baseline", "versions": ((0, passes),)} | changes)


@pytest.mark.parametrize(
    ("checks", "complaint"),
    [
        ([check(), check()], "same id"),
        ([check(level="privileged")], "no such level"),
        ([check(versions=())], "versions must rise"),
        ([check(versions=((2, passes), (1, passes)))], "versions must rise"),
        ([check(versions=((1, passes), (1, passes)))], "versions must rise"),
        ([check(versions=((38, passes),))], "versions must rise"),
        ([check(), check(id="b", overrides=("a",))], "only restricted checks override"),
        ([check(id="b", level="restricted", overrides=("a",))], "only baseline ones"),
        ([check(level="restricted"), check(id="b", level="restricted", overrides=("a",))], "only baseline ones"),
    ],
)
def test_refused(checks: list[Check], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        validate(checks)


def test_an_override_holds_from_its_own_version_on() -> None:
    runs = resolve([check(id="b", level="restricted", versions=((10, fails),), overrides=("a",)), check()])
    assert runs["restricted", 9] == (("a", passes, EVERYTHING),)
    assert runs["restricted", 10] == (("b", fails, EVERYTHING),)
    assert runs["baseline", 10] == (("a", passes, EVERYTHING),)


def test_nineteen() -> None:
    assert len(CHECKS) == 19
    assert [each.level for each in CHECKS].count("baseline") == 12
