"""`serve --record DIR`: reviews on disk for `backtest`, without ever being in the way of an answer.

The hot path puts bodies into a bounded queue and goes on; a thread redacts, compresses and writes. It takes at most
`SHARE` of one CPU, for it shares the interpreter with the answers: what it cannot keep up with is dropped and counted.
Whatever goes wrong with the disk ends the recording, loudly, and nothing else.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from webhook import __version__, recorded, review
from webhook.errors import UserError
from webhook.policy import Outcome
from webhook.policyset import PolicySet
from webhook.serve.metrics import Cells
from webhook.serve.redact import Keep, redact
from webhook.serve.segments import Busy, Segments

QUEUE_BYTES = 8 * 1024 * 1024
"""Of bodies that wait to be written."""
SHARE = 0.2
"""Of one CPU, at most, in the long run."""
FLUSH_SECONDS = 1.0
"""How much a killed process loses."""
PAUSE_MAX = 2.0


class Logger(Protocol):
    def __call__(self, event: str, *, level: Any = "info", **fields: object) -> None: ...


class Options(Struct, frozen=True, kw_only=True):
    folder: Path
    rate: float = 1.0
    """Share of the reviews that is recorded, evenly."""
    total_bytes: int = 256 * 1024 * 1024
    days: float = 7.0
    keep: Keep = Keep()


class _Item(NamedTuple):
    time: float
    body: bytes
    outcome: Outcome
    policies: PolicySet


class Recorder:
    """`recorder(body, outcome, policies)`, from one thread. Raises nothing, waits for nobody."""

    def __init__(
        self,
        options: Options,
        *,
        cells: Cells,
        log: Logger,
        wall: Callable[[], float] = time.time,
        share: float = SHARE,
    ) -> None:
        """Raises `UserError` for a folder that others may read."""
        check_folder(options.folder)
        self._options = options
        self._cells = cells
        self._log = log
        self._wall = wall
        self._share = share
        self._due = 0.0
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        # Two counts, each written by one thread: no lock on the hot path.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._stopped = False
        self._closing = threading.Event()
        cells.recording = 1
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def __call__(self, body: bytes, outcome: Outcome, policies: PolicySet) -> None:
        self._due += self._options.rate
        if self._due < 1.0:
            return
        self._due -= 1.0
        if self._stopped:
            self._cells.record_dropped["stopped"] += 1
        elif self._put_bytes - self._taken_bytes + len(body) > QUEUE_BYTES:
            self._cells.record_dropped["queue"] += 1
            self._log("record_dropped", level="warning", reason="queue")
        else:
            self._put_bytes += len(body)
            self._queue.put(_Item(self._wall(), body, outcome, policies))

    def close(self, timeout: float = 5.0) -> None:
        """Writes what waits and makes the segment whole, for at most `timeout` seconds."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        segments: Segments | None = None
        try:
            segments = Segments(
                self._options.folder,
                total_bytes=self._options.total_bytes,
                seconds=self._options.days * 86_400,
                wall=self._wall,
            )
            self._write(segments)
            segments.close()
        except (OSError, Busy) as error:
            reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            self._stop(reason)
        except Exception as error:  # a bug of ours: its text may quote a request
            self._stop(type(error).__name__)
        finally:
            self._stopped = True
            self._cells.recording = 0
            if segments is not None:
                segments.release()

    def _stop(self, reason: str) -> None:
        self._stopped = True
        self._log(
            "recording_stopped",
            level="error",
            folder=self._options.folder,
            reason=reason,
            recorded=self._cells.recorded,
        )

    def _write(self, segments: Segments) -> None:
        flushed = used = time.monotonic(), time.thread_time()
        while True:
            try:
                item = self._queue.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                segments.flush()
                segments.prune()
                flushed = used = time.monotonic(), time.thread_time()
                continue
            if item is None:
                return
            self._taken_bytes += len(item.body)
            self._one(segments, item)
            now, worked = time.monotonic(), time.thread_time()
            if now - flushed[0] >= FLUSH_SECONDS:
                segments.flush()
                flushed = now, worked
            pause = (worked - used[1]) / self._share - (now - used[0])
            if pause > 0.02 and not self._closing.is_set():
                self._closing.wait(min(pause, PAUSE_MAX))
            if now - used[0] > 10.0:  # an idle hour is no credit for a busy minute
                used = now, worked

    def _one(self, segments: Segments, item: _Item) -> None:
        try:
            found = redact(review.decode(item.body).request, self._options.keep)
            if found is None:
                return
            line = recorded.encode(recorded.recorded(item.time, *found, item.outcome)) + b"\n"
        except Exception as error:  # whatever the request is: the next one may be better
            self._cells.record_dropped["failed"] += 1
            self._log("record_dropped", level="warning", reason="failed", exception=type(error).__name__)
            return
        header = recorded.Header(
            version=__version__,
            set=item.policies.digest,
            policies=tuple([each.id for each in item.policies.policies]),
            snapshot=item.outcome.snapshot,
            rate=self._options.rate,
        )
        if segments.write(header, line):
            self._cells.recorded += 1
        else:
            self._cells.record_dropped["failed"] += 1
            self._log("record_dropped", level="warning", reason="failed", exception="larger than --record-bytes")


def check_folder(folder: Path) -> None:
    """Makes the folder for its owner alone. Raises `UserError` for one that others may enter.

    A disk that is full or read-only is no error here: it ends the recording, not the start.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except FileExistsError:
        raise UserError(f"--record {folder}: a file; expected a folder, made if absent") from None
    except OSError:
        return
    if found.st_uid != os.geteuid():
        raise UserError(f"--record {folder}: belongs to another user; name a folder inside it, it will be made")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(
            f"--record {folder}: mode {stat.S_IMODE(found.st_mode):04o} lets others in, expected 0700; "
            f"run chmod 700 {folder}, or name a folder inside it, it will be made"
        )
