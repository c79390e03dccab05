"""Opens envelopes until events are found, and gathers them in batches. Every record gets exactly one fate here.

Knows which formats there are and in which order they are tried; not what is inside them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from webhook.audit import events
from webhook.audit.events import Event
from webhook.audit.source import aks, cloudwatch, gke, native, otlp, prefixed, shipped
from webhook.audit.source.envelope import Keys, Origin
from webhook.audit.source.record import NATIVE, Events, Lines, Record
from webhook.audit.source.unreadable import Unreadable

FORMATS = (
    *native.FORMATS,
    *cloudwatch.FORMATS,
    *gke.FORMATS,
    *aks.FORMATS,
    *otlp.FORMATS,
    *prefixed.FORMATS,
    *shipped.FORMATS,
)
"""In the order in which they are tried: an object that looks like an event is one, whatever else it may be."""

LAYERS_MAX = 8
"""Envelopes in envelopes."""
PACKED_MAX = 64 << 20
_RAW = b'{"kind":"Event","apiVersion":"audit.k8s.io/'
_EVENT_STARTS = (_RAW, b'{"auditID":')
_object = msgspec.json.Decoder(dict[str, Raw])
_NATIVE = Origin(NATIVE)


class Opened:
    """What one file holds: an `Opener` whose batches are taken out now and then."""

    def __init__(self, file: str, unreadable: Unreadable) -> None:
        self.file = file
        self._unreadable = unreadable
        self._batches: list[Lines | Events] = []
        self._depth = 0
        self._itself: bytes | Raw = b""
        self._parts: dict[str, tuple[int, list[bytes], Origin]] = {}
        self.offset = 0
        """Of the record that is being opened."""
        self.recognised = 0
        """Events so far, whole or cut."""

    def take(self) -> Iterator[Lines | Events]:
        """The batches so far."""
        batches, self._batches = self._batches, []
        yield from batches

    def line(self, line: bytes, offset: int, origin: Origin = _NATIVE, *, open_end: bool = False) -> None:
        """A line that holds an event, or should."""
        self.recognised += 1
        last = self._batches[-1] if self._batches else None
        if (
            isinstance(last, Lines)
            and last.offsets is not None
            and not last.sifted
            and last.format == origin.format
            and last.cluster == origin.cluster
        ):
            last.lines.append(line)
            last.offsets.append(offset)
            last.open_end = open_end
            return
        self._batches.append(
            Lines(self.file, offset, [line], open_end, [offset], origin.format or NATIVE, origin.cluster)
        )

    def sifted(self, found: Lines) -> None:
        """Whole lines of the raw log, and how many there were that nobody asked for."""
        self.recognised += len(found.lines) + found.reads + found.others
        self._batches.append(found)

    def open(self, value: bytes, offset: int) -> bool:
        """A JSON object from the file; False: it is none."""
        self.offset = offset
        try:
            keys = _object.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        self._open(value, keys, Origin(""))
        return True

    def document(self, value: bytes | Raw, origin: Origin) -> None:
        try:
            keys = _object.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.refuse("not_json" if bytes(value)[:1] == b"{" else "not_audit_event")
            return
        self._open(value, keys, origin)

    def _open(self, value: bytes | Raw, keys: Keys, origin: Origin) -> None:
        if self._depth >= LAYERS_MAX:
            self.refuse("too_many_layers")
            return
        outer, self._itself = self._itself, value
        self._depth += 1
        for each in FORMATS:
            if each.matches(keys):
                each.open(keys, self, origin)
                break
        else:
            self.refuse("not_audit_event")
        self._depth -= 1
        self._itself = outer

    def itself(self, origin: Origin) -> None:
        """The object that is being opened is an event."""
        self.line(bytes(self._itself), self.offset, origin)

    def text(self, text: str | bytes, origin: Origin) -> None:
        line = (text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text).strip()
        if line.startswith(_EVENT_STARTS):
            if line.endswith(b"}"):
                self.line(line, self.offset, origin)
            else:
                self._cut(line, origin)
        elif line.startswith(b"{"):
            self.document(line, origin)
        elif prefixed.LEGACY in line:
            self.refuse("no_annotations_format")
        elif self._depth < LAYERS_MAX and (at := prefixed.event_in(line)) > 0:
            self._depth += 1
            time = prefixed.time_in(line[:at])
            self.text(line[at:], Origin(origin.format or "prefixed", origin.cluster, time or origin.time))
            self._depth -= 1
        else:
            self.refuse("not_audit_text")

    def part(self, stream: str, text: bytes, *, final: bool, origin: Origin) -> None:
        held = self._parts.get(stream)
        if not final and held is None and text.endswith(b"}") and _whole(text):
            final = True
        if held is None:
            if final:
                self.text(text, origin)
                return
            held = self._parts[stream] = (self.offset, [], origin)
        held[1].append(text.removesuffix(b"\n"))
        if final:
            self._join(stream)
        elif sum(map(len, held[1])) > PACKED_MAX:
            del self._parts[stream]
            self.refuse("oversize_line")

    def _join(self, stream: str) -> None:
        offset, parts, origin = self._parts.pop(stream)
        here, self.offset = self.offset, offset
        self.text(b"".join(parts), origin)
        self.offset = here

    def finish(self) -> None:
        """The file has ended: what waits for its other parts is cut."""
        for stream in list(self._parts):
            self._join(stream)

    def event(self, event: Event, origin: Origin) -> None:
        if not events.is_event(event):
            self.refuse("not_audit_event")
            return
        self._record(Record(self.offset, events.normal(event)), origin)

    def _record(self, record: Record, origin: Origin) -> None:
        self.recognised += 1
        last = self._batches[-1] if self._batches else None
        if isinstance(last, Events) and last.format == origin.format and last.cluster == origin.cluster:
            last.records.append(record)
        else:
            self._batches.append(Events(self.file, origin.format or NATIVE, [record], origin.cluster))

    def _cut(self, line: bytes, origin: Origin) -> None:
        self.refuse("cut_event")
        event = events.salvage(line)
        if event is not None:
            event.request_received_timestamp = origin.time
            self._record(Record(self.offset, event, cut=True), origin)

    def packed(self, data: bytes, origin: Origin) -> None:
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text = unpack.decompress(data, PACKED_MAX)
        except zlib.error:
            self.refuse("broken_gzip")
            return
        if unpack.unconsumed_tail:
            self.refuse("decompression_bomb")
        elif not unpack.eof:
            self.refuse("incomplete_gzip")
        else:
            self.document(text.strip(), origin)

    def refuse(self, reason: str) -> None:
        self._unreadable.add(reason, self.file, self.offset)


def _whole(text: bytes) -> bool:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
