"""A hundred CEL policies, generated from a seed; each looks at every container."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "100 CEL policies"


def app(clock: Clock = time.monotonic) -> App:
    return host.admission(host.generated(100), clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
