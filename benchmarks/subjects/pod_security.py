"""The Pod Security pack, all 19 checks at the restricted level."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "Pod Security pack"


def app(clock: Clock = time.monotonic) -> App:
    return host.admission(pod_security=True, clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
