"""Events → facts: one row for each stage of a write, small enough to keep, and everything that could not be seen.

A row is twenty bytes: when, which request, and the number of its `Fact`, which is shared by all writes that say the
same. So a log of any size is read once, in any order, and sorted, de-duplicated and judged afterwards. Knows nothing of
which policy is to be judged.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from webhook.audit.fact import Fact, weight
from webhook.audit.reading import NOTHING_OF_OURS, Interest, Reading, Write
from webhook.audit.source import Unreadable

_HOUR = 3_600_000_000
REGISTRATION = "admissionregistration.k8s.io"


class Registration(Struct, frozen=True, order=True):
    """A write to what decides who may review: the evidence is as strong as the right to make these."""

    time: int
    verb: str
    resource: str
    name: str
    user: str


class Facts:
    """Rows of all stages of all writes, and what was counted on the way."""

    def __init__(self) -> None:
        self.table: list[Fact] = []
        self.times = array("q")
        """Microseconds since the epoch."""
        self.requests = array("Q")
        """64-bit hash of `auditID`: with the time it names a request."""
        self.which = array("L")
        """Index in `table`."""
        self.cut: list[tuple[int, int]] = []
        """(request, index in `table`) of writes whose time was cut off with their annotations."""
        self.counts: Counter[str] = Counter()
        self.minutes: set[bytes] = set()
        """Minutes in which the log says anything at all, `2026-11-24T21:43`."""
        self.server_minors: set[int] = set()
        self.registrations: dict[tuple[int, int], Registration] = {}
        self.own_seen = False
        """Whether anything of ours is in the log."""

    def merge(self, other: Facts) -> None:
        """Takes over what another collector made of other parts of the log."""
        numbers = {fact: number for number, fact in enumerate(self.table)}
        moved = array("L")
        for fact in other.table:
            number = numbers.get(fact)
            if number is None:
                number = numbers[fact] = len(self.table)
                self.table.append(fact)
            moved.append(number)
        self.times.extend(other.times)
        self.requests.extend(other.requests)
        self.which.extend(array("L", map(moved.__getitem__, other.which)))
        self.cut += [(request, moved[which]) for request, which in other.cut]
        self.counts.update(other.counts)
        self.minutes |= other.minutes
        self.server_minors |= other.server_minors
        self.registrations |= other.registrations
        self.own_seen = self.own_seen or other.own_seen

    def rows(self) -> Iterator[tuple[int, Fact]]:
        """(microseconds, fact) of each write once, in the order of time. The stage that says most speaks for it."""
        best: Fact | None = None
        previous = (0, 0)
        for i in self._in_order():
            fact, request = self.table[self.which[i]], (self.times[i], self.requests[i])
            if best is not None and request == previous:
                best = _better(best, fact)
                continue
            if best is not None:
                yield previous[0], best
            best, previous = fact, request
        if best is not None:
            yield previous[0], best

    def _in_order(self) -> Iterator[int]:
        """Positions of the rows by time and request; sorted an hour at a time, to hold little at once."""
        hours: dict[int, array[int]] = {}
        for i, time in enumerate(self.times):
            hours.setdefault(time // _HOUR, array("L")).append(i)
        for hour in sorted(hours):
            yield from sorted(hours.pop(hour), key=lambda i: (self.times[i], self.requests[i]))

    def cut_rows(self) -> list[Fact]:
        """Cut writes of which no whole event is in the log, each once."""
        if not self.cut:
            return []
        whole = set(self.requests)
        best: dict[int, Fact] = {}
        for request, which in self.cut:
            if request not in whole:
                fact = self.table[which]
                best[request] = _better(best.get(request, fact), fact)
        return list(best.values())


def _better(one: Fact, other: Fact) -> Fact:
    """The fact that says more; the choice does not depend on the order."""
    return one if one == other else max(one, other, key=lambda fact: (weight(fact), msgspec.json.encode(fact)))


class Collector(Reading):
    """Reads lines into `facts`."""

    def __init__(self, *, interest: Interest, is_ours: Callable[[str], bool], unreadable: Unreadable) -> None:
        super().__init__(interest=interest, is_ours=is_ours, unreadable=unreadable)
        self.facts = Facts()
        self.facts.counts, self.facts.minutes, self.facts.server_minors = self.counts, self.minutes, self.server_minors
        self._index: dict[Fact, int] = {}

    def _keep(self, write: Write) -> None:
        facts, fact = self.facts, write.fact
        facts.own_seen = facts.own_seen or write.own is not NOTHING_OF_OURS
        if write.time is None:
            facts.cut.append((write.request, self._number(fact)))
            return
        facts.times.append(write.time)
        facts.requests.append(write.request)
        facts.which.append(self._number(fact))
        ref = write.event.object_ref
        if ref is not None and ref.api_group == REGISTRATION and fact.rank and not (fact.rejected or fact.dry_run):
            user = write.event.user.username if write.event.user is not None else ""
            facts.registrations[write.time, write.request] = Registration(
                write.time, write.event.verb, ref.resource, ref.name or "(collection)", user
            )

    def _number(self, fact: Fact) -> int:
        number = self._index.get(fact)
        if number is None:
            number = self._index[fact] = len(self.facts.table)
            self.facts.table.append(fact)
        return number


__all__ = ["REGISTRATION", "Collector", "Facts", "Interest", "Registration"]
