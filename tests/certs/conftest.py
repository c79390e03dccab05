"""A fixed moment: certificates in these tests do not depend on the clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
