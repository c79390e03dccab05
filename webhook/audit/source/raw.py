"""The raw log's fast path: reads are told from everything else without parsing, or even cutting out, their lines.

Rests on the order in which the API server writes the fields: before the audit verb come only strings whose quotes are
escaped, so the first `"verb":"` of an event is its own. A line that is not exactly so is given back to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import msgspec
import re2  # type: ignore[import-untyped]

from webhook.audit import events
from webhook.audit.source.record import Lines

HEAD = events.HEAD
Wanted = Callable[[bytes, bytes], bool]
"""(resource, subresource) → whether writes to it matter to somebody."""
NEXT = b"}" + HEAD
"""Two events in one line."""
joined = re2.compile(re2.escape(NEXT)).search
"""Twice as fast as `find` for such a needle."""
_LEAST = len(HEAD + b'v1","level":"","auditID":"","stage":"","requestURI":"')
"""Bytes of an event that come before its URI."""
_TO_MINUTE = len(events.RECEIVED + b"2026-11-24T21:43")
_COMPONENT = b'"userAgent":"kube-'
_CLOSE = ord("}")
_GET, _LIST, _WATCH = events.READ_INITIALS


class Sieve:
    """Sorts the whole lines of one file: what somebody wants, what is only counted, and what has to be looked at."""

    def __init__(self, file: str, wanted: Wanted | None) -> None:
        self._file = file
        self._wanted = wanted
        self._dull: dict[tuple[bytes, bytes], bool] = {}
        """What `wanted` has said so far."""

    def sift(self, text: bytes, at: int, stop: int, base: int) -> tuple[int, Lines]:
        """Sifts `text[at:stop]`, which ends with a newline and holds no `NEXT`; `base` is the offset of `text`.

        Returns where the first line begins that has to be looked at, or `stop`, and what was before it.
        """
        connect, is_dull, head, verb_, least = events.CONNECT_PATH, self._is_dull, HEAD, events.VERB, _LEAST
        get, list_, watch, close = _GET, _LIST, _WATCH, _CLOSE
        found = Lines(self._file, base + at, [], offsets=[], sifted=self._wanted is not None)
        lines, offsets, minutes = found.lines, [], found.minutes
        reads = others = 0
        last = b"\n?"  # in no line
        # A search costs more for its arguments than for what it looks at; on a line of its own it needs fewer.
        text_lines = BytesIO(text)
        text_lines.seek(at)
        for line in text_lines:
            after = at + len(line)
            if after > stop:
                break
            verb = line.find(verb_, least)
            if verb < 0 or line[-2] != close or not line.startswith(head):
                break
            kind = line[verb + 8]
            if kind == list_ or kind == watch or (kind == get and connect(line, least, verb) is None):  # noqa: SIM109
                reads += 1
            elif is_dull(line, verb):
                others += 1
            else:
                lines.append(line[:-1])
                offsets.append(base + at)
                at = after
                continue
            at = after
            # Most events came in the minute of the one before them.
            if line.rfind(last) < 0 and (received := line.rfind(events.RECEIVED, verb)) >= 0:
                last = line[received : received + _TO_MINUTE]
                minutes.add(last[len(events.RECEIVED) :])
        found.offsets, found.reads, found.others = offsets, reads, others
        return at, found

    def _is_dull(self, line: bytes, verb: int) -> bool:
        """Whether nobody wants the write in that line, whose verb is there."""
        if self._wanted is None:
            return False
        about = events.about(line, verb, len(line))
        if about is None:
            return False
        dull = self._dull.get(about)
        if dull is None:
            dull = self._dull[about] = not self._wanted(*about)
        return dull and not events.reviewed(line, max(verb, line.rfind(events.RECEIVED)), len(line))


def server_minors(text: bytes, start: int, stop: int) -> set[int]:
    """The server's version, if a line in `text[start:stop]` gives it away."""
    agent = text.find(_COMPONENT, start, stop)
    if agent < 0:
        return set()
    begin = text.rfind(b"\n", start, agent) + 1 or start
    try:
        minor = events.server_minor(events.decode(text[begin : text.find(b"\n", agent, stop)]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    return {minor} if minor else set()
