"""Findings are the key, and neither their number nor their texts fill the memory."""

from __future__ import annotations

from webhook.policy import Finding
from webhook.remembered import Remembered


def findings(number: int, runes: int = 10) -> tuple[Finding, ...]:
    return (Finding(policy=f"policy-{number}", message="x" * runes),)


def test_the_same_findings_are_asked_about_once() -> None:
    asked: list[str] = []

    def make(given: tuple[Finding, ...]) -> str:
        asked.append(given[0].policy)
        return given[0].policy.upper()

    remembered = Remembered(make)
    assert [remembered.of(findings(number)) for number in (1, 2, 1, 2)] == ["POLICY-1", "POLICY-2"] * 2
    assert asked == ["policy-1", "policy-2"]


def test_it_is_bounded() -> None:
    remembered = Remembered(len)
    for number in range(100):
        assert remembered.of(findings(number)) == 1
    assert len(remembered._known) <= 32
    remembered._known.clear()
    assert remembered.of(findings(1, 16_385)) == 1
    assert not remembered._known
