"""The Pod Security pack, all 19 checks at the restricted level."""

from __future__ import annotations

from benchmarks import host
from benchmarks.subjects import App, Tls

label = "Pod Security pack"


def app() -> App:
    return host.admission(pod_security=True)


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
