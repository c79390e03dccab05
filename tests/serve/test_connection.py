"""Bounds of a connection, without sockets and without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from webhook.serve.connection import HEAD_BYTES, HEAD_SECONDS, REQUEST_SECONDS, Connection

KEEP_ALIVE = 180
"""Seconds: longer than the API server's 90."""


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answers(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def connected(scenario: Callable[[Connection, Transport], Any]) -> None:
    """Runs `scenario` with an open connection."""

    async def run() -> None:
        config = uvicorn.Config(answers, ws="none", lifespan="off", log_config=None, timeout_keep_alive=KEEP_ALIVE)
        config.load()
        connection = Connection(config, ServerState(), {})
        transport = Transport()
        connection.connection_made(transport)
        result = scenario(connection, transport)
        if asyncio.iscoroutine(result):
            await result

    asyncio.run(run())


HEAD = b"POST /validate HTTP/1.1\r\nContent-Length: 2\r\n"


def test_a_silent_connection_is_left_alone_for_longer_than_the_api_server_keeps_it() -> None:
    def scenario(connection: Connection, transport: Transport) -> None:
        connection.overdue(connection.idle_since + KEEP_ALIVE - 1)
        assert not transport.is_closing()
        connection.overdue(connection.idle_since + KEEP_ALIVE + 1)
        assert transport.ended == "closed"

    connected(scenario)


@pytest.mark.parametrize("start", [b"P", HEAD, b"\r\n"])
def test_a_head_has_to_come_in_time(start: bytes) -> None:
    def scenario(connection: Connection, transport: Transport) -> None:
        connection.data_received(start)
        connection.overdue(connection.began + HEAD_SECONDS - 1)
        assert not transport.is_closing()
        connection.overdue(connection.began + HEAD_SECONDS + 1)
        assert transport.ended == "closed"
        connection.overdue(connection.began + HEAD_SECONDS + 1)
        connection.overdue(connection.began + 3 * HEAD_SECONDS)
        assert transport.ended == "aborted"

    connected(scenario)


def test_a_complete_head_is_not_overdue_and_neither_is_the_time_between_requests() -> None:
    async def scenario(connection: Connection, transport: Transport) -> None:
        connection.data_received(HEAD + b"\r\n")
        connection.overdue(connection.began + REQUEST_SECONDS - 1)
        assert not transport.ended
        connection.data_received(b"{}")
        await asyncio.sleep(0.01)
        assert transport.written.startswith(b"HTTP/1.1 200 OK")
        assert connection.began == 0.0
        assert connection.idle()
        connection.overdue(connection.idle_since + KEEP_ALIVE - 1)
        assert not transport.ended
        connection.data_received(HEAD)
        connection.overdue(connection.began + HEAD_SECONDS + 1)
        assert transport.ended

    connected(scenario)


def test_a_client_that_takes_no_answer_is_let_go() -> None:
    async def scenario(connection: Connection, transport: Transport) -> None:
        connection.pause_writing()
        connection.data_received(HEAD + b"\r\n{}")
        await asyncio.sleep(0.01)
        assert not connection.idle()
        connection.overdue(connection.began + REQUEST_SECONDS + 1)
        assert transport.ended == "closed"
        connection.overdue(connection.began + REQUEST_SECONDS + 1)
        connection.overdue(connection.began + REQUEST_SECONDS + HEAD_SECONDS + 2)
        assert transport.ended == "aborted"
        connection.connection_lost(None)
        await asyncio.sleep(0.01)

    connected(scenario)


def test_a_head_may_be_large_but_not_endless() -> None:
    def scenario(connection: Connection, transport: Transport) -> None:
        connection.data_received(HEAD + b"Baggage: ")
        sent = 0
        while not transport.ended:
            connection.data_received(b"x" * 65_536)
            sent += 65_536
        assert 1024 * 1024 < sent <= HEAD_BYTES + 65_536

    connected(scenario)


def test_every_request_has_the_whole_bound_to_itself() -> None:
    async def scenario(connection: Connection, transport: Transport) -> None:
        count = HEAD_BYTES // 500_000 + 2
        for _ in range(count):
            connection.data_received(HEAD + b"Baggage: " + b"x" * 500_000 + b"\r\n\r\n{}")
            await asyncio.sleep(0.01)
        assert transport.written.count(b"HTTP/1.1 200 OK") == count
        assert not transport.is_closing()

    connected(scenario)
