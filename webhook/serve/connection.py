"""One HTTP/1.1 connection: uvicorn's, with bounds in time and bytes that uvicorn has not, and a short way for reviews.

A new connection may be silent (the API server dials ahead), but once a request has begun, its head has to come within
`HEAD_SECONDS` and `HEAD_BYTES`. Bodies are bounded by `admit.py`. There are no timers per request: the server looks at
all connections once a second (`overdue`).

An API server's review is a POST on a connection where nothing else is going on: it is answered as soon as its last byte
is read, in one write (`AtOnce`). No scope, task or events are made, and there is one TLS record and one system call
less. Whatever is different, large or slow goes through uvicorn, as ASGI. Knows nothing of reviews.
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

HOLD_BYTES = 256 * 1024
"""Of a body that is arriving; a larger one is read by the application."""
HOLD_SECONDS = 1.0
"""Since its first byte; a slower request is read by the application, which has its own bounds."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_LAST_HEAD = _HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
_POLL_CLOCK = 0.001
"""The loop keeps the time of its last poll in whole milliseconds."""


class AtOnce(Protocol):
    """What an ASGI application may offer as `at_once`: POSTs to `path`, answered without ASGI."""

    path: bytes
    draining: bool

    def hold(self, size: int, requests: int) -> bool:
        """Counts bytes and requests that are arriving, or, if negative, no longer are; whether that is not too much."""

    def answer(
        self, body: bytes, *, query: bytes, headers: Sequence[tuple[bytes, bytes]], arrived: float, read: float
    ) -> bytes:
        """The JSON that goes out with status 200. Raises nothing. The request's head `arrived`, and its last byte was
        `read`, at these times of `time.monotonic`."""


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
    _body: bytes | bytearray | None = None
    """What there is of a body whose request is to be answered at once."""
    _held: int | None = None
    """How much of it is counted by the application."""
    _head_at: float = 0.0

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
        if self._body is not None:
            if self.transport.is_closing():  # what came is no HTTP
                self._let_go()
            elif not self._hold():
                self._by_asgi()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.head_complete = False

    def on_headers_complete(self) -> None:
        self.head_complete = True
        self._head_at = self._polled()
        if self._is_simple():
            self._body = b""
        else:
            self._by_asgi()

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        if self._body is None:
            super().on_message_complete()
            return
        body, self._spent = bytes(self._let_go()), True
        at_once = cast(AtOnce, self._at_once)
        answer = at_once.answer(
            body,
            query=self.url[len(at_once.path) + 1 :],
            headers=self.headers,
            arrived=self._head_at,
            read=self._polled(),
        )
        self.transport.write((_LAST_HEAD if at_once.draining else _HEAD) % (len(answer), answer))
        if at_once.draining:
            self.transport.close()
        self.server_state.total_requests += 1
        self._answered()

    def _polled(self) -> float:
        """Since when the bytes that are being read have been waiting: all that one poll found did so since then."""
        return min(time.monotonic(), self.loop.time() + _POLL_CLOCK)

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

    def _hold(self) -> bool:
        """Whether the rest of the body may be waited for here."""
        at_once, size = cast(AtOnce, self._at_once), len(self._body or b"")
        fits = at_once.hold(size - (self._held or 0), 1 if self._held is None else 0)
        self._held = size
        return fits and size <= HOLD_BYTES

    def _let_go(self) -> bytes | bytearray:
        """What was held of a body."""
        body, self._body = self._body or b"", None
        if self._held is not None:
            cast(AtOnce, self._at_once).hold(-self._held, -1)
            self._held = None
        return body

    def _by_asgi(self) -> None:
        """Hands the request to uvicorn, with what there is of its body."""
        url, headers, expects, body = self.url, self.headers, self.expect_100_continue, self._let_go()
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        cast(dict[str, Any], self.scope)[ARRIVED] = self._polled()
        super().on_headers_complete()
        if body:
            super().on_body(bytes(body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._body is not None:
            self._by_asgi()  # it is told that its client has left
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._body is not None:
            self._by_asgi()
        super().shutdown()

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
        return self._body is None and (self.cycle is None or self.cycle.response_complete)

    def overdue(self, now: float) -> None:
        """Ends the connection when its request, its own end, or the next request takes too long."""
        if self.transport.is_closing():
            self.closing_since = self.closing_since or now
            if now - self.closing_since > HEAD_SECONDS:
                self.transport.abort()
        elif self.began:
            if self._body is not None and now - self.began > HOLD_SECONDS:
                self._by_asgi()
            if now - self.began > (REQUEST_SECONDS if self.head_complete else HEAD_SECONDS):
                self.transport.close()
        elif now - self.idle_since > self.timeout_keep_alive:
            self.transport.close()
