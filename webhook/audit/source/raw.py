"""The raw log's fast path: reads are told from everything else without parsing, or even cutting out, their lines.

Rests on the order in which the API server writes the fields: before the audit verb come only strings whose quotes are
escaped, so the first `"verb":"` of an event is its own. A line that is not exactly so is given back to be looked at.
"""

from __future__ import annotations

import re

import msgspec

from webhook.audit import events

HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/'
NEXT = b"}" + HEAD
"""Two events in one line."""
_VERB = b'"verb":"'
_CONNECT = re.compile(rb'/(?:exec|attach|portforward|proxy)[/?"]').search
"""In the path of a GET that is CONNECT to admission."""
_RECEIVED = b'"requestReceivedTimestamp":"'
_MINUTE = len("2026-11-24T21:43")
_COMPONENT = b'"userAgent":"kube-'
_CLOSE, _GET, _LIST, _WATCH = b"}glw"
"""What ends an event, and how the verbs of reads begin; no other verb of Kubernetes' begins so."""


class Sieve:
    """Counts the reads in one block of whole lines, and gives the rest back."""

    __slots__ = ("_text", "minutes", "reads", "server_minors")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.reads = 0
        self.minutes: set[bytes] = set()
        self.server_minors: set[int] = set()

    def skip(self, at: int, stop: int) -> tuple[int, int]:
        """Skips reads from `at` on: (where the first other line begins, where it ends). `stop` is behind a newline."""
        text, minutes = self._text, self.minutes
        find, rfind, starts = text.find, text.rfind, text.startswith
        reads, shift = 0, len(_RECEIVED)
        last = b""
        while at < stop:
            end = find(b"\n", at, stop)
            verb = find(_VERB, at, end)
            if verb < 0 or text[end - 1] != _CLOSE or not starts(HEAD, at):
                break
            kind = text[verb + 8]
            if kind == _GET:
                if _CONNECT(text, at, verb) is not None:
                    break
            elif kind != _WATCH and kind != _LIST:
                break
            # The last one: bodies come before it.
            received = rfind(_RECEIVED, verb, end)
            if received < 0:
                break
            minute = text[received + shift : received + shift + _MINUTE]
            if minute != last:
                minutes.add(minute)
                last = minute
            reads += 1
            at = end + 1
        self.reads += reads
        return (at, end) if at < stop else (stop, stop)

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
