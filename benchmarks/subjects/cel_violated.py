"""A hundred CEL policies, of which the 24 KB review violates 43 (41 when there is nothing else to find in it)."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "100 CEL policies, 43 violated"

_STRICT = 41


def app(clock: Clock = time.monotonic) -> App:
    return host.admission(host.generated(100, strict=_STRICT), clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
