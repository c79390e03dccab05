"""A hundred CEL policies, generated from a seed; each looks at every container."""

from __future__ import annotations

from benchmarks import host
from benchmarks.subjects import App, Tls

label = "100 CEL policies"


def app() -> App:
    return host.admission(host.generated(100))


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
