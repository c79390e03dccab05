"""Growing logs → a folder of facts that grows with them.

What comes is put in as by any other run: the last stage of a write takes the place of the first, and nothing counts
twice. Knows nothing of what is asked of the facts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from webhook.audit.source import Unreadable
from webhook.audit.source import follow as growing
from webhook.audit.table import store
from webhook.audit.table.identity import Source
from webhook.audit.table.mapper import WRITES, Mapper, unread
from webhook.audit.table.stage import BATCH, Writer


def follow(
    folder: Path,
    logs: Sequence[str],
    source: Source,
    *,
    every: float,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Unreadable]:
    """Puts into `folder` what the logs say, and what they come to say; yields when it has, at most once in `every`
    seconds, with all that could not be read. Ends as `source.follow` does."""
    mapper = Mapper(is_ours=source.ours, unreadable=Unreadable(), cluster=source.cluster)
    with tempfile.TemporaryDirectory(prefix="wouldblock-") as held:
        taking = _Taking(folder, source, mapper, Path(held))
        due, news = clock(), True
        for found in growing(logs, mapper.unreadable, skip_reads=True, wanted=WRITES.wants, wait=wait):
            if found is not None:
                mapper.add(found)
                taking.hold()
                news = True
            elif news and clock() >= due:
                taking.put()
                yield mapper.unreadable
                due, news = clock() + every, False
        if news:
            taking.put()
            yield mapper.unreadable


class _Taking:
    """Rows on their way into the folder: few in memory, the others in a file."""

    def __init__(self, folder: Path, source: Source, mapper: Mapper, held: Path) -> None:
        self._folder = folder
        self._source = source
        self._mapper = mapper
        self._held = held
        self._writer = Writer(held)
        self._told = 0
        self._unreadable = Unreadable()
        """Of which there are rows already."""

    def hold(self) -> None:
        if len(self._mapper) >= BATCH:
            self._writer.add(self._mapper.take())

    def put(self) -> None:
        mapper, trouble = self._mapper, Unreadable()
        trouble.merge(mapper.unreadable)
        trouble.counts -= self._unreadable.counts
        self._writer.add(mapper.take())
        self._writer.add(unread(trouble, mapper.told - self._told, "followed", "the logs", mapper.cluster))
        self._told = mapper.told
        self._unreadable.merge(trouble)
        for path in map(Path, self._writer.close()):
            store.put(self._folder, path, self._source)
            path.unlink()
        self._writer = Writer(self._held)
