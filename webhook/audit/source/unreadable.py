"""What could not be read: counted by reason, with the first places of each, and what to do about it.

Knows nothing of files or formats: whoever meets something unreadable says so here.
"""

from __future__ import annotations

from collections import Counter

import msgspec

EXAMPLES = 5
"""How many places are remembered for each kind of trouble; all are counted."""

MEANING = {
    "admission_review": "a recorded AdmissionReview is no audit event: replay it with `wouldblock review`",
    "broken_gzip": "damaged; everything before that place was read",
    "broken_zip": "damaged, or not a zip file",
    "broken_zstd": "damaged; everything before that place was read",
    "changed_while_read": "the file shrank or was rewritten meanwhile: read it again",
    "control_message": "a CloudWatch health check, without events",
    "cut_event": "cut off on the way: its annotations are lost, and it counts as a write of which nothing is known",
    "decompression_bomb": "unpacks to more than 1,000 times its size: not read further",
    "encrypted_zip": "encrypted: unpack it first",
    "incomplete_gzip": "ends before its end; what is there was read",
    "incomplete_last_line": "half-written, as the last line of a live log may be",
    "incomplete_zstd": "ends before its end; what is there was read",
    "invalid_utf8": "not UTF-8; what is not was replaced, and the event was read",
    "no_annotations_format": "the legacy text format has no annotations: use --audit-log-format=json",
    "no_time": "says neither requestReceivedTimestamp nor timestamp",
    "not_audit_event": "JSON, but no audit event of the API server",
    "not_audit_text": "a line of something else, such as the API server's own log",
    "not_json": "neither JSON nor a known prefix before it",
    "otlp_protobuf": "OTLP in protobuf: export it as JSON",
    "oversize_line": "longer than any event can be: skipped to its end",
    "too_many_layers": "packed more than three times over: unpack it first",
    "truncated_in_place": "emptied while it was followed: what was written just before may be lost",
    "zstd_not_installed": "zstandard is missing: pip install 'wouldblock[audit]'",
}
"""Reason → what it means and what to do. Reasons that are not in it say it themselves."""


class Place(msgspec.Struct, frozen=True):
    """Where something could not be read. `offset` counts bytes from 0, in the unpacked text of a packed file."""

    file: str
    offset: int

    def __str__(self) -> str:
        return f"{self.file} at byte {self.offset}"


class Unreadable:
    """What could not be read: how often, by reason, and the first places of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[Place]] = {}

    def add(self, reason: str, file: str, offset: int) -> None:
        self.counts[reason] += 1
        places = self.places.setdefault(reason, [])
        if len(places) < EXAMPLES:
            places.append(Place(file, offset))

    def merge(self, other: Unreadable) -> None:
        """Takes over what another reader, of later parts of the logs, could not read."""
        self.counts.update(other.counts)
        for reason, places in other.places.items():
            mine = self.places.setdefault(reason, [])
            mine.extend(places[: EXAMPLES - len(mine)])

    def __bool__(self) -> bool:
        return bool(self.counts)
