"""Reviews are answered as soon as their last byte is read: the same answers as through ASGI, in the same order."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from webhook.policyset import PolicySet
from webhook.serve import server
from webhook.serve.admit import Admission, Limits, Serving
from webhook.serve.app import Application
from webhook.serve.connection import HOLD_BYTES, HOLD_SECONDS, Connection


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Asgi:
    """The same application without what it offers beside ASGI."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


Scenario = Callable[[Connection, Transport, Admission], Any]


def converse(pieces: Iterable[bytes], *, asgi: bool = False, prepare: Scenario = lambda *_: None) -> Transport:
    """Sends the pieces, each with a turn of the loop of its own, and waits for what is still to be answered."""

    async def run() -> Transport:
        admission = Admission(Serving(policies=PolicySet(())), limits=Limits(wait=60.0))
        app: Any = Application(admission)
        config = server._config(Asgi(app) if asgi else app, keep_alive=180)
        connection = Connection(config, ServerState(), {})
        transport = Transport()
        connection.connection_made(transport)
        prepare(connection, transport, admission)
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        closed = transport.closed
        connection.connection_lost(None)
        await asyncio.sleep(0)
        transport.closed = closed
        return transport

    return asyncio.run(run())


def body(uid: str, filler: int = 0) -> bytes:
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    request = {"uid": uid, "kind": kind, "resource": resource, "operation": "CREATE", "name": "x" * filler}
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).encode()


def post(uid: str, *fields: str, target: str = "/validate?timeout=2s", version: str = "1.1", filler: int = 0) -> bytes:
    content = body(uid, filler)
    lines = [f"POST {target} HTTP/{version}", "Host: localhost", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + content


def chunked(uid: str) -> bytes:
    content = body(uid)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:50], content[50:]))
    return b"POST /validate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def uids(transport: Transport) -> list[str]:
    return [part.split(b'"')[0].decode() for part in b"".join(transport.writes).split(b'"uid":"')[1:]]


def handed_over(connection: Connection) -> bool:
    return connection.cycle is not None


def test_one_write_without_a_turn_of_the_loop() -> None:
    written: list[int] = []

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.data_received(post("first"))
        written.append(len(transport.writes))
        connection.data_received(chunked("second"))
        written.append(len(transport.writes))

    transport = converse([], prepare=prepare)
    assert written == [1, 2]
    assert uids(transport) == ["first", "second"]
    assert not transport.closed


@pytest.mark.parametrize(
    "request_bytes",
    [
        post("u"),
        post("u", target="/validate"),
        post("u", target="/validate?"),
        post("u", target="http://localhost/validate?timeout=2s"),
        post("u", target="/valid%61te"),
        post("u", target="/validate/more"),
        post("u", target="/validates"),
        post("u", target="/"),
        post("u", "Connection: close"),
        post("u", "Connection: keep-alive"),
        post("u", "Connection: Upgrade", "Upgrade: h2c"),
        post("u", "Expect: 100-continue"),
        post("u", version="1.0"),
        post("u", "Connection: keep-alive", version="1.0"),
        post("u").replace(b"POST", b"PUT"),
        post("u").replace(b"AdmissionReview", b"AdmissionRewiev"),
        post("u").replace(b"admission.k8s.io/v1", b"admission.k8s.io/v9"),
        post("u")[:-1] + b"\xff",
        chunked("u"),
        chunked("u").replace(b"\r\n0\r\n", b"\r\nzz\r\n"),
        b"POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"POST /validate HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET,
        b"nonsense\r\n\r\n",
    ],
)
def test_the_same_bytes_as_through_asgi(request_bytes: bytes) -> None:
    ours, asgi = converse([request_bytes]), converse([request_bytes], asgi=True)
    assert b"".join(ours.writes) == b"".join(asgi.writes) != b""
    assert ours.closed == asgi.closed


