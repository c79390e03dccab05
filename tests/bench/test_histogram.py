"""The percentiles are HdrHistogram's, as an independent implementation computes them."""

from __future__ import annotations

import random

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from webhook.bench.histogram import Histogram

PERCENTS = (0.1, 50, 90, 99, 99.9)


@pytest.mark.parametrize("seed", range(3))
def test_equals_hdrhistogram(seed: int) -> None:
    # 10,000 values, so that every percentile asked for is a whole rank and rounding rules cannot differ.
    rng = random.Random(seed)  # noqa: S311
    values = [int(rng.lognormvariate(7, 2)) + rng.choice((0, 0, 0, 500_000)) for _ in range(10_000)]
    theirs = HdrHistogram(1, 1_000_000_000, 3)
    for value in values:
        theirs.record_value(value)
    ours = Histogram(values)
    assert [ours.percentile(p) for p in PERCENTS] == [theirs.get_value_at_percentile(p) for p in PERCENTS]


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 100))
def test_at_most_a_thousandth_above_the_nearest_rank(values: list[int], percent: float) -> None:
    below = sum(value <= Histogram(values).percentile(percent) for value in values)
    assert below >= percent / 100 * len(values) - 1e-6
    # The bucket that was named holds a value that close.
    named = Histogram(values).percentile(percent)
    assert any(value <= named <= value * 1.001 for value in values)


def test_counts_mean_and_extremes() -> None:
    histogram = Histogram([1, 2, 3, 5_000])
    assert (histogram.count, histogram.max, histogram.mean()) == (4, 5_000, 1251.5)
    assert histogram.percentile(75) == 3
    assert histogram.percentile(100) == 5_000


def test_empty() -> None:
    assert Histogram().percentile(99) == 0
    assert Histogram().mean() == 0.0
