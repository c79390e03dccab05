"""What the reviews of one policy in one namespace add up to, write by write in the order of time.

Knows facts and what was found in them; not who found it, nor what follows.
"""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from webhook.audit.fact import Fact
from webhook.audit.verdict import LastViolation, Outcome


class Found(Struct, frozen=True):
    """What a review says of one policy; all false: it passed."""

    violated: bool = False
    error: bool = False
    exempted: bool = False
    not_comparable: bool = False


class Evidence:
    """What reviews of one policy in one namespace (and version) have shown."""

    __slots__ = ("counts", "exempt", "last", "open", "snapshots", "trials", "unresolved")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.open: set[tuple[str, str]] = set()
        """(root, part of it) whose latest reviewed write would be denied."""
        self.exempt: set[tuple[str, str]] = set()
        self.unresolved: set[str] = set()
        """Parts of violating writes whose workload is unknown: no later write can be told to repair them."""
        self.trials: dict[str, tuple[int, set[str]]] = {}
        self.last: LastViolation | None = None
        self.snapshots: set[str] = set()

    def add(self, time: int, fact: Fact, found: Found) -> None:
        self.counts["reviewed"] += 1
        if fact.review is not None and fact.review.snapshot:
            self.snapshots.add(fact.review.snapshot)
        if found.not_comparable:
            self.counts["not_comparable"] += 1
            return
        own, hashes = self.trials.get(fact.root, (0, set()))
        if fact.trial:
            hashes.add(fact.trial)
        elif not fact.by_controller or not own:
            own += 1
        self.trials[fact.root] = own, hashes
        self.judge(time, fact, found)

    def judge(self, time: int, fact: Fact, found: Found) -> None:
        """Whether the workload is open from now on. Violations count also where coverage has a gap."""
        where = (fact.root, _part(fact))
        if found.violated:
            self.counts["errors" if found.error else "violations"] += 1
            self.last = LastViolation(time, fact.root)
            self.exempt.discard(where)
            (self.open.add(where) if fact.root else self.unresolved.add(where[1]))
        elif found.exempted:
            self.counts["exempted"] += 1
            self.open.discard(where)
            self.exempt.add(where)
        else:
            self.open.discard(where)
            self.exempt.discard(where)

    def forget(self, root: str | None) -> None:
        """The workload (None: the namespace) is gone."""
        for held in (self.open, self.exempt):
            held -= {where for where in held if root in (None, where[0])}
        if root is None:
            self.unresolved.clear()

    @property
    def k(self) -> int:
        return len({root for root, _ in self.open}) + len(self.unresolved)

    @property
    def n(self) -> int:
        """A roll-out writes the root, its ReplicaSet and its pods: one change, so the larger number and not the sum."""
        return sum(max(own, len(hashes)) for own, hashes in self.trials.values())


def _part(fact: Fact) -> str:
    """What of a workload a write is about: that a pod is fit says nothing of its Deployment, nor of a delete."""
    return f"{fact.resource}/{fact.subresource}{' delete' if fact.operation == 'DELETE' else ''}"


class Tally:
    """Everything of one policy in one namespace: evidence by version of the standards, and what is no evidence."""

    __slots__ = ("before", "gaps", "versions")

    def __init__(self) -> None:
        self.gaps: Counter[Outcome] = Counter()
        self.before = 0
        self.versions: dict[str, Evidence] = {}
