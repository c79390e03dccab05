"""The CEL policies that are shipped."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "shipped CEL policies"


def app(clock: Clock = time.monotonic) -> App:
    from webhook.load import shipped

    return host.admission(*shipped(), clock=clock)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