@given(
    requests=st.lists(
        st.sampled_from(["whole", "chunked", "close", "expect", "probe", "large"]), min_size=1, max_size=5
    ),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_however_it_is_cut_and_mixed(requests: Sequence[str], cuts: Sequence[float]) -> None:
    made: dict[str, Callable[[str], bytes]] = {
        "whole": post,
        "chunked": chunked,
        "close": lambda uid: post(uid, "Connection: close"),
        "expect": lambda uid: post(uid, "Expect: 100-continue"),
        "probe": lambda uid: GET,
        "large": lambda uid: post(uid, filler=70_000),
    }
    stream = b"".join(made[kind](f"u{number}") for number, kind in enumerate(requests))
    where = sorted({0, len(stream), *(round(cut * len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(where)]
    ours, asgi = converse(pieces), converse(pieces, asgi=True)
    assert b"".join(ours.writes) == b"".join(asgi.writes)
    assert ours.closed == asgi.closed


def test_who_pipelines_waits_for_a_turn_of_the_loop_each() -> None:
    """Else 256 KiB of small reviews in one read would hold up everybody else."""
    at_once: list[int] = []

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.data_received(b"".join(post(f"u{number}") for number in range(20)))
        at_once.append(len(transport.writes))

    transport = converse([], prepare=prepare)
    assert at_once == [1]
    assert uids(transport) == [f"u{number}" for number in range(20)]


def test_a_client_that_takes_no_answers_is_not_answered_into_memory() -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.pause_writing()
        connection.data_received(post("u"))
        assert not transport.writes

    transport = converse([], prepare=prepare)
    assert not transport.writes


def test_a_lame_duck_says_close_and_closes() -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        admission.draining = True

    for asgi in (False, True):
        transport = converse([post("u")], asgi=asgi, prepare=prepare)
        assert b"connection: close\r\n" in transport.writes[0]
        assert uids(transport) == ["u"]
        assert transport.closed


def test_what_waited_behind_others_of_the_same_poll_is_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        admission.limits = Limits(wait=0.1)
        for waited, incomplete in ((0.09, False), (0.11, True)):
            monkeypatch.setattr(connection.loop, "time", lambda waited=waited: time.monotonic() - waited - 0.001)
            connection.data_received(post("u"))
            assert (b'"incomplete":"shed"' in transport.writes[-1]) is incomplete
        monkeypatch.undo()
        assert admission.cells.incomplete["shed"] == 1
        assert sum(admission.cells.latency.counts) == 2
        assert admission.cells.latency.sum > 0.15

    converse([], prepare=prepare)


def test_a_body_in_pieces_is_counted_while_it_arrives() -> None:
    """As Go's client writes it: the head with the first 4 KB, then the rest."""
    made = post("u", filler=20_000)

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        cells = admission.cells
        held = []
        for piece in (made[:4096], made[4096:9000], made[9000:-1], made[-1:]):
            assert not transport.writes
            connection.data_received(piece)
            held.append((cells.in_flight, cells.bytes_in_flight, connection.idle()))
        head = made.index(b"\r\n\r\n") + 4
        assert held == [
            (1, 4096 - head, False),
            (1, 9000 - head, False),
            (1, len(made) - 1 - head, False),
            (0, 0, True),
        ]
        assert len(transport.writes) == 1
        assert sum(cells.latency.counts) == 1

    assert uids(converse([], prepare=prepare)) == ["u"]


@pytest.mark.parametrize("limits", [Limits(bytes=1_000), Limits(requests=0)])
def test_what_is_too_much_is_the_applications(limits: Limits) -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        admission.limits = limits
        admissions.append(admission)

    admissions: list[Admission] = []
    made = post("u", filler=2_000)
    transport = converse([made[:-500], made[-500:]], prepare=prepare)
    assert uids(transport) == ["u"]
    assert b'"incomplete":"shed"' in transport.writes[-1]
    cells = admissions[0].cells
    assert (cells.in_flight, cells.bytes_in_flight) == (0, 0)


def test_a_large_body_is_the_applications() -> None:
    made = post("u", filler=2 * HOLD_BYTES)

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.data_received(made[: HOLD_BYTES // 2])
        assert not handed_over(connection)
        connection.data_received(made[HOLD_BYTES // 2 : HOLD_BYTES + 1_000])
        assert handed_over(connection)
        assert (admission.cells.in_flight, admission.cells.bytes_in_flight) == (0, 0)

    assert uids(converse([made[HOLD_BYTES + 1_000 :]], prepare=prepare)) == ["u"]


def test_a_slow_body_goes_to_the_application_after_a_second() -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.data_received(post("u")[:200])
        connection.overdue(connection.began + HOLD_SECONDS - 0.1)
        assert not handed_over(connection)
        connection.overdue(connection.began + HOLD_SECONDS + 0.1)
        assert handed_over(connection)

    assert uids(converse([post("u")[200:]], prepare=prepare)) == ["u"]


def test_a_client_that_leaves_in_between_is_counted() -> None:
    admissions: list[Admission] = []

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        admissions.append(admission)

    transport = converse([post("u")[:-1]], prepare=prepare)
    assert not transport.writes
    cells = admissions[0].cells
    assert (cells.aborted, cells.in_flight, cells.bytes_in_flight) == (1, 0, 0)


def test_a_server_that_ends_answers_what_is_arriving() -> None:
    made = post("u")

    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        connection.data_received(made[:-20])
        connection.shutdown()
        assert not transport.closed

    transport = converse([made[-20:]], prepare=prepare)
    assert uids(transport) == ["u"]
    assert b"connection: close\r\n" in b"".join(transport.writes)
    assert transport.closed


def test_a_bug_in_reading_admits_all_the_same() -> None:
    def prepare(connection: Connection, transport: Transport, admission: Admission) -> None:
        admission.limits = None  # type: ignore[assignment]

    transport = converse([post("u")], prepare=prepare)
    assert uids(transport) == ["u"]
    assert b'"allowed":true' in transport.writes[0]
    assert b"HTTP/1.1 200 OK" in transport.writes[0]
