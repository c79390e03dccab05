"""All that is shipped, as `wouldblock serve` serves it when nobody says otherwise. The latency gate's subject."""

from __future__ import annotations

from benchmarks import host
from benchmarks.subjects import App, Tls

label = "the shipped set"


def app() -> App:
    from webhook.load import shipped

    return host.admission(*shipped(), pod_security=True)


def command(tls: Tls) -> list[str]:
    return host.serve(tls)
