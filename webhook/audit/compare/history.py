"""What the log says of the time before and since: refusals, writes, from when on something is enforced, who changed it.

Questions to the views of the facts table and their answers, as values. Judges nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from webhook.audit.facts import REGISTRATION
from webhook.audit.report import queries
from webhook.audit.report.figures import Time
from webhook.audit.report.standing import Combination, Root, at
from webhook.audit.subject import POD_SECURITY
from webhook.audit.table import sums
from webhook.promote import SUFFIX

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Key = tuple[Root, str]
"""(workload, policy)."""


class Refusal(Struct, frozen=True):
    """The first refusal of a workload by a policy. `trials`: what was refused of it since."""

    time: Time
    audit_id: str
    message: str
    client: str
    trials: frozenset[str]


class Write(Struct, frozen=True):
    """An accepted write of a workload."""

    combination: Combination
    time: Time
    audit_id: str
    client: str
    result: str
    set_digest: str
    evaluated: str
    """Policies that our review evaluated: bits in the set's order, hexadecimal; empty when that is not known."""
    trial: str
    request: int

    def evaluates(self, position: int | None) -> bool:
        """Whether the policy at this place of the set was evaluated; true where that is not known."""
        return position is None or not self.evaluated or bool(int(self.evaluated, 16) >> position & 1)


class History:
    """All that is asked of the log."""

    def __init__(self, facts: DuckDBPyConnection, since: Time, wanted: set[str], opened: set[Root]) -> None:
        """`wanted`: the policies that are compared; `opened`: workloads of which a refusal was predicted."""
        self.refusals, self.others = _refusals(facts, since, wanted)
        roots = {root for root, _ in self.refusals} | opened
        self.before, self.after = _writes(facts, roots, since)
        self.found = _found(facts)
        """(time, request, policy) of every violation of ours among the writes of interest."""
        self.enforced = _enforced(facts, since, wanted)
        """(cluster, namespace, policy) → from when on the log shows it enforced there."""
        self._edits = _edits(facts, since)
        self._namespaces = _namespaces(facts)
        row = facts.execute("SELECT epoch_us(max(last)) FROM spans").fetchone()
        self.end = at(row[0]) if row and row[0] is not None else None

    def edited(self, cluster: str, policy: str, until: Time) -> bool:
        """Whether the policy or a binding of it was written between its first refusal and `until`."""
        return any(time <= until for time in self._edits.get((cluster, policy), ()))

    def namespace_written(self, cluster: str, namespace: str, since: Time, until: Time) -> bool:
        """Whether the Namespace was written in between."""
        return any(since < time <= until for time in self._namespaces.get((cluster, namespace), ()))


def in_force(facts: DuckDBPyConnection, since: Time, known: set[str]) -> set[str]:
    """Those of the policies that the log shows to refuse, or to have been put in force, since: by a refusal (also of a
    dry run), by Pod Security's own word, or by a write of the policy itself or of a binding that `promote` named."""
    after = [_micros(since)]
    found = {policy for _, _, policy in _enforced(facts, since, known)}
    rows = facts.execute(
        "SELECT DISTINCT policy FROM findings WHERE source = 'denial' AND time >= make_timestamptz(?)", after
    ).fetchall()
    rows += facts.execute(
        "SELECT DISTINCT regexp_replace(name, ?, '') FROM writes WHERE \"group\" = ? AND NOT rejected AND NOT dry_run"
        " AND resource IN ('validatingadmissionpolicies', 'validatingadmissionpolicybindings')"
        " AND operation <> 'DELETE' AND subresource = '' AND time >= make_timestamptz(?)",
        [f"{SUFFIX}(-cluster)?$", REGISTRATION, *after],
    ).fetchall()
    return found | ({name for (name,) in rows} & known)


@contextmanager
def window(facts: DuckDBPyConnection, *, before: Time) -> Iterator[None]:
    """Within it the views hold only what came before."""
    names = ("facts", "writes", "findings", "blind")
    facts.execute(queries.NO_CELLS)
    for name in names:
        facts.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM memory.main.{name} "  # noqa: S608 - our own names
            f"WHERE time < make_timestamptz({_micros(before)})"
        )
    # The day in which it ends is not whole.
    for statement in sums.views(make="CREATE OR REPLACE TEMP VIEW"):
        facts.execute(statement)
    try:
        yield
    finally:
        facts.execute(queries.NO_CELLS)
        for name in (*names, *sums.SUMS):
            facts.execute(f"DROP VIEW temp.{name}")


def _micros(time: Time) -> int:
    return int((time - at(0)) / datetime.timedelta(microseconds=1))


_ROOT = "cluster, namespace, root_kind, root_name, CASE WHEN root_name = '' THEN resource ELSE '' END"


