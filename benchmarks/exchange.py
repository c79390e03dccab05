"""One whole HTTP exchange without sockets: `serve`'s protocol, the subject's application, the answer's bytes.

No event loop turns and nothing waits, so the same exchange is the same instructions every time. Run under callgrind by
`instructions.py`: after loading and warming up, one process answers few reviews and another many; the difference is
what reviews cost, without start-up.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import math
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from uvicorn.server import ServerState

from benchmarks import subjects
from benchmarks.host import KEEP_ALIVE
from webhook.bench import corpus
from webhook.serve import server
from webhook.serve.connection import Connection

UID = "12345678-1234-4234-8234-123456789abc"
FEW, MANY = 5, 85
_WARM = 5
_STILL = itertools.repeat(0.0).__next__
"""The time of day. Callgrind is fifty times slower than the CPU: no review would be done within its budget."""


class _Task:
    """What uvicorn wants to know about a task that is already done."""

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        callback(self)


class _Timer:
    def cancel(self) -> None:
        pass


class _Loop:
    """Runs each coroutine to its end once the bytes that caused it are all there."""

    def __init__(self) -> None:
        self._waiting: list[Coroutine[Any, Any, None]] = []

    def create_task(self, coroutine: Coroutine[Any, Any, None], **_: object) -> _Task:
        self._waiting.append(coroutine)
        return _Task()

    def time(self) -> float:
        return math.inf

    def call_later(self, *_: object) -> _Timer:
        return _Timer()

    def turn(self) -> None:
        while self._waiting:
            try:
                self._waiting.pop().send(None)
            except StopIteration:
                continue
            raise RuntimeError("the application waited for something: there is nothing to wait for here")


class _Transport(asyncio.Transport):
    """Keeps what was written last."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2), "sslcontext": True})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Exchange:
    """A connection to one subject. Calling it sends the reference review and returns the answer's bytes."""

    def __init__(self, subject: subjects.Subject) -> None:
        config = server._config(subject.app(_STILL), keep_alive=KEEP_ALIVE)
        self._loop = _Loop()
        self._transport = _Transport()
        self._protocol = Connection(config, ServerState(), {}, _loop=self._loop)  # type: ignore[arg-type]
        self._protocol.connection_made(self._transport)
        body = corpus.reference().body.filled(UID)
        self._request = (
            b"POST /validate?timeout=2s HTTP/1.1\r\nHost: wouldblock.wouldblock.svc:443\r\n"
            b"User-Agent: kube-apiserver-admission\r\nContent-Length: %d\r\nAccept: application/json, */*\r\n"
            b"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n%b" % (len(body), body)
        )

    def __call__(self) -> bytes:
        self._transport.written.clear()
        self._protocol.data_received(self._request)
        self._loop.turn()
        return b"".join(self._transport.written)


def check(answer: bytes) -> None:
    """A figure for a wrong answer would be no figure. Raises `RuntimeError`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or f'"uid":"{UID}"'.encode() not in body or b'"allowed":true' not in body:
        raise RuntimeError(f"not an answer that admits: {answer[:300]!r}")
    if b'incomplete"' in body:
        raise RuntimeError(f"the review was not evaluated wholly: {body[:300]!r}")


def main(names: Sequence[str]) -> None:
    """One child a subject, all at once; each loads its subject, and has a child for few reviews and one for many.

    What is imported by all is imported once: under callgrind that is most of the time. Prints a line a figure:
    subject, reviews, process id (by which callgrind names its files).
    """
    for child in [_fork(functools.partial(_subject, name)) for name in names]:
        _await(child)


def _subject(name: str) -> None:
    exchange = Exchange(subjects.load(name))
    for _ in range(_WARM):
        check(exchange())
    gc.collect()
    gc.freeze()
    gc.disable()
    for count in (FEW, MANY):
        child = _fork(functools.partial(_repeat, exchange, count))
        _await(child)
        os.write(1, f"{name} {count} {child}\n".encode())


def _repeat(exchange: Exchange, count: int) -> None:
    for _ in range(count):
        exchange()


def _fork(work: Callable[[], None]) -> int:
    """A child that does `work` and nothing else; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def _await(child: int) -> None:
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("a child failed; what it said is above")


if __name__ == "__main__":
    main(sys.argv[1:])
