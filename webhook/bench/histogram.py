"""HdrHistogram's log-linear buckets with three significant digits, and its percentiles.

Values are non-negative integers (here: microseconds). Below 2,048 each value has its own bucket; above, a
bucket is 1/1,024 to 1/2,048 of its value wide, so a percentile is at most 0.1 % too high, never too low.
The field's tools (wrk2, h2load's successors, HdrHistogram itself) use the same buckets, so figures compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_LINEAR_BITS = 11
"""2,048 sub-buckets: what three significant digits need."""


class Histogram:
    """Counts by bucket, sparse: a run touches some hundred of the 20,000 buckets up to a minute."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.max = 0
        for value in values:
            self.record(value)

    def record(self, value: int) -> None:
        low = _lowest(value)
        self._counts[low] = self._counts.get(low, 0) + 1
        self.count += 1
        self.total += value
        self.max = max(self.max, value)

    def percentile(self, percent: float) -> int:
        """The smallest bucket end that `percent` of the values do not exceed (nearest rank); 0 when empty.

        Never above the largest value, as HdrHistogram's own would be by a bucket's width.
        """
        rank = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        seen = 0
        for low in sorted(self._counts):
            seen += self._counts[low]
            if seen >= rank:
                return min(_highest(low), self.max)
        return 0

    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


def _lowest(value: int) -> int:
    shift = max(0, value.bit_length() - _LINEAR_BITS)
    return value >> shift << shift


def _highest(low: int) -> int:
    return low + (1 << max(0, low.bit_length() - _LINEAR_BITS)) - 1
