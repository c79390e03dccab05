"""How often may it still happen, when it was seen k times in n? One-sided 95 % upper bounds, exact.

Knows numbers only. Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934); for k = 0 it is
`1 − 0.05^(1/n)`, the "rule of three" for large n.
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def upper_bound(k: int, n: int) -> float:
    """The largest share at which k or fewer of n would still happen in 5 of 100 cases; 1.0 without any trial."""
    if n <= 0 or k >= n:
        return 1.0
    if k == 0:
        return -math.expm1(math.log1p(-CONFIDENCE) / n)
    low, high = k / n, 1.0
    while high - low > 1e-9:
        share = (low + high) / 2
        if _at_most(k, n, share) > 1 - CONFIDENCE:
            low = share
        else:
            high = share
    return high


def _at_most(k: int, n: int, share: float) -> float:
    """P(X ≤ k) for X binomial; summed from logarithms, for n may be large."""
    yes, no = math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * yes + (n - i) * no)
        for i in range(k + 1)
    )
