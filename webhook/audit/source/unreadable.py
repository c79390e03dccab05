"""What could not be read: counted by reason, with the first places of each.

Knows nothing of files or formats: whoever meets something unreadable says so here.
"""

from __future__ import annotations

from collections import Counter

import msgspec

EXAMPLES = 5
"""How many places are remembered for each kind of trouble; all are counted."""


class Place(msgspec.Struct, frozen=True):
    """Where something could not be read. `offset` counts bytes from 0, in the decompressed text of a gzip file."""

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

    def __bool__(self) -> bool:
        return bool(self.counts)
