"""Decode and encode: our own `/validate` with no policy in it."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "decode + encode"


def app(clock: Clock = time.monotonic) -> App:
    return host.admission(clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
