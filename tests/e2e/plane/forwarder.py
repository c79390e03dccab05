"""A Service on loopback, as kube-proxy does it: a live backend is picked when a connection is made; then bytes flow."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable


class Forwarder:
    """Listens on `port`. `backends` may be changed at any time: connections that exist stay where they are."""

    def __init__(self, backends: Iterable[int] = ()) -> None:
        self.backends: tuple[int, ...] = tuple(backends)
        self.port = 0
        self.connections: dict[int, int] = {}
        """Backend port → connections made to it."""
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        listening = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(listening),), daemon=True
        )
        self._thread.start()
        listening.wait(10)

    def stop(self) -> None:
        """Closes every connection."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._loop.close()

    async def _serve(self, listening: threading.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        await self._stopping.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            backend = await self._dial()
            if backend is None:
                writer.transport.abort()
                return
            await asyncio.gather(_pump(reader, backend[1]), _pump(backend[0], writer))

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The next backend that accepts; None when there is none."""
        for _ in range(len(self.backends)):
            backends = self.backends
            if not backends:
                return None
            port = backends[self._turn % len(backends)]
            self._turn += 1
            with contextlib.suppress(OSError):
                streams = await asyncio.open_connection("127.0.0.1", port)
                self.connections[port] = self.connections.get(port, 0) + 1
                return streams
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()
