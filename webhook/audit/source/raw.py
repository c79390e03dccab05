"""The raw log's fast path: reads are told from everything else without parsing, or even cutting out, their lines.

Rests on the order in which the API server writes the fields: before the audit verb come only strings whose quotes are
escaped, so the first `"verb":"` of an event is its own. A line that is not exactly so is given back to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from webhook.audit import events

HEAD = events.HEAD
Wanted = Callable[[bytes, bytes], bool]
"""(resource, subresource) → whether writes to it matter to somebody."""
NEXT = b"}" + HEAD
"""Two events in one line."""
_MINUTE = len("2026-11-24T21:43")
_COMPONENT = b'"userAgent":"kube-'
_CLOSE = ord("}")
_GET, _LIST, _WATCH = events.READ_INITIALS


class Sieve:
    """Counts what nobody wants in one block of whole lines, and gives the rest back."""

    __slots__ = ("_dull", "_text", "_wanted", "minutes", "others", "reads", "server_minors")

    def __init__(self, text: bytes, wanted: Wanted | None, dull: dict[tuple[bytes, bytes], bool]) -> None:
        """`dull` is what `wanted` has said so far, for all blocks together."""
        self._text = text
        self._wanted = wanted
        self._dull = dull
        self.reads = 0
        self.others = 0
        """Writes to what nobody wants."""
        self.minutes: set[bytes] = set()
        self.server_minors: set[int] = set()

    def skip(self, at: int, stop: int) -> tuple[int, int]:
        """Skips from `at` on: (where the first line begins that matters, where it ends). `stop` is behind a newline."""
        text, minutes = self._text, self.minutes
        find, rfind, starts, connect = text.find, text.rfind, text.startswith, events.CONNECT_PATH
        head, verb_, received_, shift = HEAD, events.VERB, events.RECEIVED, len(events.RECEIVED)
        reads = others = end = 0
        last = b""
        while at < stop:
            end = find(b"\n", at, stop)
            verb = find(verb_, at, end)
            if verb < 0 or text[end - 1] != _CLOSE or not starts(head, at):
                break
            kind = text[verb + 8]
            if kind == _LIST or kind == _WATCH or (kind == _GET and connect(text, at, verb) is None):  # noqa: SIM109
                reads += 1
            elif self._is_dull(at, end, verb):
                others += 1
            else:
                break
            # The last one: bodies come before it.
            received = rfind(received_, verb, end)
            if received >= 0:
                minute = text[received + shift : received + shift + _MINUTE]
                if minute != last:
                    minutes.add(minute)
                    last = minute
            at = end + 1
        self.reads += reads
        self.others += others
        return (at, end) if at < stop else (stop, stop)

    def _is_dull(self, at: int, end: int, verb: int) -> bool:
        if self._wanted is None:
            return False
        text = self._text
        seen = events.glance(text, at, end, verb)
        if seen is None or seen[0]:
            return False
        dull = self._dull.get(seen[1:])
        if dull is None:
            dull = self._dull[seen[1:]] = not self._wanted(*seen[1:])
        return dull and not events.reviewed(text, at, end)

    def look(self, start: int, stop: int) -> None:
        """Learns the server's version from the lines in `text[start:stop]`."""
        text = self._text
        agent = text.find(_COMPONENT, start, stop)
        if agent >= 0:
            begin = text.rfind(b"\n", start, agent) + 1 or start
            self._sniff(text[begin : text.find(b"\n", agent, stop)])

    def _sniff(self, line: bytes) -> None:
        try:
            minor = events.server_minor(events.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if minor:
            self.server_minors.add(minor)
