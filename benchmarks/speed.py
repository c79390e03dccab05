"""How fast this machine is beside the one that the targets speak of.

Virtual CPUs of one kind differ by a factor of two from host to host and minute to minute, and no figure of the
scheduler shows it. The yardstick is the standard library's `json.loads` on a review of ours: C code that this
project cannot change.
"""

from __future__ import annotations

import json
import time

from webhook.bench import corpus

REFERENCE_BYTES_PER_US = 192.0
"""`json.loads` of a 10.3 KB UPDATE review in 53.7 µs: CPython 3.11.7 on the machine that the targets were set on."""
ENOUGH = 0.7
"""Below this share of the reference's speed a latency that is too high says nothing. At 0.74 the shipped set has a p99
of 5 to 6 ms."""
_ROUNDS, _REPEATS = 20, 20


def share() -> float:
    """This machine's speed just now, 1.0 for the reference."""
    body = corpus.reference(1).body.filled("0" * 36)
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_REPEATS):
            json.loads(body)
        best = min(best, (time.perf_counter() - began) / _REPEATS)
    return len(body) / (best * 1e6) / REFERENCE_BYTES_PER_US
