"""Conformance: every row of the engine's vectors passes, is refused as unsupported, or is listed here with its reason.

The floors are what passes now. Raise them when more does; a row that passes no longer is a regression.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.corpus

FLOORS = {
    "differential": (1_987, 0),
    "specification": (1_474, 0),
    "library": (350, 0),
    "rules": (187, 0),
    "cel-go-ext": (253, 0),
    "format-v1": (77, 0),
    "compile": (59, 0),
}
"""By file: rows that pass at least, rows that may be refused."""


@pytest.mark.parametrize("name", FLOORS)
def test_vectors(name: str, run_vectors: Callable[[str], Any]) -> None:
    report = run_vectors(name)
    floor, refusals = FLOORS[name]
    assert not report.wrong, "\n".join(f"{id}: {text}" for id, text in report.wrong.items())
    assert report.passed >= floor
    assert len(report.refused) <= refusals
