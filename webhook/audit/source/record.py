"""What sources give: lines that hold one event each, and events that were taken out of an envelope.

The seam between export formats and facts: `Collector.add` (`facts`) takes both.
"""

from __future__ import annotations

import msgspec

from webhook.audit.events import Event

NATIVE = "native"
"""Id of the format in which the API server itself writes."""


class Lines(msgspec.Struct):
    """Lines of one file that hold an audit event in the API server's JSON, or should.

    They may come from anywhere in the file: an event is a line of its own in a raw log, and a string in many
    envelopes. What nobody asked for may be left out: then it is counted here.
    """

    file: str
    offset: int
    """Of the first line, in bytes from 0 in the unpacked text of the file."""
    lines: list[bytes]
    """Without their newlines."""
    open_end: bool = False
    """The last line ended with the file, not with a newline: it may be half-written."""
    offsets: list[int] | None = None
    """Of each line; None: they follow one another, each with a newline."""
    format: str = NATIVE
    cluster: str = ""
    """What the export says of the cluster; empty when it says nothing."""
    sifted: bool = False
    """Each is an event that somebody wants: nobody has to glance at it again."""
    reads: int = 0
    """Events that were left out because they only read."""
    others: int = 0
    """Writes that were left out because nobody wants what they are about."""
    minutes: set[bytes] = msgspec.field(default_factory=set)
    """Minutes of the events that were left out, `2026-11-24T21:43`."""
    server_minors: set[int] = msgspec.field(default_factory=set)
    """Minor versions of the control plane that they give away."""

    def places(self) -> list[tuple[int, bytes]]:
        """(offset, line) of each."""
        if self.offsets is not None:
            return list(zip(self.offsets, self.lines, strict=True))
        found = []
        offset = self.offset
        for line in self.lines:
            found.append((offset, line))
            offset += len(line) + 1
        return found


class Record(msgspec.Struct):
    """One audit event as an export holds it. `offset` counts bytes from 0 in the unpacked text of the file."""

    offset: int
    event: Event
    cut: bool = False
    """Only its beginning survived: annotations are lost, and times if the envelope has none."""


class Events(msgspec.Struct):
    """Records of one file, all of one export format and one cluster."""

    file: str
    format: str
    """Id of the format, such as `eks-cloudwatch`."""
    records: list[Record]
    cluster: str = ""
    """What the export says of the cluster; empty when it says nothing."""
