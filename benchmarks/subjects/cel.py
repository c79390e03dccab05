"""The CEL policies that are shipped."""

from __future__ import annotations

from benchmarks import host
from benchmarks.subjects import App, Tls

label = "shipped CEL policies"


def app() -> App:
    from webhook.load import shipped

    return host.admission(*shipped())


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
