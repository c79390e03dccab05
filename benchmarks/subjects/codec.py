"""Decode and encode: our own `/validate` with no policy in it."""

from __future__ import annotations

from benchmarks import host
from benchmarks.subjects import App, Tls

label = "decode + encode"


def app() -> App:
    return host.admission()


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
