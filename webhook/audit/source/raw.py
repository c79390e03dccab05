"""The raw log's fast path: reads are told from everything else without parsing, or even cutting out, their lines.

Rests on the order in which the API server writes the fields: before `"verb":"` come only strings whose quotes are
escaped, so the first one is the audit verb. A line that is not exactly so is given back to be looked at.
"""

from __future__ import annotations

import re

import msgspec

from webhook.audit import events

HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/'
_READ = re.compile(
    rb'\{"kind":"Event","apiVersion":"audit\.k8s\.io/v1(?:beta1)?","level":"[A-Za-z]++","auditID":"[^"\n]*+",'
    rb'"stage":"[A-Za-z]++","requestURI":"(?:[^"/\n]++|/(?!(?:exec|attach|portforward|proxy)[/?"]))*+",'
    rb'"verb":"(?:get|list|watch)","user'
)
"""A read, but for those that are CONNECT to admission."""
_RECEIVED = b'"requestReceivedTimestamp":"'
_MINUTE = len("2026-11-24T21:43")
_COMPONENT = b'"userAgent":"kube-'
NEXT = b"}" + HEAD
"""Two events in one line."""
_CLOSE = ord("}")


class Sieve:
    """Counts the reads in one block of whole lines, and gives the rest back."""

    __slots__ = ("_others", "_starts", "_text", "minutes", "server_minors")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._starts: list[int] = []
        """Where the reads begin that were skipped."""
        self._others = 0
        self.minutes: set[bytes] = set()
        self.server_minors: set[int] = set()

    @property
    def reads(self) -> int:
        return len(self._starts)

    def skip(self, at: int, stop: int) -> tuple[int, int]:
        """Skips reads from `at` on: (where the first other line begins, where it ends). `stop` is behind a newline."""
        text = self._text
        match, find, skipped = _READ.match, text.find, self._starts.append
        while at < stop:
            end = find(b"\n", at, stop)
            if match(text, at) is None or text[end - 1] != _CLOSE:
                self._others += 1
                return at, end
            skipped(at)
            at = end + 1
        return stop, stop

    def look(self, start: int, stop: int) -> None:
        """Learns of the skipped lines in `text[start:stop]` their minutes and the server's version."""
        text = self._text
        first = text.find(_RECEIVED, start, stop) + len(_RECEIVED)
        minute = text[first : first + _MINUTE]
        if text.count(_RECEIVED + minute, start, stop) == len(self._starts) + self._others:
            self.minutes.add(minute)
        else:
            for at in self._starts:
                # The last one: bodies come before it.
                found = text.rfind(_RECEIVED, at, text.find(b"\n", at, stop)) + len(_RECEIVED)
                if found >= len(_RECEIVED):
                    self.minutes.add(text[found : found + _MINUTE])
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
