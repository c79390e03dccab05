"""A packed log that several processes read together: each unpacks from its beginning, but reads its own share only.

Unpacking cannot begin in the middle, and is the smaller part of the work: so whoever reads a later share unpacks, and
passes over, what comes before it. The earlier shares are the larger ones, and all are done at the same time. Nothing
has to be handed from one process to another. The shares together give exactly the events of the whole.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from webhook.audit.source import raw
from webhook.audit.source.files import Progress, blocks
from webhook.audit.source.reader import events_in
from webhook.audit.source.record import Events, Lines
from webhook.audit.source.unpack import GZIP, ZSTD, unpacked
from webhook.audit.source.unreadable import Unreadable

SHARE_MIN = 4 << 20
"""Packed bytes that are worth a process of their own: some 50 MB of text."""
SHARES_MAX = 4
"""With more, most of what they do is to unpack once again."""
_READING = 0.75
"""Of the time that a packed log takes, what is not spent on unpacking it. Measured, with zlib-ng."""
_UNEVEN = 1.1
"""How much later a file may be done than everything would be if it were spread evenly, before it is divided."""
BORDER = b"}\n" + raw.HEAD
"""Where an event begins behind the end of another one: there a log can be divided."""


class Share(msgspec.Struct, frozen=True):
    """One of the shares into which a file is divided."""

    number: int
    """From 0."""
    starts: tuple[int, ...]
    """Of the shares but the first: each begins with an event in what comes of the packed bytes from there on."""


def shares(file: str, size: int, count: int) -> list[Share]:
    """`count` shares of a packed file of `size` bytes; none where it cannot be divided."""
    if count < 2 or not _begins_with_event(file):
        return []
    # Each takes as long as the others, unpacking what comes before it included.
    whole = 1 - _READING**count
    starts = tuple(int(size * (1 - _READING**number) / whole) for number in range(1, count))
    return [Share(number, starts) for number in range(count)]


def may_be_shared(file: str) -> bool:
    """Whether it is packed in a way that can be divided so."""
    with Path(file).open("rb") as stream:
        return stream.read(len(ZSTD)).startswith((GZIP, ZSTD))


def _begins_with_event(file: str) -> bool:
    with Path(file).open("rb") as stream:
        # What is packed twice is left as it is.
        found = unpacked(file, blocks(file, stream, Unreadable(), lambda _file, _bytes: None), Unreadable(), layers=1)
        return any(next(text, b"").startswith(raw.HEAD) for _, text in found)


def spread(sizes: Sequence[int], jobs: int) -> list[int]:
    """How many processes should read each of the files, which `jobs` processes take in this order.

    One, as long as there are files for all of them.
    """
    lanes = [0.0] * jobs
    left = sum(sizes)
    counts = []
    for size in sizes:
        even = (sum(lanes) + left) / jobs - lanes[0]
        count = 1
        if lanes[0] + size > _UNEVEN * (lanes[0] + even):
            count = max(1, min(jobs, SHARES_MAX, size // SHARE_MIN, -int(-size // even)))
        for _ in range(count):
            heapq.heapreplace(lanes, lanes[0] + size / count)
        counts.append(count)
        left -= size
    return counts


def read_share(
    file: str,
    share: Share,
    unreadable: Unreadable,
    *,
    skip_reads: bool,
    wanted: raw.Wanted | None,
    progress: Progress,
) -> Iterator[Lines | Events]:
    """The events of one share, as `read` gives those of a whole file."""
    number = share.number
    begin, end = (0, *share.starts, sys.maxsize)[number : number + 2]
    here = last = 0

    def heard(file: str, done: int) -> None:
        nonlocal here
        here = done
        # Of what is before and behind, others tell.
        progress(file, max(0, min(done, end) - begin))

    def own(pieces: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[int, bytes]]:
        nonlocal last
        for last, offset, piece in pieces:
            if last > number:
                return
            if last == number:
                yield offset, piece

    # Trouble with packed data ends it: whoever comes to that end tells of it, and nobody else.
    trouble = Unreadable()
    with Path(file).open("rb") as stream:
        for name, text in unpacked(file, blocks(file, stream, trouble, heard), trouble):
            pieces = own(divided(text, lambda: here, share.starts))
            offset, first = next(pieces, (0, b""))
            rest = chain([first], (piece for _, piece in pieces))
            yield from events_in(
                name,
                rest,
                unreadable,
                skip_reads=skip_reads,
                wanted=wanted,
                offset=offset,
                followed=lambda: last > number,
            )
    if last == number:
        unreadable.merge(trouble)


def divided(text: Iterable[bytes], here: Callable[[], int], starts: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
    """(number of the share, offset, text) of all shares in turn; the same in whichever process.

    `here` is how many packed bytes have been read.
    """
    number = offset = 0
    held = b""
    for block in text:
        if number == len(starts) or here() <= starts[number]:
            yield number, offset, block
            offset += len(block)
            continue
        held += block
        found = held.find(BORDER)
        # The beginning of a border may be the end of what is here.
        cut = found + 2 if found >= 0 else max(0, len(held) - len(BORDER) + 1)
        yield number, offset, held[:cut]
        offset += cut
        held = held[cut:]
        if found >= 0:
            number += 1
            yield number, offset, held
            offset += len(held)
            held = b""
    yield number, offset, held
