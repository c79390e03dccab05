"""TLS between a socket and a protocol: a client of OpenSSL's own, its bytes cut as one likes."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.serve import secured, tls
from webhook.serve.secured import Secured

MOST = 256 * 1024
"""Bytes that a socket hands over at once."""


class Socket(asyncio.Transport):
    """A socket's transport whose far end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1)}.get(name, default)


class Inner(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received: list[bytes] = []
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Pair:
    """A client and a server that are connected by nothing but `carry`."""

    def __init__(self, certificates: Path, *, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        trusted = ssl.create_default_context(cafile=certificates / "ca.crt")
        trusted.maximum_version = highest
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusted.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.inner = Inner()
        self.socket = Socket()
        self.secured = Secured(self.inner, tls.context(certificates / "tls.crt", certificates / "tls.key"))
        asyncio.run(self._connect())

    async def _connect(self) -> None:
        """Where there is a loop that can be asked for a timer; it is closed, so that none comes."""
        self.secured.connection_made(self.socket)

    def arrive(self, data: bytes) -> None:
        buffer = self.secured.get_buffer(-1)
        assert len(data) <= len(buffer)
        buffer[: len(data)] = data
        self.secured.buffer_updated(len(data))

    def carry(self, cuts: Iterator[int] | None = None) -> None:
        """What the client has said to the server, in pieces of these sizes, and what the server has said back."""
        said = self.outgoing.read()
        while said:
            size = next(cuts, MOST) if cuts else MOST
            self.arrive(said[:size])
            said = said[size:]
        self.incoming.write(bytes(self.socket.sent))
        self.socket.sent.clear()

    def shake(self, cuts: Iterator[int] | None = None) -> None:
        for _ in range(4):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.carry(cuts)
            else:
                self.carry(cuts)
                return
        raise AssertionError("no handshake")

    def hears(self) -> bytes:
        """All that the client can read; `ssl.SSLZeroReturnError`'s case is the end of the text `|end`."""
        heard = b""
        try:
            while more := self.client.read(65_536):
                heard += more
        except ssl.SSLWantReadError:
            return heard
        return heard + b"|end"


@pytest.fixture
def pair(certificates: Path) -> Pair:
    made = Pair(certificates)
    made.shake()
    return made


_CUTS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, MOST)), max_size=40)
_SIZES = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 600_000)), min_size=1, max_size=4)


@given(cuts=_CUTS, sizes=_SIZES, highest=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]))
def test_however_it_is_cut(certificates: Path, cuts: list[int], sizes: list[int], highest: ssl.TLSVersion) -> None:
    pair, pieces = Pair(certificates, highest=highest), iter(cuts)
    pair.shake(pieces)
    for number, size in enumerate(sizes):
        sent = bytes([number]) * (size - 1) + b"."
        pair.inner.received.clear()
        rest = memoryview(sent)
        while rest:
            rest = rest[pair.client.write(rest) :]
        pair.carry(pieces)
        pair.carry()
        assert b"".join(pair.inner.received) == sent
        pair.inner.transport.write(sent[::-1])
        pair.carry()
        assert pair.hears() == sent[::-1]
    assert not pair.secured.is_closing()


def test_what_arrives_together_is_handed_on_together(pair: Pair) -> None:
    for part in (b"a" * 16_000, b"b" * 16_000, b"c" * 16_000):
        pair.client.write(part)
    pair.carry()
    assert [len(each) for each in pair.inner.received] == [48_000]


def test_bytes_right_behind_the_handshake(certificates: Path) -> None:
    pair = Pair(certificates)
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.carry()
    pair.client.do_handshake()
    pair.client.write(b"at once")
    assert pair.inner.transport is None
    pair.carry()
    assert pair.inner.received == [b"at once"]


def test_the_client_says_goodbye(pair: Pair) -> None:
    pair.client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.carry()
    assert pair.inner.received == [b"last"]
    assert pair.socket.closed
    assert not pair.socket.aborted
    pair.client.unwrap()  # has got the answer
    pair.secured.connection_lost(None)
    assert pair.inner.lost == [None]


def test_we_say_goodbye_and_wait_for_theirs(pair: Pair) -> None:
    pair.inner.transport.pause_reading()
    pair.inner.transport.write(b"answer")
    pair.inner.transport.close()
    pair.inner.transport.close()
    assert pair.secured.is_closing()
    assert (pair.socket.closed, pair.socket.reading) == (False, True)
    pair.client.write(b"still talking" * 10_000)
    pair.carry()
    assert pair.hears() == b"answer|end"
    assert pair.inner.received == []
    assert (pair.socket.closed, pair.socket.reading) == (False, True)
    pair.inner.transport.write(b"too late")
    pair.client.unwrap()
    pair.carry()
    assert (pair.socket.closed, bytes(pair.socket.sent)) == (True, b"")


def test_reading_stops_and_goes_on(pair: Pair) -> None:
    states = []
    for call in (pair.inner.transport.pause_reading, pair.inner.transport.resume_reading):
        call()
        states.append(pair.socket.reading)
    assert states == [False, True]


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 100])
def test_who_speaks_no_tls_is_told_so(certificates: Path, said: bytes) -> None:
    pair = Pair(certificates)
    pair.arrive(said)
    assert pair.socket.closed
    assert bytes(pair.socket.sent[:1]) in (b"\x15", b"")  # an alert, where there is a record to answer
    pair.secured.connection_lost(None)
    assert pair.inner.transport is None
    assert pair.inner.lost == []


def test_a_bad_record_ends_the_connection(pair: Pair) -> None:
    pair.client.write(b"good")
    good = pair.outgoing.read()
    pair.client.write(b"bad")
    bad = bytearray(pair.outgoing.read())
    bad[-1] ^= 1
    pair.arrive(good + bytes(bad) + b"\0" * 100_000)
    assert pair.inner.received == [b"good"]
    assert pair.socket.closed
    assert pair.socket.sent[0] == 0x17  # an alert, encrypted


def test_a_handshake_that_takes_too_long(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(shaken: bool) -> bool:
        pair = await asyncio.to_thread(Pair, certificates)
        with monkeypatch.context() as patch:
            patch.setattr(secured, "HANDSHAKE_SECONDS", 0.0)
            pair.secured.connection_made(pair.socket)
        if shaken:
            pair.shake()
        await asyncio.sleep(0.05)
        return pair.socket.aborted

    assert asyncio.run(run(shaken=False))
    assert not asyncio.run(run(shaken=True))


def test_a_lost_connection_leaves_nothing_to_the_collector(certificates: Path) -> None:
    pair = Pair(certificates)
    pair.shake()
    gone = weakref.ref(pair.secured)
    gc.disable()
    try:
        pair.secured.connection_lost(None)
        del pair
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_happens_to_who_is_gone(pair: Pair) -> None:
    transport = pair.inner.transport
    pair.secured.connection_lost(ConnectionResetError())
    for call in (transport.close, transport.abort, transport.pause_reading, transport.resume_reading):
        call()
    transport.write(b"nobody")
    assert transport.is_closing()
    assert transport.get_extra_info("peername") == ("127.0.0.1", 1)
    assert not pair.socket.sent
