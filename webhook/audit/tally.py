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

    __slots__ = (
        "_faulty",
        "_fit",
        "_newest",
        "counts",
        "exempt",
        "last",
        "left",
        "open",
        "snapshots",
        "trials",
        "unresolved",
    )

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.open: dict[tuple[str, str], tuple[str, int]] = {}
        """(root, part of it) whose latest reviewed write would be denied → (state of the template, when)."""
        self.left: dict[tuple[str, str, str], int] = {}
        """(root, part of it, old state of its template) → when it was last seen to violate. The root itself has been
        mended since: nothing that it makes from now on is like that, and what is left of it drains by itself. But
        until then enforcement would refuse writes to it."""
        self.exempt: set[tuple[str, str]] = set()
        self.unresolved: set[str] = set()
        """Parts of violating writes whose workload is unknown: no later write can be told to repair them."""
        self.trials: dict[str, tuple[int, set[str]]] = {}
        self.last: LastViolation | None = None
        self.snapshots: set[str] = set()
        self._faulty: set[str] = set()
        """Roots of which something has violated."""
        self._fit: set[str] = set()
        """Those among them whose own latest reviewed write passed: what passed before has mended nothing."""
        self._newest: dict[str, dict[str, None]] = {}
        """Root → the states of its template, in the order in which they came up."""

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
        if fact.trial in TELLS_NOTHING:
            self._own(where, fact, fit=not found.violated)
        else:
            self._newest.setdefault(fact.root, {}).setdefault(fact.trial)
        if found.violated:
            self.counts["errors" if found.error else "violations"] += 1
            self.exempt.discard(where)
            self._faulty.add(fact.root)
            if self._is_left(fact):
                self.left[*where, fact.trial] = time
                return
            self.last = LastViolation(time, fact.root)
            if fact.root:
                self.open[where] = fact.trial, time
            else:
                self.unresolved.add(where[1])
            return
        self.open.pop(where, None)
        self.left.pop((*where, fact.trial), None)
        if found.exempted:
            self.counts["exempted"] += 1
            self.exempt.add(where)
        else:
            self.exempt.discard(where)

    def _own(self, where: tuple[str, str], fact: Fact, *, fit: bool) -> None:
        """What the workload itself says goes before what was made of it (as in `tickets.settle`)."""
        if fact.trial or fact.subresource or not fact.root or fact.operation not in ("CREATE", "UPDATE"):
            return
        if not fit:
            self._fit.discard(fact.root)
            return
        if fact.root in self._faulty:
            self._fit.add(fact.root)
        made = [each for each, (trial, _) in self.open.items() if each[0] == fact.root and trial not in TELLS_NOTHING]
        for each in made:
            trial, time = self.open.pop(each)
            self.left[*each, trial] = time

    def _is_left(self, fact: Fact) -> bool:
        """Whether it is of a template that the workload has no more: it is mended, and a newer one has come up."""
        if fact.trial in TELLS_NOTHING or fact.root not in self._fit:
            return False
        return next(reversed(self._newest[fact.root])) != fact.trial

    def forget(self, root: str | None) -> None:
        """The workload (None: the namespace) is gone."""
        for where in [each for each in self.open if root in (None, each[0])]:
            del self.open[where]
        for left in [each for each in self.left if root in (None, each[0])]:
            del self.left[left]
        self.exempt -= {where for where in self.exempt if root in (None, where[0])}
        if root is None:
            self.unresolved.clear()

    def drained(self, root: str, trial: str) -> None:
        """What was made of that state of the template is gone."""
        for left in [each for each in self.left if (each[0], each[2]) == (root, trial)]:
            del self.left[left]

    @property
    def k(self) -> int:
        return len({root for root, _ in self.open}) + len(self.unresolved)

    def superseded(self, *, since: int = 0) -> int:
        """Mended workloads with something left that still violates, and did so at `since` or later."""
        return len(
            {root for (root, _, _), time in self.left.items() if time >= since} - {root for root, _ in self.open}
        )

    @property
    def n(self) -> int:
        """A roll-out writes the root, its ReplicaSet and its pods: one change, so the larger number and not the sum."""
        return sum(max(own, len(hashes)) for own, hashes in self.trials.values())


TELLS_NOTHING = ("", "template", "?")
"""Trials that do not name one state of a template: those of the workload itself, and where no hash is known."""


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
