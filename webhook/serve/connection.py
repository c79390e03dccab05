"""One HTTP/1.1 connection: uvicorn's, with bounds in time and bytes that uvicorn has not, and a short way for reviews.

A new connection may be silent (the API server dials ahead), but once a request has begun, its head has to come within
`HEAD_SECONDS` and `HEAD_BYTES`. Bodies are bounded by `admit.py`. There are no timers per request: the server looks at
all connections once a second (`overdue`).

An API server's review is a POST that arrives whole, on a connection where nothing else is going on: it is answered
then and there, in one write (`AtOnce`). That is half of the CPU that an empty ASGI application costs: no scope, task
or events, one TLS record and one system call less. Whatever is different goes through uvicorn, as ASGI. Knows nothing
of reviews.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.serve.admit import ARRIVED

HEAD_SECONDS = 30.0
REQUEST_SECONDS = 90.0
"""From first byte to answered: the head's bound, the body's (30 s), and as much for a client that does not read."""
HEAD_BYTES = 2 * 1024 * 1024
"""The API server hands on trace headers of its clients, which may send 1 MiB of headers."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_LAST_HEAD = _HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
_POLL_CLOCK = 0.001
"""The loop keeps the time of its last poll in whole milliseconds."""


class AtOnce(Protocol):
    """What an ASGI application may offer as `at_once`: POSTs to `path` that arrived whole, answered without ASGI."""

    path: bytes
    draining: bool

    def answer(self, body: bytes, *, query: bytes, headers: Sequence[tuple[bytes, bytes]], arrived: float) -> bytes:
        """The JSON that goes out with status 200. Raises nothing. `arrived` is of `time.monotonic`."""


class Connection(HttpToolsProtocol):
    """Methods in the order in which they are called."""

    began: float = 0.0
    """`time.monotonic` of the first byte of the request that is being read; 0.0 between requests."""
    idle_since: float = 0.0
    """`time.monotonic` of when the connection was made, or its last request was answered."""
    head_complete: bool = False
    head_bytes: int = 0
    closing_since: float = 0.0
    _at_once: AtOnce | None = None
    _spent: bool = False
    """Whether these bytes have had an answer at once: who pipelines waits for a turn of the loop each."""
    _whole: list[bytes] | None = None
    """The body so far of a request that is answered at once if all of it is among the bytes being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._at_once = getattr(self.app, "at_once", None)
        self.idle_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if not self.began:
            self.began = time.monotonic()
        if not self.head_complete:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.transport.close()
                return
        self._spent = False
        super().data_received(data)
        if self._whole is not None:
            if self.transport.is_closing():  # what came is no HTTP
                self._whole = None
            else:
                self._by_asgi()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.head_complete = False

    def on_headers_complete(self) -> None:
        self.head_complete = True
        if self._is_simple():
            self._whole = []
        else:
            self._by_asgi()

    def on_body(self, body: bytes) -> None:
        if self._whole is None:
            super().on_body(body)
        else:
            self._whole.append(body)

    def on_message_complete(self) -> None:
        if self._whole is None:
            super().on_message_complete()
            return
        parts, self._whole, self._spent = self._whole, None, True
        at_once = cast(AtOnce, self._at_once)
        answer = at_once.answer(
            parts[0] if len(parts) == 1 else b"".join(parts),
            query=self.url[len(at_once.path) + 1 :],
            headers=self.headers,
            # All that one poll found readable has been waiting since then.
            arrived=min(time.monotonic(), self.loop.time() + _POLL_CLOCK),
        )
        self.transport.write((_LAST_HEAD if at_once.draining else _HEAD) % (len(answer), answer))
        if at_once.draining:
            self.transport.close()
        self.server_state.total_requests += 1
        self._answered()

    def _is_simple(self) -> bool:
        """Whether the request whose head is complete can be answered at once when its body is."""
        at_once, parser, url = self._at_once, self.parser, self.url
        return (
            at_once is not None
            and not self._spent
            and (url.startswith(at_once.path + b"?") or url == at_once.path)
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _by_asgi(self) -> None:
        """Hands the request to uvicorn, with what there is of its body."""
        url, headers, expects, parts = self.url, self.headers, self.expect_100_continue, self._whole
        self._whole = None
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        cast(dict[str, Any], self.scope)[ARRIVED] = time.monotonic()
        super().on_headers_complete()
        for part in parts or ():
            super().on_body(part)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self._answered()

    def _answered(self) -> None:
        self.began = 0.0
        self.idle_since = time.monotonic()
        self.head_complete = False
        self.head_bytes = 0

    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return self.cycle is None or self.cycle.response_complete

    def overdue(self, now: float) -> None:
        """Ends the connection when its request, its own end, or the next request takes too long."""
        if self.transport.is_closing():
            self.closing_since = self.closing_since or now
            if now - self.closing_since > HEAD_SECONDS:
                self.transport.abort()
        elif self.began:
            if now - self.began > (REQUEST_SECONDS if self.head_complete else HEAD_SECONDS):
                self.transport.close()
        elif now - self.idle_since > self.timeout_keep_alive:
            self.transport.close()
