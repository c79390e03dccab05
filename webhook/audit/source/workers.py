"""Processes that work for this one, and end with it, however it ends. Know nothing of what they do."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Workers:
    """`count` processes, to be used in a `with`. Left with an exception, what they are at is broken off.

    One that is killed breaks them all: `BrokenProcessPool` then comes of what is not done.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context(_start_method())
        self._done = context.Value("Q", 0)
        # Nothing is ever sent: it shuts when this process closes it, or is no more.
        alive, self._hold = context.Pipe(duplex=False)
        self._alive = alive
        arguments = (self._done, alive, self._hold)
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=arguments)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if kind is not None:
            self._hold.close()
        self._pool.shutdown(cancel_futures=True)
        self._hold.close()
        self._alive.close()

    def submit(self, work: Callable[Params, Result], *args: Params.args, **named: Params.kwargs) -> Future[Result]:
        """Has it done by one of them. `work` and its arguments can be pickled."""
        return self._pool.submit(work, *args, **named)

    def done(self) -> int:
        """What they have told by `tell`, together."""
        # Without its lock, which whoever was killed may hold.
        count: int = self._done.get_obj().value
        return count


def tell(more: int) -> None:
    """Says in a worker that so much more is done."""
    with _done.get_lock():
        _done.value += more


def _start_method() -> str:
    """Forking costs nothing, but a process with threads must not be forked."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


_done: Any = None


def _begin(done: Any, alive: Connection, hold: Connection) -> None:
    global _done
    _done = done
    # An interrupt goes to all processes of a terminal. What becomes of it is for the first one to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold.close()
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)
