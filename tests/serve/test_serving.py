"""The line `serving` in the log is true when it is written: whoever reads it is let in at either port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import uvloop

from webhook.serve import server
from webhook.serve.admit import Admission
from webhook.serve.app import Application, operations
from webhook.serve.telemetry import Scraper


async def forever() -> None:
    await asyncio.Event().wait()


def test_both_ports_listen_once_it_says_so(admission: Callable[..., Admission]) -> None:
    made = admission()
    let_in: dict[str, bool] = {}

    def log(event: str, **facts: Any) -> None:
        assert event == "serving"
        for name in ("port", "metrics_port"):
            with socket.socket() as client:
                let_in[name] = client.connect_ex(("127.0.0.1", facts[name])) == 0
        reviews.end()

    reviews = server.Server(server._config(Application(made), keep_alive=75), made, drain_seconds=0, log=log)  # type: ignore[arg-type]  # called, not more
    scraper = Scraper(made.cells, version="0")
    companion = server.Companion(server._config(operations(made, scraper), keep_alive=75))
    with (
        server.bind("127.0.0.1", 0, "--port") as listener,
        server.bind("127.0.0.1", 0, "--metrics-port") as operations_listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        certificates: Any = SimpleNamespace(watch=forever)
        runner.run(server._serve(reviews, companion, listener, operations_listener, certificates, log))  # type: ignore[arg-type]
    assert let_in == {"port": True, "metrics_port": True}