def _refusals(
    facts: DuckDBPyConnection, since: Time, wanted: set[str]
) -> tuple[dict[Key, Refusal], dict[Root, Refusal]]:
    """(refusals by what is compared, the first refusal of each workload by anything else)."""
    rows = facts.execute(
        f"SELECT {_ROOT}, policy, epoch_us(min(time)), arg_min(audit_id, time), arg_min(message, time),"  # noqa: S608
        " arg_min(client, time), list(DISTINCT trial) FROM findings"
        " WHERE source = 'denial' AND NOT dry_run AND time >= make_timestamptz(?) GROUP BY ALL ORDER BY ALL",
        [_micros(since)],
    ).fetchall()
    known: dict[Key, Refusal] = {}
    others: dict[Root, Refusal] = {}
    for *root, policy, time, audit_id, message, client, trials in rows:
        refusal = Refusal(at(time), audit_id, message, client, frozenset(trials))
        key: Root = tuple(root)
        if policy in wanted:
            known[key, policy] = refusal
        if key not in others or refusal.time < others[key].time:
            others[key] = refusal
    return known, others


def _writes(
    facts: DuckDBPyConnection, roots: set[Root], since: Time
) -> tuple[dict[Root, list[Write]], dict[Root, list[Write]]]:
    """(before, since) → the accepted writes of these workloads, in the order of time."""
    before: dict[Root, list[Write]] = {}
    after: dict[Root, list[Write]] = {}
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
        " set_digest, evaluated, trial, request FROM writes SEMI JOIN compare_root AS root"
        " ON writes.cluster = root.cluster AND writes.namespace = root.namespace AND root_kind = root.kind"
        " AND root_name = root.name WHERE NOT rejected AND NOT dry_run AND time IS NOT NULL ORDER BY time, request"
    ).fetchall()
    for row in rows:
        root: Root = row[:5]
        write = Write(row[5:10], at(row[10]), *row[11:])
        (before if write.time < since else after).setdefault(root, []).append(write)
    return before, after


def _found(facts: DuckDBPyConnection) -> set[tuple[Time, int, str]]:
    rows = facts.execute(
        "SELECT epoch_us(time), request, policy FROM findings SEMI JOIN compare_root AS root"
        " ON findings.cluster = root.cluster AND findings.namespace = root.namespace AND root_kind = root.kind"
        " AND root_name = root.name WHERE result IN ('violation', 'error') AND source <> 'denial' AND time IS NOT NULL"
    ).fetchall()
    return {(at(time), request, policy) for time, request, policy in rows}


def _enforced(facts: DuckDBPyConnection, since: Time, wanted: set[str]) -> dict[tuple[str, str, str], Time]:
    """By a refusal, or by the API server's own word on Pod Security."""
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


def _edits(facts: DuckDBPyConnection, since: Time) -> dict[tuple[str, str], list[Time]]:
    """(cluster, policy) → when it or a binding of it was written, after it first refused something: until then the
    writes are those that put it in force. Bindings are known by what they have refused (also dry runs)."""
    rows = facts.execute(
        "WITH refused AS (SELECT cluster, policy, reason AS binding, min(time) AS begin FROM findings"
        " WHERE source = 'denial' AND time >= make_timestamptz(?) GROUP BY ALL),"
        " named AS (SELECT cluster, policy, policy AS name, min(begin) AS begin,"
        "  'validatingadmissionpolicies' AS resource FROM refused GROUP BY ALL"
        " UNION ALL SELECT cluster, policy, binding, begin, 'validatingadmissionpolicybindings' FROM refused)"
        " SELECT named.cluster, named.policy, epoch_us(writes.time) FROM writes JOIN named"
        " ON writes.cluster = named.cluster AND writes.resource = named.resource AND writes.name = named.name"
        " WHERE \"group\" = ? AND subresource = '' AND NOT rejected AND NOT dry_run AND time > begin ORDER BY ALL",
        [_micros(since), REGISTRATION],
    ).fetchall()
    edits: dict[tuple[str, str], list[Time]] = {}
    for cluster, policy, time in rows:
        edits.setdefault((cluster, policy), []).append(at(time))
    return edits


def _namespaces(facts: DuckDBPyConnection) -> dict[tuple[str, str], list[Time]]:
    rows = facts.execute(
        "SELECT cluster, name, epoch_us(time) FROM writes WHERE resource = 'namespaces' AND \"group\" = ''"
        " AND subresource = '' AND operation = 'UPDATE' AND NOT rejected AND NOT dry_run AND time IS NOT NULL"
        " ORDER BY ALL"
    ).fetchall()
    times: dict[tuple[str, str], list[Time]] = {}
    for cluster, name, time in rows:
        times.setdefault((cluster, name), []).append(at(time))
    return times
