"""Text in blocks → batches of events: lines, documents over several lines, and tables, each recognised where it begins.

Knows how records follow one another in a file; what one of them is, the `opener` finds out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator

from webhook.audit.source import prefixed, raw, table
from webhook.audit.source.documents import OVERSIZE, Documents
from webhook.audit.source.envelope import Origin
from webhook.audit.source.opener import Opened
from webhook.audit.source.record import Events, Lines
from webhook.audit.source.unreadable import Unreadable

LINE_MAX = 16 << 20
"""Bytes of the longest line that is held, unless it is JSON; a longer one is counted and skipped to its end."""
BOM = b"\xef\xbb\xbf"
_BINARY = re.compile(rb"[\x00-\x08]")
_SNIFF = 256
"""Bytes in which protobuf shows itself: it begins with field 1, which is a newline to text, and has control bytes."""
_ARRAY = re.compile(rb'\[\s*(?:[\[{"\]]|\Z)')
_BASE64 = re.compile(rb"H4sI[A-Za-z0-9+/]{40,}={0,2}")
"""Gzip in base64, as CloudWatch hands it out."""


def events_in(
    file: str,
    blocks: Iterable[bytes],
    unreadable: Unreadable,
    *,
    skip_reads: bool = False,
    wanted: raw.Wanted | None = None,
    offset: int = 0,
    followed: Callable[[], bool] = lambda: False,
) -> Iterator[Lines | Events]:
    """Everything in the text of one file, or in a part of it, which begins at `offset`.

    `followed` says, once it has ended, whether the file goes on there, with an event.
    """
    reader = Reader(file, unreadable, skip_reads=skip_reads, wanted=wanted, offset=offset)
    for block in blocks:
        reader.feed(block)
        yield from reader.take()
    reader.finish(followed=followed())
    yield from reader.take()


class Reader:
    """Takes a file's text in blocks of any size."""

    def __init__(
        self,
        file: str,
        unreadable: Unreadable,
        *,
        skip_reads: bool = False,
        wanted: raw.Wanted | None = None,
        offset: int = 0,
    ) -> None:
        self._opened = Opened(file, unreadable)
        self._sieve = raw.Sieve(file, wanted) if skip_reads else None
        self._offset = offset
        """Of the first byte of the block that is being taken."""
        self._tail: list[bytes] = []
        """The beginning of a line whose end is not there yet."""
        self._tail_offset = offset
        self._skipping = False
        """Until the end of the line."""
        self._documents: Documents | None = None
        self._table: table.Table | None = None
        self._first = offset == 0
        self._foreign = False
        """The file is no text at all."""
        self.take = self._opened.take

    @property
    def recognised(self) -> int:
        """Events so far."""
        return self._opened.recognised

    def feed(self, block: bytes) -> None:
        """Takes the next bytes of the text."""
        if self._first and block:
            self._first = False
            if block.startswith(BOM):
                block = block[len(BOM) :]
                self._offset += len(BOM)
            elif block.startswith(b"\n") and _BINARY.search(block, 0, _SNIFF):
                self._opened.refuse("otlp_protobuf")
                self._foreign = True
        # Each of these returns what it leaves, and moves the offset to it.
        while block and not self._foreign:
            if self._skipping:
                block = self._skip(block)
            elif self._documents is not None:
                block = self._document(block, self._documents)
            else:
                block = self._lines(block)

    def finish(self, *, followed: bool = False) -> None:
        """The text has ended; `followed` by an event, whoever reads that, nothing in it is half-written."""
        if self._tail:
            line = b"".join(self._tail)
            self._tail = []
            if self._line(line, self._tail_offset, open_end=True):
                self._offset = self._tail_offset
                self._documents = Documents(self._offset)
                rest = self._document(line, self._documents)
                if rest:
                    self._line(rest, self._offset, open_end=True, again=True)
        if self._documents is not None and (left := self._documents.left()) is not None:
            if followed:
                left = left._replace(text=left.text.rstrip(), reason="not_json")
            self._broken(left.text, left.offset, left.reason)
        if self._table is not None and (row := self._table.left()) is not None:
            self._opened.offset = row[0]
            self._table.open(row[1], self._opened)
        self._opened.finish()

    def _skip(self, block: bytes) -> bytes:
        newline = block.find(b"\n")
        if newline >= 0:
            self._skipping = False
        end = newline + 1 or len(block)
        self._offset += end
        return block[end:]

    def _lines(self, block: bytes) -> bytes:
        at = 0
        if self._tail:
            newline = block.find(b"\n")
            if newline < 0:
                return self._hold(block)
            self._tail.append(block[: newline + 1])
            line = b"".join(self._tail)
            self._tail = []
            if self._whole_lines(line, 0, len(line), self._tail_offset) < len(line):
                self._documents = Documents(self._tail_offset)
                self._offset = self._tail_offset
                return line + block[newline + 1 :]
            at = newline + 1
        stop = block.rfind(b"\n", at) + 1
        if stop > at:
            at = self._whole_lines(block, at, stop, self._offset)
            if at < stop:
                self._offset += at
                self._documents = Documents(self._offset)
                return block[at:]
        self._offset += at
        return self._hold(block[at:]) if at < len(block) else b""

    def _hold(self, piece: bytes) -> bytes:
        """Keeps a line's beginning until its end comes."""
        if not self._tail:
            self._tail_offset = self._offset
        self._tail.append(piece)
        self._offset += len(piece)
        if self._offset - self._tail_offset <= LINE_MAX:
            return b""
        line = b"".join(self._tail)
        self._tail = []
        if line[:1] in (b"{", b"["):
            self._documents = Documents(self._tail_offset)
            self._offset = self._tail_offset
            return line
        self._opened.offset = self._tail_offset
        self._opened.refuse("oversize_line")
        self._skipping = True
        return b""

    def _whole_lines(self, text: bytes, at: int, stop: int, base: int) -> int:
        """Takes the lines in `text[at:stop]`, whose offset is `base`; where it stopped: a document begins there."""
        sieve = self._sieve
        if self._table is not None or raw.joined(text, at, stop) is not None:
            sieve = None
        first, skipped = at, False
        while at < stop:
            if sieve is not None and text.startswith(raw.HEAD, at):
                at, found = sieve.sift(text, at, stop, base)
                self._opened.sifted(found)
                skipped = skipped or found.reads > 0 or found.others > 0
                if at == stop:
                    break
            end = text.find(b"\n", at, stop)
            if self._line(text[at:end], base + at):
                break
            at = end + 1
        if skipped and (minors := raw.server_minors(text, first, at)):
            self._opened.sifted(Lines(self._opened.file, base + first, [], sifted=True, server_minors=minors))
        return at

    def _line(self, line: bytes, offset: int, *, open_end: bool = False, again: bool = False) -> bool:
        """Takes a line; True: it begins a document that has to be read as one."""
        opened = self._opened
        if line.startswith(raw.HEAD):
            if raw.NEXT in line:
                return True
            opened.line(line, offset, open_end=open_end)
            return False
        line = line.rstrip()
        if not line:
            return False
        opened.offset = offset
        first = line[:1]
        if self._table is not None:
            row = self._table.add(line, offset)
            if row is not None:
                opened.offset = row[0]
                self._table.open(row[1], opened)
        elif first == b"{":
            if not opened.open(line, offset):
                if not again:
                    return True
                self._broken(line, offset, "incomplete_last_line" if open_end else "not_json")
        elif first == b"[" and not again and _ARRAY.match(line):
            return True
        elif (columns := table.header(line)) is not None:
            self._table = table.Table(columns)
        elif (part := prefixed.cri(line)) is not None:
            time, stream, final, text = part
            opened.part(stream, text, final=final, origin=Origin("container-log", "", time))
        elif line.startswith(b"H4sI") and _BASE64.fullmatch(line):
            self._packed(line)
        elif open_end and prefixed.event_in(line) < 0 and b'{"' in line:
            opened.refuse("incomplete_last_line")
        else:
            opened.text(line, Origin(""))
        return False

    def _packed(self, line: bytes) -> None:
        try:
            self._opened.packed(base64.b64decode(line, validate=True), Origin("eks-cloudwatch"))
        except (binascii.Error, ValueError):
            self._opened.refuse("not_audit_text")

    def _document(self, block: bytes, documents: Documents) -> bytes:
        found, rest = documents.feed(block)
        for each in found:
            if each.reason == OVERSIZE:
                self._opened.offset = each.offset
                self._opened.refuse(each.reason)
                self._skipping = not block.endswith(b"\n")
            elif each.reason or not self._opened.open(each.text, each.offset):
                self._broken(each.text, each.offset, each.reason or "not_json")
        if rest is None:
            self._offset += len(block)
            return b""
        self._documents = None
        self._offset += len(block) - len(rest)
        return rest

    def _broken(self, text: bytes, offset: int, reason: str) -> None:
        """What is no JSON. If it begins as an event of the server does, that is still worth something."""
        if text.startswith(raw.HEAD):
            self._opened.line(text, offset, open_end=reason == "incomplete_last_line")
        else:
            self._opened.offset = offset
            self._opened.refuse(reason)
