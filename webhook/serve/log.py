"""Structured logs: one JSON object a line, on stderr.

A line says what happened and to which policy, never what an object, a header or a user was. A thread writes, so
that a full pipe cannot stall an answer; floods of one event are thinned and the number left out is said.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Literal

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

VALUE_RUNES = 500
QUEUE_LINES = 1_000
BURST = 10
"""Lines of one event within `WINDOW`; the rest is counted and said in the event's next line."""
WINDOW = 10.0


class Log:
    """`log("event", key=value)`. Thread-safe. Raises nothing."""

    def __init__(
        self,
        stream: IO[str] | None = None,
        *,
        level: Level = "info",
        clock: Callable[[], float] = time.time,
        dropped: Callable[[], None] = lambda: None,
    ) -> None:
        """`dropped` is called for each line that found the queue full."""
        self._stream = stream
        self._level = LEVELS[level]
        self._clock = clock
        self._dropped = dropped
        self._seen: dict[str, tuple[float, int]] = {}
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._thread: threading.Thread | None = None

    def __call__(self, event: str, *, level: Level = "info", **fields: object) -> None:
        if LEVELS[level] < self._level:
            return
        now = self._clock()
        start, count = self._seen.get(event, (now, 0))
        if now - start >= WINDOW:
            if count > BURST:
                fields["suppressed"] = count - BURST
            start, count = now, 0
        self._seen[event] = (start, count + 1)
        if count >= BURST:
            return
        try:
            self._lines.put_nowait(_line(now, level, event, fields))
        except queue.Full:
            self._dropped()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Waits for what was said to be written, at most `timeout` seconds."""
        if self._thread is not None:
            try:
                self._lines.put(None, timeout=timeout)
            except queue.Full:
                return
            self._thread.join(timeout)
            self._thread = None

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            stream = self._stream or sys.stderr
            try:
                stream.write(line)
                stream.flush()
            except (OSError, ValueError):  # nobody reads: there is nobody to tell
                self._dropped()


def _line(now: float, level: str, event: str, fields: dict[str, object]) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    values = {"time": stamp, "level": level, "event": event} | {key: _plain(value) for key, value in fields.items()}
    return json.dumps(values, ensure_ascii=True) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value[:50]]
    text = str(value)
    return text if len(text) <= VALUE_RUNES else text[: VALUE_RUNES - 1] + "…"


class Handler(logging.Handler):
    """Lines that libraries write through `logging` (uvicorn, asyncio), without their tracebacks' values."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        what = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        message = str(record.msg).splitlines()[0] if record.msg else ""
        self._log(f"library_{record.name}", level=level, message=message, exception=what)
