"""Sabotage: the empty endpoint, 12 ms late. The latency gate must see it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls, empty

label = "empty ASGI endpoint + 12 ms (sabotage)"


def app(clock: Clock = time.monotonic) -> App:
    inner = empty.app(clock)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.012)
        await inner(scope, receive, send)

    return application


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
