"""What sources give: audit events, with where they were. The seam between export formats and facts.

`Collector.add` (`facts`) takes `Lines` of a raw log, which are mostly never parsed; `Collector.add_events` takes what
was taken out of an envelope.
"""

from __future__ import annotations

import msgspec

from webhook.audit.events import Event


class Record(msgspec.Struct):
    """One audit event as an export holds it. `offset` counts bytes from 0 in the (unpacked) text of the file."""

    offset: int
    event: Event
    cut: bool = False
    """Only its beginning survived: annotations are lost, and times if the envelope has none."""


class Events(msgspec.Struct):
    """Records of one file, all of one export format."""

    file: str
    format: str
    """Id of the format, such as `eks-cloudwatch`."""
    records: list[Record]
    cluster: str = ""
    """What the export says of the cluster; empty when it says nothing."""
