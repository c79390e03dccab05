"""Logs → parts that processes read side by side: the bytes of a raw log from one line to another, else whole files.

A raw log can be divided wherever an event begins behind the end of another one; what is packed, or wrapped, cannot.
The parts together give exactly the events of the whole.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from webhook.audit.source import raw
from webhook.audit.source.files import Progress, blocks, expand
from webhook.audit.source.reader import events_in
from webhook.audit.source.record import Events, Lines
from webhook.audit.source.unpack import BLOCK
from webhook.audit.source.unreadable import Unreadable

PART_MIN = 32 << 20
"""Bytes that are worth a process of their own."""
PART_MAX = 512 << 20
_BORDER = b"}\n" + raw.HEAD
_INTERVAL = 0.25
Result = TypeVar("Result")


class Part(msgspec.Struct, frozen=True):
    """The bytes of one file from `start` to `stop`; `stop` -1: to its end, however far that is."""

    file: str
    start: int = 0
    stop: int = -1


def jobs_here() -> int:
    """Processes that can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parts(paths: Sequence[str], jobs: int) -> list[Part]:
    """What the paths stand for, divided for `jobs` processes. Raises `UserError`, and `OSError` for what is missing."""
    found: list[Part] = []
    for file in expand(paths):
        found += _divided(file, jobs) if jobs > 1 and file != "-" else [Part(file)]
    return found


def _divided(file: str, jobs: int) -> list[Part]:
    size = Path(file).stat().st_size
    count = max(min(jobs * 2, size // PART_MIN), -(-size // PART_MAX))
    if count < 2:
        return [Part(file)]
    with Path(file).open("rb") as stream:
        if not stream.read(len(raw.HEAD)).startswith(raw.HEAD):
            return [Part(file)]
        borders = {0}
        for number in range(1, count):
            borders.add(_border(stream, size * number // count, size))
    starts = sorted(borders - {size})
    return [Part(file, start, stop) for start, stop in zip(starts, [*starts[1:], -1], strict=True)]


def _border(stream: BinaryIO, at: int, size: int) -> int:
    """Where the next event begins that follows one; the size if there is none."""
    stream.seek(at)
    held = b""
    while block := stream.read(BLOCK):
        held += block
        found = held.find(_BORDER)
        if found >= 0:
            return at + found + 2
        keep = len(_BORDER) - 1
        at += max(0, len(held) - keep)
        held = held[-keep:]
    return size


def read_part(
    part: Part,
    unreadable: Unreadable,
    *,
    skip_reads: bool = False,
    wanted: raw.Wanted | None = None,
    progress: Progress = lambda _file, _bytes: None,
) -> Iterator[Lines | Events]:
    """The events of one part, as `read` gives those of a whole file."""
    if part.start == 0 and part.stop < 0:
        from webhook.audit.source import read

        yield from read([part.file], unreadable, skip_reads=skip_reads, wanted=wanted, progress=progress)
        return
    with Path(part.file).open("rb") as stream:
        stream.seek(part.start)
        text = blocks(part.file, stream, unreadable, progress, size=part.stop - part.start if part.stop >= 0 else -1)
        yield from events_in(part.file, text, unreadable, skip_reads=skip_reads, wanted=wanted, offset=part.start)


def each(
    found: Sequence[Part],
    work: Callable[[Part, Progress], Result],
    *,
    jobs: int,
    progress: Progress = lambda _file, _bytes: None,
) -> Iterator[Result]:
    """`work` of each part, in their order; in `jobs` processes if there is more than one part. `work` can be pickled.

    `progress` hears of all parts together.
    """
    if jobs < 2 or len(found) < 2 or any(part.file == "-" for part in found):
        yield from (work(part, progress) for part in found)
        return
    context = multiprocessing.get_context(_start_method())
    done = context.Value("Q", 0)
    with ProcessPoolExecutor(min(jobs, len(found)), mp_context=context, initializer=_begin, initargs=(done,)) as pool:
        futures = [pool.submit(_run, work, part) for part in found]
        try:
            for future in futures:
                while not wait([future], timeout=_INTERVAL).done:
                    progress("", done.value)
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        progress("", done.value)


def _start_method() -> str:
    """Forking costs nothing, but a process with threads must not be forked."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


_done: Any = None


def _begin(done: Any) -> None:
    global _done
    _done = done


def _run(work: Callable[[Part, Progress], Result], part: Part) -> Result:
    before = 0

    def progress(_file: str, bytes_: int) -> None:
        nonlocal before
        with _done.get_lock():
            _done.value += bytes_ - before
        before = bytes_

    return work(part, progress)
