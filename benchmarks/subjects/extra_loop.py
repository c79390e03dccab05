"""Sabotage: the Pod Security pack and a superfluous loop a review. The instruction gate must see it."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls, pod_security

label = "Pod Security pack + one loop (sabotage)"


def app(clock: Clock = time.monotonic) -> App:
    inner = pod_security.app(clock)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for number in range(1000):
            _ = number * number
        await inner(scope, receive, send)

    return application


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
