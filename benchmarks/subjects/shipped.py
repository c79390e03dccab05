"""All that is shipped, as `wouldblock serve` serves it when nobody says otherwise. The latency gate's subject."""

from __future__ import annotations

import time

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "the shipped set"


def app(clock: Clock = time.monotonic) -> App:
    from webhook.load import shipped

    return host.admission(*shipped(), pod_security=True, clock=clock)


def command(tls: Tls) -> list[str]:
    return host.serve(tls)
