"""After `promote`: what was predicted against what was refused, and why they differ.

A prediction is how a workload stood with a policy just before enforcement began; what came true are the refusals since.
Nothing is guessed: a difference is a *wrong* prediction only where the log shows that the very template that had passed
was refused, or that a write with our finding was accepted where the policy is enforced. Every other difference has the
first cause that applies. Knows the views of the facts table; no files, no output.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from webhook.audit.report.figures import Time
from webhook.audit.report.standing import Catalogue, Combination, Root, Standing, at, standings
from webhook.audit.subject import POD_SECURITY
from webhook.policy import SetRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA = "wouldblock.dev/compare/v1"
MAX_AGE = datetime.timedelta(days=30)
"""How old the last review of a workload may be to say anything of it."""

Kind = Literal["not predicted", "did not come"]
CAUSES: Mapping[str, str] = {
    "same_template": "the very template that was refused had been reviewed without a finding: the prediction was wrong",
    "accepted": "accepted with our finding, where the policy is enforced: the prediction was wrong",
    "changed_since": "it had passed; what was refused is another state of it",
    "new_workload": "nothing of it was in the log before",
    "policy_changed": "it was reviewed by another version of the policy",
    "blind_before": "its last write before was not reviewed",
    "exempted": "an exemption covered its finding: enforcement knows none",
    "not_comparable": "our verdict on it was marked as not comparable with the API server's",
    "expired_evidence": "its last review was too long before the refusal",
    "other_scope": "it had been written, but nothing that the policy is about",
    "unknown_workload": "the log does not name the workload",
    "other_denial_first": "something else refused it first",
    "not_enforced": "the log shows no refusal by the policy in this namespace before it: it may not have been in force",
    "mended": "it was mended: reviewed since without a finding",
    "deleted": "it was deleted",
    "blind_since": "it was written since, but not reviewed",
}
WRONG = ("same_template", "accepted")


class Difference(Struct, frozen=True, kw_only=True):
    """One workload with which a policy did not do what was predicted."""

    kind: Kind
    cause: str
    """A key of `CAUSES`."""
    policy: str
    cluster: str
    namespace: str
    workload: str
    """`Deployment/web`; empty when the log does not name it."""
    time: Time
    """Of the refusal, or of the write that was not refused."""
    audit_id: str
    message: str = ""
    client: str = ""
    before: Time | None = None
    """When it was last reviewed before."""

    @property
    def wrong(self) -> bool:
        return self.cause in WRONG


class Row(Struct, frozen=True, kw_only=True):
    """One policy in one namespace. Workloads, not writes."""

    policy: str
    cluster: str
    namespace: str
    predicted: int = 0
    """Would have been refused, as last written before."""
    refused: int = 0
    """Were refused since."""
    as_predicted: int = 0
    untested: int = 0
    """Of `predicted`: nothing that the policy is about was written of them since, so nothing is proven."""
    differences: int = 0
    wrong: int = 0


class Comparison(Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    since: Time
    end: Time | None
    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in self.differences)


Key = tuple[Root, str]
"""(workload, policy)."""


def compare(
    facts: DuckDBPyConnection,
    sets: Sequence[SetRecord],
    *,
    since: Time,
    policies: Iterable[str] = (),
    max_age: datetime.timedelta = MAX_AGE,
) -> Comparison:
    """Of these policies; of all that are known or found something before `since`, when none are named."""
    catalogue = Catalogue(sets)
    with _window(facts, before=since):
        predicted = {(each.root, each.policy): each for each in standings(facts, catalogue)}
    wanted = set(policies) or {*catalogue.policies, *(policy for _, policy in predicted)}
    predicted = {key: each for key, each in predicted.items() if key[1] in wanted}
    return _Comparer(facts, sets, catalogue, predicted, since, wanted, max_age).comparison()


class _Refusal(Struct, frozen=True):
    """The first refusal of a workload by a policy. `trials`: what was refused of it since."""

    time: Time
    audit_id: str
    message: str
    client: str
    trials: frozenset[str]


class _Write(Struct, frozen=True):
    combination: Combination
    time: Time
    audit_id: str
    client: str
    result: str
    set_digest: str
    trial: str
    request: int


class _Comparer:
    def __init__(
        self,
        facts: DuckDBPyConnection,
        sets: Sequence[SetRecord],
        catalogue: Catalogue,
        predicted: Mapping[Key, Standing],
        since: Time,
        wanted: set[str],
        max_age: datetime.timedelta,
    ) -> None:
        self.catalogue = catalogue
        self.predicted = predicted
        self.since = since
        self.max_age = max_age
        self.versions = {(policy.id, each.digest): policy.digest for each in sets for policy in each.policies}
        self.refusals, self.others = _refusals(facts, since, wanted)
        roots = {root for root, _ in (*self.refusals, *self._open())}
        self.before, self.after = _writes(facts, roots, since)
        self.found = _found(facts)
        self.enforced = _enforced(facts, since, wanted)
        row = facts.execute("SELECT epoch_us(max(time)) FROM facts").fetchone()
        self.end = at(row[0]) if row and row[0] is not None else None

    def comparison(self) -> Comparison:
        differences = [each for key in self.refusals if (each := self._unpredicted(key)) is not None]
        untested: set[Key] = set()
        for key in self._open():
            if key in self.refusals:
                continue
            difference = self._missing(key)
            if difference is None:
                untested.add(key)
            else:
                differences.append(difference)
        differences.sort(
            key=lambda each: (not each.wrong, each.policy, each.cluster, each.namespace, each.workload, each.kind)
        )
        return Comparison(
            since=self.since,
            end=self.end,
            rows=tuple(self._rows(differences, untested)),
            differences=tuple(differences),
        )

    def _open(self) -> list[Key]:
        return [key for key, each in self.predicted.items() if each.found is not None and each.found.blocked]

    def _unpredicted(self, key: Key) -> Difference | None:
        """None when the refusal was predicted."""
        standing = self.predicted.get(key)
        if standing is not None and standing.found is not None and standing.found.blocked:
            return None
        refusal = self.refusals[key]
        reviews = [each for each in self._about(key, self.before) if each.result == "reviewed"]
        last = max((each.time for each in reviews), default=None)
        return self._difference("not predicted", self._why(key, refusal, reviews), key, refusal, before=last)

    def _why(self, key: Key, refusal: _Refusal, reviews: Sequence[_Write]) -> str:
        root, policy = key
        standing = self.predicted.get(key)
        if not root[3]:
            return "unknown_workload"
        if standing is not None and (
            standing.workload.status == "exempted" or (standing.found is None and standing.exempted)
        ):
            return "exempted"
        if standing is not None and standing.found is None and standing.not_comparable:
            return "not_comparable"
        if not self.before.get(root):
            return "new_workload"
        about = self._about(key, self.before)
        if not about:
            return "other_scope"
        if max(about, key=lambda each: each.time).result != "reviewed":
            return "blind_before"
        now = self.catalogue.policies.get(policy)
        of_now = [each for each in reviews if now and self.versions.get((policy, each.set_digest)) == now.digest]
        if now is not None and not of_now:
            known = any((policy, each.set_digest) in self.versions for each in reviews)
            return "policy_changed" if known else "blind_before"
        if refusal.time - max(each.time for each in reviews) > self.max_age:
            return "expired_evidence"
        passed = {each.trial for each in of_now if (each.time, each.request, policy) not in self.found} - {""}
        return "same_template" if passed & refusal.trials else "changed_since"

    def _missing(self, key: Key) -> Difference | None:
        """Why a predicted refusal did not come; None when nothing was written that could have been refused."""
        (cluster, namespace, *_), policy = key
        other = self.others.get(key[0])
        writes = self._about(key, self.after)
        if policy.startswith(POD_SECURITY):
            # Enforcement refuses pods; what makes them is only warned of.
            writes = [each for each in writes if each.combination[2] == "pods"]
        gone = [each for each in self.after.get(key[0], ()) if each.combination[4] == "DELETE"]
        if not writes:
            if other is not None:
                return self._difference("did not come", "other_denial_first", key, other)
            return self._difference("did not come", "deleted", key, gone[-1]) if gone else None
        violating = [each for each in writes if (each.time, each.request, policy) in self.found]
        if violating:
            begin = self.enforced.get((cluster, namespace, policy))
            last = violating[-1]
            enforced = begin is not None and begin <= last.time
            return self._difference("did not come", "accepted" if enforced else "not_enforced", key, last)
        latest = max(writes, key=lambda each: each.time)
        mended = latest.result == "reviewed" and (policy, latest.set_digest) in self.catalogue.held
        return self._difference("did not come", "mended" if mended else "blind_since", key, latest)

    def _about(self, key: Key, writes: Mapping[Root, Sequence[_Write]]) -> list[_Write]:
        """Those that the policy looks at; all but deletes where its rules are not known."""
        root, policy = key
        return [
            each
            for each in writes.get(root, ())
            if self.catalogue.about(policy, each.combination)
            or (policy not in self.catalogue.policies and each.combination[4] != "DELETE")
        ]

    def _difference(
        self, kind: Kind, cause: str, key: Key, seen: _Refusal | _Write, before: Time | None = None
    ) -> Difference:
        (cluster, namespace, name_kind, name, _), policy = key
        standing = self.predicted.get(key)
        if before is None and standing is not None and standing.found is not None:
            before = standing.found.last
        return Difference(
            kind=kind,
            cause=cause,
            policy=policy,
            cluster=cluster,
            namespace=namespace,
            workload=f"{name_kind}/{name}" if name else "",
            time=seen.time,
            audit_id=seen.audit_id,
            message=seen.message if isinstance(seen, _Refusal) else "",
            client=seen.client,
            before=before,
        )

    def _rows(self, differences: Sequence[Difference], untested: set[Key]) -> Iterator[Row]:
        opened = set(self._open())
        places: dict[tuple[str, str, str], list[Key]] = {}
        for key in {*self.refusals, *opened}:
            places.setdefault((key[1], key[0][0], key[0][1]), []).append(key)
        for (policy, cluster, namespace), keys in sorted(places.items()):
            here = [
                each
                for each in differences
                if (each.policy, each.cluster, each.namespace) == (policy, cluster, namespace)
            ]
            yield Row(
                policy=policy,
                cluster=cluster,
                namespace=namespace,
                predicted=sum(key in opened for key in keys),
                refused=sum(key in self.refusals for key in keys),
                as_predicted=sum(key in opened and key in self.refusals for key in keys),
                untested=sum(key in untested for key in keys),
                differences=len(here),
                wrong=sum(each.wrong for each in here),
            )


@contextmanager
def _window(facts: DuckDBPyConnection, *, before: Time) -> Iterator[None]:
    """Within it the views hold only what came before."""
    names = ("facts", "writes", "findings", "blind")
    for name in names:
        facts.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM memory.main.{name} "  # noqa: S608 - our own names
            f"WHERE time < make_timestamptz({_micros(before)})"
        )
    try:
        yield
    finally:
        for name in names:
            facts.execute(f"DROP VIEW temp.{name}")


def _micros(time: Time) -> int:
    return int((time - at(0)) / datetime.timedelta(microseconds=1))


_ROOT = "cluster, namespace, root_kind, root_name, CASE WHEN root_name = '' THEN resource ELSE '' END"


def _refusals(
    facts: DuckDBPyConnection, since: Time, wanted: set[str]
) -> tuple[dict[Key, _Refusal], dict[Root, _Refusal]]:
    """(refusals by what is compared, the first refusal of each workload by anything else)."""
    rows = facts.execute(
        f"SELECT {_ROOT}, policy, epoch_us(min(time)), arg_min(audit_id, time), arg_min(message, time),"  # noqa: S608
        " arg_min(client, time), list(DISTINCT trial) FROM findings"
        " WHERE source = 'denial' AND NOT dry_run AND time >= make_timestamptz(?) GROUP BY ALL ORDER BY ALL",
        [_micros(since)],
    ).fetchall()
    known: dict[Key, _Refusal] = {}
    others: dict[Root, _Refusal] = {}
    for *root, policy, time, audit_id, message, client, trials in rows:
        refusal = _Refusal(at(time), audit_id, message, client, frozenset(trials))
        key: Root = tuple(root)
        if policy in wanted:
            known[key, policy] = refusal
        if key not in others or refusal.time < others[key].time:
            others[key] = refusal
    return known, others


def _writes(
    facts: DuckDBPyConnection, roots: set[Root], since: Time
) -> tuple[dict[Root, list[_Write]], dict[Root, list[_Write]]]:
    """(before, since) → the accepted writes of these workloads, in the order of time."""
    before: dict[Root, list[_Write]] = {}
    after: dict[Root, list[_Write]] = {}
    facts.execute(
        "CREATE OR REPLACE TEMP TABLE compare_root (cluster VARCHAR, namespace VARCHAR, kind VARCHAR, name VARCHAR)"
    )
    columns: list[list[Any]] = [list(each) for each in zip(*{root[:4] for root in roots}, strict=True)]
    facts.execute(
        "INSERT INTO compare_root SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]),"
        " unnest(?::VARCHAR[])",
        columns or [[], [], [], []],
    )
    rows = facts.execute(
        f'SELECT {_ROOT}, "group", version, resource, subresource, operation, epoch_us(time), audit_id, client, result,'  # noqa: S608
        " set_digest, trial, request FROM writes SEMI JOIN compare_root AS root ON writes.cluster = root.cluster"
        " AND writes.namespace = root.namespace AND root_kind = root.kind AND root_name = root.name"
        " WHERE NOT rejected AND NOT dry_run AND time IS NOT NULL ORDER BY time, request"
    ).fetchall()
    for row in rows:
        root: Root = row[:5]
        write = _Write(row[5:10], at(row[10]), *row[11:])
        (before if write.time < since else after).setdefault(root, []).append(write)
    return before, after


def _found(facts: DuckDBPyConnection) -> set[tuple[Time, int, str]]:
    """(time, request, policy) of every violation of ours among the writes of interest."""
    rows = facts.execute(
        "SELECT epoch_us(time), request, policy FROM findings SEMI JOIN compare_root AS root"
        " ON findings.cluster = root.cluster AND findings.namespace = root.namespace AND root_kind = root.kind"
        " AND root_name = root.name WHERE result IN ('violation', 'error') AND source <> 'denial' AND time IS NOT NULL"
    ).fetchall()
    return {(at(time), request, policy) for time, request, policy in rows}


def _enforced(facts: DuckDBPyConnection, since: Time, wanted: set[str]) -> dict[tuple[str, str, str], Time]:
    """(cluster, namespace, policy) → from when on the log shows it enforced there: by a refusal, or by the API server's
    own word on Pod Security."""
    after = [_micros(since)]
    rows = facts.execute(
        "SELECT cluster, namespace, policy, epoch_us(min(time)) FROM findings"
        " WHERE source = 'denial' AND NOT dry_run AND time >= make_timestamptz(?) GROUP BY ALL",
        after,
    ).fetchall()
    rows += [
        (cluster, namespace, POD_SECURITY + level, time)
        for cluster, namespace, enforced, time in facts.execute(
            "SELECT cluster, namespace, split_part(enforced, ':', 1), epoch_us(min(time)) FROM writes"
            " WHERE enforced <> '' AND time >= make_timestamptz(?) GROUP BY ALL",
            after,
        ).fetchall()
        for level in (("baseline", "restricted") if enforced == "restricted" else (enforced,))
    ]
    begins: dict[tuple[str, str, str], Time] = {}
    for cluster, namespace, policy, time in rows:
        if policy in wanted:
            key = cluster, namespace, policy
            begins[key] = min(begins.get(key, at(time)), at(time))
    return begins
