"""Logs → parts that processes read side by side: the bytes of a raw log from one line to another, shares of a packed
one when there are fewer of them than processes, else whole files.

A log can be divided wherever an event begins behind the end of another one; what is wrapped cannot. The parts together
give exactly the events of the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from webhook.audit.source import raw
from webhook.audit.source.files import Progress, blocks, expand
from webhook.audit.source.reader import events_in
from webhook.audit.source.record import Events, Lines
from webhook.audit.source.shares import BORDER, SHARE_MIN, Share, may_be_shared, read_share, shares, spread
from webhook.audit.source.unpack import BLOCK
from webhook.audit.source.unreadable import Unreadable
from webhook.audit.source.workers import Workers, tell
from webhook.errors import UserError

PART_MIN = 32 << 20
"""Bytes that are worth a process of their own."""
PART_MAX = 512 << 20
_INTERVAL = 0.25
Result = TypeVar("Result")


class Part(msgspec.Struct, frozen=True):
    """The bytes of one file from `start` to `stop`; `stop` -1: to its end, however far that is. Of a packed one, a
    share."""

    file: str
    start: int = 0
    stop: int = -1
    share: Share | None = None


def jobs_here() -> int:
    """Processes that can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parts(paths: Sequence[str], jobs: int) -> list[Part]:
    """What the paths stand for, divided for `jobs` processes. Raises `UserError`, and `OSError` for what is missing."""
    files = expand(paths)
    if jobs < 2 or "-" in files:
        # Standard input has to be read in this process, and so has all the rest.
        return [Part(file) for file in files]
    sizes = {file: Path(file).stat().st_size for file in files}
    packed = [file for file in files if sizes[file] >= 2 * SHARE_MIN and may_be_shared(file)]
    counts = dict(zip(packed, spread([sizes[file] for file in packed], jobs), strict=True))
    found: list[Part] = []
    for file in files:
        if file in counts:
            found += [Part(file, share=share) for share in shares(file, sizes[file], counts[file])] or [Part(file)]
        else:
            found += _divided(file, sizes[file], jobs)
    return found


def _divided(file: str, size: int, jobs: int) -> list[Part]:
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
        found = held.find(BORDER)
        if found >= 0:
            return at + found + 2
        keep = len(BORDER) - 1
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
    if part.share is not None:
        yield from read_share(
            part.file, part.share, unreadable, skip_reads=skip_reads, wanted=wanted, progress=progress
        )
        return
    if part.start == 0 and part.stop < 0:
        from webhook.audit.source import read

        yield from read([part.file], unreadable, skip_reads=skip_reads, wanted=wanted, progress=progress)
        return
    with Path(part.file).open("rb") as stream:
        stream.seek(part.start)
        followed = part.stop >= 0
        text = blocks(part.file, stream, unreadable, progress, size=part.stop - part.start if followed else -1)
        yield from events_in(
            part.file,
            text,
            unreadable,
            skip_reads=skip_reads,
            wanted=wanted,
            offset=part.start,
            followed=lambda: followed,
        )


def each(
    found: Sequence[Part],
    work: Callable[[Part, Progress], Result],
    *,
    jobs: int,
    progress: Progress = lambda _file, _bytes: None,
) -> Iterator[Result]:
    """`work` of each part, in their order; in `jobs` processes if there is more than one part. `work` can be pickled.

    `progress` hears of all parts together. Raises `UserError` when a process is killed.
    """
    if jobs < 2 or len(found) < 2 or any(part.file == "-" for part in found):
        yield from (work(part, progress) for part in found)
        return
    with Workers(min(jobs, len(found))) as workers:
        futures = [workers.submit(_run, work, part) for part in found]
        for part, future in zip(found, futures, strict=True):
            while not wait([future], timeout=_INTERVAL).done:
                progress("", workers.done())
            try:
                result = future.result()
            except BrokenExecutor:
                raise UserError(
                    f"{part.file}: a process was killed that read it, or a log after it (out of memory?); "
                    "`--jobs 1` reads in one process"
                ) from None
            yield result
        progress("", workers.done())


def _run(work: Callable[[Part, Progress], Result], part: Part) -> Result:
    before = 0

    def progress(_file: str, bytes_: int) -> None:
        nonlocal before
        tell(bytes_ - before)
        before = bytes_

    return work(part, progress)
