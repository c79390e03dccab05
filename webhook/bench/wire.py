"""One keep-alive TLS connection to the target: dial, send a review, read its answer, without ever blocking.

TLS runs over memory buffers, so that a review leaves in one `send` and nothing waits inside OpenSSL.
Knows nothing of rates and clocks; the driver calls `ready` when the poller says so, and reads `state`.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
from enum import Enum, auto

import httptools
import msgspec
from msgspec import Struct

from webhook.bench.target import Target

_READ = 64 * 1024
_ANSWER_LIMIT = 16 * 1024 * 1024


class State(Enum):
    DIALLING = auto()
    FREE = auto()
    BUSY = auto()
    ANSWERED = auto()
    """`failure` says what was wrong with the answer; empty when nothing was."""
    BROKEN = auto()
    """The connection is gone; `failure` says how. `dial` makes a new one."""


class _Response(Struct):
    uid: str = ""
    allowed: bool = False


class _Answer(Struct, rename="camel"):
    api_version: str
    kind: str
    response: _Response


_decode = msgspec.json.Decoder(_Answer).decode


class Connection:
    """Lives as long as the pool; `dial` replaces what is under it."""

    def __init__(self, target: Target, poller: select.epoll) -> None:
        self._target = target
        self._poller = poller
        self._socket: socket.socket | None = None
        self.fd = -1
        self.state = State.BROKEN
        self.failure = ""
        self.denied = False
        # The driver's own notes about the request that is under way.
        self.index = -1
        self.retry_at = 0

    def dial(self) -> None:
        """Starts to connect. The state is DIALLING, or BROKEN when the kernel refuses at once."""
        self.close("")
        self.state = State.DIALLING
        raw = socket.socket(self._target.family, socket.SOCK_STREAM)
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self.fd = raw, raw.fileno()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._target.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=self._target.server_name
        )
        self._pending: memoryview | None = None
        self._connected = False
        self._writing = True
        self._poller.register(self.fd, select.EPOLLIN | select.EPOLLOUT)
        code = raw.connect_ex(self._target.address)
        if code not in (0, errno.EINPROGRESS):
            self.close(f"connect: {_name(code)}")

    def close(self, failure: str) -> None:
        """Drops what is there. Harmless when nothing is."""
        self.failure = failure
        self.state = State.BROKEN
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._poller.unregister(self.fd)
            self._socket.close()
            self._socket = None
            self.fd = -1

    def send(self, request: bytes, uid: str) -> None:
        """Hands one request over. The connection must be FREE."""
        self._uid = uid
        self._body: list[bytes] = []
        self._size = 0
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)
        self.failure = ""
        self.denied = False
        self.state = State.BUSY
        self._tls.write(request)
        self._flush()

    def ready(self, events: int) -> None:
        """The poller saw something: go as far as possible without waiting."""
        if self.state is State.DIALLING:
            self._advance()
            return
        if events & select.EPOLLOUT and self._pending is not None:
            self._flush()
        if events & ~select.EPOLLOUT:
            self._receive()

    # ── the parser's callbacks ──────────────────────────────────────────────────────────────────────────────

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= _ANSWER_LIMIT:
            self._body.append(chunk)

    def on_message_complete(self) -> None:
        # Asked here, since the parser forgets it with the next byte.
        self._keep = self._parser.should_keep_alive()
        self._complete = self._parser.get_status_code() >= 200

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        """One more step of connect and handshake."""
        assert self._socket is not None  # noqa: S101 (DIALLING has one)
        if not self._connected:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.close(f"connect: {_name(code)}")
                return
            self._connected = True
        if not self._fill():
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()
            self.close(f"tls: {getattr(error, 'verify_message', '') or error.reason or error}")
            return
        self._flush()
        if self.state is State.DIALLING:
            self.state = State.FREE

    def _receive(self) -> None:
        if not self._fill():
            return
        try:
            while True:
                data = self._tls.read(_READ)
                if not data:
                    self.close("closed")
                    return
                if self.state is not State.BUSY:
                    self.close("answer without a request")
                    return
                self._parser.feed_data(data)
                if self._complete:
                    self._judge()
                    return
        except ssl.SSLWantReadError:
            # TLS 1.3 session tickets come this way, too: nothing for us.
            return
        except ssl.SSLError as error:
            gone = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
            self.close("closed" if gone else f"tls: {error.reason or error}")
        except httptools.HttpParserError as error:
            self.close(f"not HTTP: {error}")

    def _judge(self) -> None:
        """What the API server would make of this answer."""
        status = self._parser.get_status_code()
        failure = ""
        if status != 200:
            failure = f"status {status}"
        else:
            try:
                answer = _decode(b"".join(self._body))
            except msgspec.DecodeError:
                failure = "not an AdmissionReview"
            else:
                if answer.kind != "AdmissionReview":
                    failure = "not an AdmissionReview"
                elif answer.response.uid != self._uid:
                    failure = "wrong uid"
                self.denied = not answer.response.allowed
        if not self._keep or self._pending is not None:
            self.close("")
        self.state, self.failure = State.ANSWERED, failure

    def _fill(self) -> bool:
        """Moves what the kernel has into the TLS buffer; False when the connection is gone."""
        assert self._socket is not None  # noqa: S101
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError as error:
            self.close(f"closed: {_name(error.errno)}")
            return False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> None:
        """Moves TLS output into the kernel; asks the poller for the rest."""
        assert self._socket is not None  # noqa: S101
        while self._pending is not None or self._outgoing.pending:
            if self._pending is None:
                self._pending = memoryview(self._outgoing.read())
            try:
                sent = self._socket.send(self._pending)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self.close(f"closed: {_name(error.errno)}")
                return
            self._pending = self._pending[sent:] if sent < len(self._pending) else None
        writing = self._pending is not None
        if writing is not self._writing:
            self._writing = writing
            self._poller.modify(self.fd, select.EPOLLIN | (select.EPOLLOUT if writing else 0))


def _name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, "unknown error")
