"""A thousand CEL policies: what they take of memory and start-up. No load is measured."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "1,000 CEL policies"


def app(clock: Clock = time.monotonic) -> App:
    return host.admission(host.generated(1000), clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
