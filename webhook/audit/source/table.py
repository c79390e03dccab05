"""CSV exports: Log Analytics' columns, CloudWatch Insights' and Splunk's line, recognised by the header.

A value may hold newlines between its quotes: a row ends where the quotes are even.
"""

from __future__ import annotations

import csv

import msgspec

from webhook.audit.source.aks import is_table
from webhook.audit.source.envelope import Opener, Origin

_LINES = ("@message", "_raw", "message", "textPayload", "Line")
"""Columns that hold a line of the log."""
_TIMES = ("@timestamp", "_time", "timestamp", "Time")
ROW_MAX = 16 << 20

csv.field_size_limit(ROW_MAX)


def header(line: bytes) -> list[str] | None:
    """The columns, if the line is the header of a table that can be read."""
    if b"," not in line or b"{" in line or len(line) > 10_000:
        return None
    try:
        columns = next(csv.reader([line.decode()]))
    except (csv.Error, UnicodeDecodeError, StopIteration):
        return None
    # The portal writes `TimeGenerated [UTC]`.
    columns = [each.strip().removesuffix(" [UTC]") for each in columns]
    if is_table(frozenset(columns)) or any(each in columns for each in _LINES):
        return columns
    return None


class Table:
    """The rows below a header."""

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns
        self._line = next((each for each in _LINES if each in columns), "")
        self._time = next((each for each in _TIMES if each in columns), "")
        self._open: list[bytes] = []
        self._start = 0
        self._even = True
        self._size = 0

    def add(self, line: bytes, offset: int) -> tuple[int, bytes] | None:
        """(offset, text) of the row that the line completes."""
        if not self._open:
            self._start = offset
            self._size = 0
        self._open.append(line)
        self._size += len(line)
        if line.count(b'"') % 2:
            self._even = not self._even
        if not self._even and self._size <= ROW_MAX:
            return None
        return self.left()

    def left(self) -> tuple[int, bytes] | None:
        """The row that was begun."""
        if not self._open:
            return None
        text = b"\n".join(self._open)
        self._open.clear()
        self._even = True
        return self._start, text

    def open(self, text: bytes, opener: Opener) -> None:
        try:
            values = next(csv.reader(text.decode("utf-8", "replace").splitlines(keepends=True), strict=True))
        except (csv.Error, StopIteration):
            opener.refuse("not_json")
            return
        row = dict(zip(self._columns, values, strict=False))
        if self._line:
            opener.text(row.get(self._line, ""), Origin("csv", "", row.get(self._time, "")))
        else:
            opener.document(msgspec.json.encode(row), Origin(""))
