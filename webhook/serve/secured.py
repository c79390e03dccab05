"""TLS between a socket and a protocol, in memory that all connections share. Knows no HTTP.

uvloop's TLS holds on to 256 KiB for every connection, and OpenSSL to as much again, once a large body has come; the API
server keeps tens of connections. Here bytes arrive in one buffer and are decrypted into another, a few records at a
time, so that what a connection holds is at most the beginning of a record. The cryptography is `ssl`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

HANDSHAKE_SECONDS = 60.0
"""From connected to secured. A client that dials ahead shakes hands at once, and is silent then."""

STEP = 32 * 1024
"""OpenSSL is given no more bytes at a time: its buffers grow with what they are given, and never shrink."""
_ARRIVED = memoryview(bytearray(256 * 1024))
_PLAIN = memoryview(bytearray(len(_ARRIVED) + STEP))
"""What arrived, decrypted, and the end of a record whose beginning had come before."""


class Secured(asyncio.BufferedProtocol, asyncio.Transport):
    """To the socket's transport a protocol, to `inner` the transport."""

    def __init__(self, inner: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__()
        self._inner = inner
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self._closing = False

    # What the socket's transport calls, in this order.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        self._late = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self.abort)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _ARRIVED

    def buffer_updated(self, nbytes: int) -> None:
        count, ended = 0, False
        for start in range(0, nbytes, STEP):
            self._incoming.write(_ARRIVED[start : min(start + STEP, nbytes)])
            try:
                if self._shaken or self._shake():
                    count, ended = self._decrypt(count)
            except ssl.SSLError:
                ended = True
            if ended:
                break
        if count and not self._closing:
            self._inner.data_received(bytes(_PLAIN[:count]))
        if ended:
            self.close()
            self._hang_up()
        elif self._outgoing.pending:
            self._flush()

    def _shake(self) -> bool:
        """Whether the handshake has come to its end. Raises `ssl.SSLError` for a client that is not let in."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._late.cancel()
        self._shaken = True
        self._inner.connection_made(self)
        return True

    def _decrypt(self, count: int) -> tuple[int, bool]:
        """How many bytes there are in `_PLAIN` now, of `count` before, and whether they are the last: the client has
        said goodbye, or something that is no record of its."""
        incoming = self._incoming
        read = cast(Callable[[int, memoryview], int], self._tls.read)  # typeshed knows its other form
        try:
            while incoming.pending:
                more = read(STEP, _PLAIN[count:])  # a whole record
                if not more:
                    return count, True
                count += more
        except ssl.SSLWantReadError:  # a record's end is still to come
            return count, False
        except ssl.SSLError:
            return count, True
        return count, False

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._late.cancel()
        if self._shaken:
            self._inner.connection_lost(exc)
        del self._inner, self._tls  # they hold this as well, and the collector comes rarely

    # What the inner protocol calls.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._context if name == "sslcontext" else self._socket.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]  # a record is taken at a time
        self._flush()

    def _flush(self) -> None:
        if not self._socket.is_closing():
            self._socket.write(self._outgoing.read())

    def is_closing(self) -> bool:
        return self._closing or self._socket.is_closing()

    def pause_reading(self) -> None:
        if not self.is_closing():
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closing():
            self._socket.resume_reading()

    def close(self) -> None:
        """Says goodbye. Until the client does so, too, what it sends is read and thrown away: a socket that is closed
        with bytes unread takes back what it has sent."""
        if self.is_closing():
            return
        self._socket.resume_reading()
        self._closing = True
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:  # no handshake yet, or nothing that can be said any more
            self._hang_up()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self._flush()
        self._socket.close()

    def abort(self) -> None:
        self._closing = True
        self._socket.abort()
