"""While one client sends the largest objects there are, the loop gets round for the others.

Measured in CPU time of the loop's own thread, which no other load on the machine changes.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from webhook.serve import server, tls
from webhook.serve.admit import Admission
from webhook.serve.app import Application

LONGEST = 0.010
"""Seconds of CPU between two turns of the loop: what a p99 of 10 ms for the others leaves at most."""


def longest_turn(app: Any, certificates: Path, client: Callable[[ssl.SSLSocket], None]) -> float:
    """The most CPU time between two turns of a server's loop while `client` talks to it."""
    context = tls.context(certificates / "tls.crt", certificates / "tls.key")
    listener = server.bind("127.0.0.1", 0, "--port")
    errors: list[BaseException] = []

    def talk(address: Any) -> None:
        try:
            trusted = ssl.create_default_context(cafile=certificates / "ca.crt")
            raw = socket.create_connection(address, timeout=60)
            with trusted.wrap_socket(raw, server_hostname="localhost") as connection:
                client(connection)
        except BaseException as error:
            errors.append(error)

    async def run() -> float:
        companion = server.Companion(server._config(app, keep_alive=180, context=context))
        serving = asyncio.create_task(companion.serve([listener]))
        while not companion.started:
            await asyncio.sleep(0.01)
        talking = threading.Thread(target=talk, args=(listener.getsockname(),))
        talking.start()
        await asyncio.sleep(0.2)  # the handshake is not the subject
        longest, before = 0.0, time.thread_time()
        while talking.is_alive():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
        companion.ending.set()
        await serving
        return longest

    gc.collect()
    gc.freeze()  # as a server does: to look through all that the other tests have left takes 20 ms
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(run())
    finally:
        gc.unfreeze()
    assert not errors, errors
    return result


@pytest.mark.parametrize("megabytes", [6, 28])
def test_maximal_objects_stall_nobody(
    megabytes: int, certificates: Path, admission: Callable[..., Admission], review: Any, raw: Any
) -> None:
    def decodes(context: Any) -> None:
        _ = context.object

    body = review(object={"data": {"key": "<" * megabytes * 1_000_000}})

    def client(connection: ssl.SSLSocket) -> None:
        time.sleep(0.5)
        for _ in range(3):
            answer = raw(connection, body)
            assert answer.annotations["incomplete"] == "size"

    app = Application(admission(decodes))
    turns = [longest_turn(app, certificates, client) for _ in range(3)]
    assert min(turns) < LONGEST, turns  # a stall of ours would be in each; one of the machine's is not


def test_the_measure_sees_a_stall(
    certificates: Path, admission: Callable[..., Admission], review: Any, raw: Any
) -> None:
    def stalls(context: Any) -> None:
        end = time.thread_time() + 2 * LONGEST
        while time.thread_time() < end:
            pass

    def client(connection: ssl.SSLSocket) -> None:
        time.sleep(0.5)
        raw(connection, review())

    assert longest_turn(Application(admission(stalls)), certificates, client) > LONGEST
