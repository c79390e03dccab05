"""The open loop: requests leave at a constant rate whatever the target does, and wait for nothing but a connection.

A latency runs from the moment a request was *due*, not from the moment it could be sent, so a target that stops
is charged for every request that would have come meanwhile (no coordinated omission). What brings no proper answer
counts with the whole timeout as its latency: a fast error must not make a target look fast.

One thread spins over one poller and never sleeps. What the driver itself was late by is measured (`lags`): it says
whether the figures are the target's. Knows nothing of windows, limits and output.
"""

from __future__ import annotations

import gc
import os
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from webhook.bench.corpus import Body, Review
from webhook.bench.target import Target
from webhook.bench.wire import Connection, State
from webhook.errors import UserError

_REDIAL_NS = 10_000_000
"""Between two attempts on one connection."""
_HINT = {
    "connect: ECONNREFUSED": "nothing listens there; is the webhook running, and on this port?",
    "closed": "the target hung up; does it speak TLS on this port?",
}


class Measured(Struct, frozen=True, kw_only=True):
    """What one run saw. Times in nanoseconds."""

    latencies: list[int]
    """By request, from when it was due."""
    lags: list[int]
    """By request: how late the driver itself took it up."""
    failures: dict[str, int]
    """Kind → count; each of them stands in `latencies` with the timeout."""
    denied: int
    """Proper answers that said no."""
    began: int
    ended: int


class Pool:
    """The connections, open before the first request. Use as a context manager."""

    def __init__(self, target: Target, connections: int) -> None:
        self._target = target
        self._poller = select.epoll()
        self._connections = [Connection(target, self._poller) for _ in range(connections)]
        self._by_fd: dict[int, Connection] = {}
        run = os.urandom(10).hex()
        self._uid = f"{run[:8]}-{run[8:12]}-4{run[12:15]}-8{run[15:18]}-"
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close("")
        self._poller.close()

    def open(self, review: Review, timeout: float) -> None:
        """Dials every connection and sends one review, so that a wrong target is known before anything is measured.

        Raises `UserError` that says what is wrong with the target.
        """
        until = time.monotonic() + timeout
        for connection in self._connections:
            self._dial(connection)
        while any(connection.state is not State.FREE for connection in self._connections):
            broken = next((one for one in self._connections if one.state is State.BROKEN), None)
            if broken is not None:
                raise UserError(self._wrong(broken.failure))
            if time.monotonic() > until:
                raise UserError(self._wrong(f"no connection within {timeout:g} s"))
            self._poll(0.01)
        probe = self._connections[0]
        self._send(probe, self._target.request(review))
        while probe.state is State.BUSY:
            if time.monotonic() > until:
                raise UserError(self._wrong(f"no answer within {timeout:g} s"))
            self._poll(0.01)
        if probe.failure:
            raise UserError(self._wrong(probe.failure))
        if probe.state is State.ANSWERED:
            probe.state = State.FREE if probe.fd >= 0 else State.BROKEN

    def drive(
        self,
        bodies: Sequence[Body],
        order: Sequence[int],
        *,
        rate: float,
        timeout: float,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> Measured:
        """Sends `bodies[order[i]]` at `i / rate` seconds, for every i, and returns when each has its end.

        `timeout` in seconds from when a request was due. Spins: the caller's CPU is busy until the end.
        """
        total = len(order)
        limit = int(timeout * 1e9)
        interval = 1e9 / rate
        latencies, lags = [limit] * total, [0] * total
        failures: Counter[str] = Counter()
        denied = done = following = 0
        waiting: deque[int] = deque()
        under_way: deque[tuple[int, Connection]] = deque()
        free = [one for one in self._connections if one.state is State.FREE]
        broken = [one for one in self._connections if one.state is State.BROKEN]
        began = clock() + 1_000_000
        due = [began + int(index * interval) for index in range(total)]

        def finish(index: int, failure: str, now: int) -> None:
            nonlocal done
            done += 1
            if failure:
                failures[failure] += 1
            else:
                latencies[index] = min(limit, now - due[index])

        gc.collect()
        gc.disable()
        try:
            while done < total:
                now = clock()
                # One request, then a look at the answers: a burst may not make them late.
                if following < total and due[following] <= now:
                    lags[following] = now - due[following]
                    waiting.append(following)
                    following += 1
                if waiting and free:
                    # The one used last goes first, as in the API server's pool.
                    connection = free.pop()
                    connection.index = index = waiting.popleft()
                    self._send(connection, bodies[order[index]])
                    if connection.state is State.BROKEN:
                        finish(index, connection.failure, now)
                        broken.append(connection)
                    else:
                        under_way.append((index, connection))
                for connection in self._poll(0):
                    state, index = connection.state, connection.index
                    if state is State.ANSWERED:
                        finish(index, connection.failure, clock())
                        denied += connection.denied and not connection.failure
                        connection.index = -1
                        if connection.fd >= 0:
                            connection.state = State.FREE
                            free.append(connection)
                        else:
                            connection.state = State.BROKEN
                            broken.append(connection)
                    elif state is State.FREE:
                        if index < 0 and connection not in free:
                            free.append(connection)
                    elif state is State.BROKEN:
                        if index >= 0:
                            finish(index, connection.failure, now)
                            connection.index = -1
                        elif connection in free:
                            free.remove(connection)
                        broken.append(connection)
                while under_way and (under_way[0][1].index != under_way[0][0] or due[under_way[0][0]] + limit <= now):
                    index, connection = under_way.popleft()
                    if connection.index == index:
                        connection.close("timeout")
                        connection.index = -1
                        finish(index, "timeout", now)
                        broken.append(connection)
                while waiting and due[waiting[0]] + limit <= now:
                    finish(waiting.popleft(), "timeout before a connection was free", now)
                if broken and broken[0].retry_at <= now:
                    connection = broken.pop(0)
                    connection.retry_at = now + _REDIAL_NS
                    self._dial(connection)
                    if connection.state is State.BROKEN:
                        broken.append(connection)
        finally:
            gc.enable()
        return Measured(
            latencies=latencies, lags=lags, failures=dict(failures), denied=denied, began=began, ended=clock()
        )

    def _send(self, connection: Connection, body: Body) -> None:
        self._sent += 1
        uid = f"{self._uid}{self._sent:012x}"
        connection.send(body.filled(uid), uid)

    def _dial(self, connection: Connection) -> None:
        connection.dial()
        if connection.fd >= 0:
            self._by_fd[connection.fd] = connection

    def _poll(self, seconds: float) -> list[Connection]:
        """Lets every connection that can go on do so, and returns them."""
        moved = []
        for fd, events in self._poller.poll(seconds):
            connection = self._by_fd.get(fd)
            if connection is not None and connection.fd == fd:
                connection.ready(events)
                moved.append(connection)
        return moved

    def _wrong(self, failure: str) -> str:
        hint = _HINT.get(failure, "")
        if failure.startswith("tls"):
            hint = (
                "give the CA that signed its certificate with --ca, and the name in the certificate with --server-name"
            )
        elif failure.startswith("status"):
            hint = "the webhook's path is part of --url, e.g. /validate"
        elif failure in ("wrong uid", "not an AdmissionReview"):
            hint = "the answer must be an AdmissionReview whose response.uid is the request's"
        return f"--url {self._target.url}: {failure}{'; ' if hint else ''}{hint}"


def prepare(target: Target, reviews: Sequence[Review]) -> list[Body]:
    """The reviews as whole requests, made once."""
    return [target.request(review) for review in reviews]
