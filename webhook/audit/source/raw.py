"""The raw log's fast path: reads are told from everything else without parsing, or even cutting out, their lines.

Rests on the order in which the API server writes the fields: before the audit verb come only strings whose quotes are
escaped, so the first `"verb":"` of an event is its own. A line that is not exactly so is given back to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from webhook.audit import events
from webhook.audit.source.record import Lines

HEAD = events.HEAD
Wanted = Callable[[bytes, bytes], bool]
"""(resource, subresource) → whether writes to it matter to somebody."""
NEXT = b"}" + HEAD
"""Two events in one line."""
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
        find, rfind, starts, connect, is_dull = (
            text.find,
            text.rfind,
            text.startswith,
            events.CONNECT_PATH,
            self._is_dull,
        )
        head, verb_, received_, least = HEAD, events.VERB, events.RECEIVED, _LEAST
        found = Lines(self._file, base + at, [], offsets=[], sifted=self._wanted is not None)
        lines, offsets, minutes = found.lines, [], found.minutes
        reads = others = 0
        last = b"?"
        while at < stop:
            end = find(b"\n", at)
            verb = find(verb_, at + least, end)
            if verb < 0 or text[end - 1] != _CLOSE or not starts(head, at):
                break
            # The last one: bodies come before it.
            received = rfind(received_, verb, end)
            kind = text[verb + 8]
            if kind == _LIST or kind == _WATCH or (kind == _GET and connect(text, at + least, verb) is None):  # noqa: SIM109
                reads += 1
            elif is_dull(text, verb, received, end):
                others += 1
            else:
                lines.append(text[at:end])
                offsets.append(base + at)
                at = end + 1
                continue
            if not starts(last, received) and received >= 0:
                last = text[received : received + _TO_MINUTE]
                minutes.add(last[len(received_) :])
            at = end + 1
        found.offsets, found.reads, found.others = offsets, reads, others
        return at, found

    def _is_dull(self, text: bytes, verb: int, received: int, end: int) -> bool:
        """Whether nobody wants the write whose verb, time and end are there."""
        if self._wanted is None:
            return False
        about = events.about(text, verb, end)
        if about is None:
            return False
        dull = self._dull.get(about)
        if dull is None:
            dull = self._dull[about] = not self._wanted(*about)
        return dull and not events.reviewed(text, max(verb, received), end)


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
