"""Bytes in pieces → JSON values that are more than a line: pretty-printed, concatenated, the items of one large array.

Knows JSON's brackets and strings, not its values. A value that was broken off ends where the next line cannot belong to
it: at a newline in a string, and at a `{` in the first column of an object's inside.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DOCUMENT_MAX = 64 << 20
"""Bytes of the largest value that is held; a larger one is skipped."""
DEPTH_MAX = 200
OVERSIZE = "oversize_line"

_TOKEN = re.compile(rb'[{}\[\]]|"(?:[^"\\\n]++|\\.)*+"|"|\n(?=\{|\Z)')
_BETWEEN = re.compile(rb"[ \t\r,]*")
_BETWEEN_ITEMS = re.compile(rb"[ \t\r\n,]*")
_OPEN, _CLOSE = b"{[", b"}]"
_QUOTE, _NEWLINE, _BRACE, _BRACKET = b'"\n{['


class Document(NamedTuple):
    offset: int
    text: bytes
    """Empty for what is none."""
    reason: str = ""
    """Why it is none."""


class Documents:
    """The values from `offset` on, until something else follows them."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        """Of the first byte that is held."""
        self._held: list[bytes] = []
        """What is not done with, in pieces."""
        self._size = 0
        self._at = 0
        """Where to go on in it."""
        self._in_string = False
        """A string begins there whose end is not there yet."""
        self._start = -1
        """Where the value begins that is not complete; -1 between values."""
        self._inside: list[int] = []
        """The brackets that are open in it."""
        self._array = False
        """Values are the items of one array."""
        self._fresh = True

    def feed(self, more: bytes) -> tuple[list[Document], bytes | None]:
        """(what is complete, what follows as lines of its own; None: more of the same may come)."""
        found: list[Document] = []
        self._held.append(more)
        self._size += len(more)
        if self._in_string and b'"' not in more and b"\n" not in more:
            # Nothing that could end the string: no need to look at its beginning again.
            if self._size > DOCUMENT_MAX:
                return self._oversize(self._size, found)
            return found, None
        data = b"".join(self._held)
        at = self._at
        while True:
            if self._start < 0:
                at = self._next(data, at)
                if at == len(data):
                    break
                if self._start < 0:
                    self.offset += at
                    return found, data[at:]
            at, ended = self._scan(data, at, found)
            if ended:
                self.offset += at
                return found, data[at:]
            if self._start >= 0:
                if len(data) - self._start > DOCUMENT_MAX:
                    return self._oversize(len(data), found)
                break
        keep = self._start if self._start >= 0 else at
        self.offset += keep
        self._held = [data[keep:]]
        self._size = len(data) - keep
        self._at = at - keep
        self._in_string = self._start >= 0 and data[at : at + 1] == b'"'
        self._start = min(self._start, 0)
        return found, None

    def _oversize(self, size: int, found: list[Document]) -> tuple[list[Document], bytes]:
        found.append(Document(self.offset + self._start, b"", OVERSIZE))
        self.offset += size
        return found, b""

    def left(self) -> Document | None:
        """The value that the end of the file broke off."""
        if self._start < 0:
            return None
        return Document(self.offset, b"".join(self._held), "incomplete_last_line")

    def _next(self, data: bytes, at: int) -> int:
        """Where the next value begins (`_start` is set then), or what is none."""
        while True:
            between = (_BETWEEN_ITEMS if self._array else _BETWEEN).match(data, at)
            at = between.end() if between is not None else at
            if at == len(data):
                return at
            byte = data[at]
            if byte == _BRACKET and self._fresh:
                self._array, self._fresh = True, False
                at += 1
                continue
            self._fresh = False
            if byte in _OPEN:
                self._start = at
                self._inside.clear()
            elif self._array and byte == _CLOSE[1]:
                self._array = False
                at += 1
                continue
            return at

    def _scan(self, data: bytes, at: int, found: list[Document]) -> tuple[int, bool]:
        """Goes on in the value; (where, whether lines follow)."""
        inside = self._inside
        for token in _TOKEN.finditer(data, at):
            byte = data[token.start()]
            if byte in _OPEN:
                inside.append(byte)
                if len(inside) > DEPTH_MAX:
                    return self._broken(data, token.start(), found)
            elif byte in _CLOSE:
                inside.pop()
                if not inside:
                    found.append(Document(self.offset + self._start, data[self._start : token.end()]))
                    self._start = -1
                    return token.end(), False
            elif byte == _NEWLINE:
                if token.end() == len(data):
                    return token.start(), False
                if inside[-1] == _BRACE:
                    return self._broken(data, token.start(), found)
            elif token.end() - token.start() == 1:
                if data.find(b"\n", token.end()) >= 0:
                    return self._broken(data, token.start(), found)
                return token.start(), False
        return len(data), False

    def _broken(self, data: bytes, at: int, found: list[Document]) -> tuple[int, bool]:
        newline = data.find(b"\n", at)
        end = newline + 1 if newline >= 0 else len(data)
        found.append(Document(self.offset + self._start, data[self._start : end].rstrip(), "not_json"))
        self._start = -1
        return end, not self._array
