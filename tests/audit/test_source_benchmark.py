"""The benchmark's contenders answer the same question with the planted answer; a wrong one would not be timed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import audit, audit_log


def test_everybody_answers_what_was_planted(tmp_path: Path) -> None:
    text = audit.run(2_000_000, cpus=1, rounds=1, folder=tmp_path)
    for each in audit.CONTENDERS:
        assert f"| {each.label} |" in text
    assert "| wouldblock |" in text
    assert not any(tmp_path.iterdir())


def test_a_wrong_answer_is_no_timing(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    planted = audit_log.write(file, 300_000, trouble=0.0)
    ours = next(each for each in audit.CONTENDERS if each.label == "wouldblock")
    assert audit.measured(ours, file, planted, cpus=1, rounds=1) is not None
    with pytest.raises(ValueError, match="planted were"):
        audit.measured(ours, file, dataclasses.replace(planted, reviewed=planted.reviewed + 1), cpus=1, rounds=1)
