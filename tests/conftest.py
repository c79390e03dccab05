"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# No test trusts the wall clock, and a run in CI is the same each time: new examples are found at the desk.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped corpora are said loudly: a run without them proves less."""
    if not SHARED.is_dir():
        terminalreporter.write_line(
            "NOTE: ../shared is absent: every test that reads conformance fixtures was SKIPPED", red=True
        )


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of conformance fixtures. Skips only when the whole of `../shared` is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent: conformance fixtures were not checked")
    folder = SHARED / "corpora"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: the conformance fixtures cannot be read")
    return folder
