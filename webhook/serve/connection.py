"""One HTTP/1.1 connection: uvicorn's, with bounds in time and bytes that uvicorn has not.

A new connection may be silent (the API server dials ahead), but once a request has begun, its head has to come within
`HEAD_SECONDS` and `HEAD_BYTES`. Bodies are bounded by `admit.py`. There are no timers per request: the server looks at
all connections once a second (`overdue`). Knows nothing of reviews.
"""

from __future__ import annotations

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.serve.admit import ARRIVED

HEAD_SECONDS = 30.0
REQUEST_SECONDS = 90.0
"""From first byte to answered: the head's bound, the body's (30 s), and as much for a client that does not read."""
HEAD_BYTES = 2 * 1024 * 1024
"""The API server hands on trace headers of its clients, which may send 1 MiB of headers."""


class Connection(HttpToolsProtocol):
    """Methods in the order in which they are called."""

    began: float = 0.0
    """`time.monotonic` of the first byte of the request that is being read; 0.0 between requests."""
    head_complete: bool = False
    head_bytes: int = 0
    closing_since: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if not self.began:
            self.began = time.monotonic()
        if not self.head_complete:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_complete = False

    def on_headers_complete(self) -> None:
        self.head_complete = True
        self.scope[ARRIVED] = time.monotonic()  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.began = 0.0
        self.head_complete = False
        self.head_bytes = 0
        super().on_response_complete()

    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return self.cycle is None or self.cycle.response_complete

    def overdue(self, now: float) -> None:
        """Ends the connection when its request, or its own end, takes too long."""
        if self.transport.is_closing():
            self.closing_since = self.closing_since or now
            if now - self.closing_since > HEAD_SECONDS:
                self.transport.abort()
        elif self.began and now - self.began > (REQUEST_SECONDS if self.head_complete else HEAD_SECONDS):
            self.transport.close()
