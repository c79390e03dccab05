"""How each workload stands with each policy that found something: one pass of SQL over the facts table.

A violation counts until it is proven gone, by the rules that tickets go by (`tickets.settle`): so no report says
`fixed` of what a ticket calls open. Knows the views `writes` and `findings` of the facts table; no owners, no figures.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, reduce
from itertools import groupby
from operator import itemgetter, or_
from sys import intern
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from webhook.audit.attribution import KINDS
from webhook.audit.report import queries
from webhook.audit.report.figures import BLOCKED, Found
from webhook.audit.subject import covers
from webhook.audit.tickets.model import Part, Workload, latest
from webhook.audit.tickets.settle import DEFAULTS, Proof, resource_of, settle
from webhook.policy import PolicyRecord, SetRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READING = "96MB", 1
"""Memory and threads of DuckDB while its answer is read: twice what that needs with one thread, for what is read needs
the rest. What DuckDB has found lies on disk meanwhile."""
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
Root = tuple[str, str, str, str, str]
"""(cluster, namespace, kind, name, resource); the last only where there is no name."""
Combination = tuple[str, str, str, str, str]
"""(group, version, resource, subresource, operation)."""


class Catalogue:
    """What is known of policies: their texts, what they are about, and which set held them."""

    def __init__(self, sets: Iterable[SetRecord] = ()) -> None:
        """Later sets win."""
        self.held: set[tuple[str, str]] = set()
        self.policies: dict[str, PolicyRecord] = {}
        for each in sets:
            for policy in each.policies:
                self.policies[policy.id] = policy
                self.held.add((policy.id, each.digest))

    def about(self, policy: str, combination: Combination) -> bool | None:
        """Whether the policy looks at such writes; None when that is not known."""
        known = self.policies.get(policy)
        return None if known is None else covers(known.match, *combination)

    def severity(self, policy: str) -> str:
        """Empty when the policy is not known."""
        known = self.policies.get(policy)
        return str(known.meta.severity) if known is not None else ""

    def anybody(self, combination: Combination) -> bool:
        """Whether some policy looks at such writes; true when no policy is known."""
        return not self.policies or any(covers(each.match, *combination) for each in self.policies.values())


class Standing(Struct, frozen=True, gc=False):
    """One workload and one policy. `found` is None where it was only exempted or not comparable."""

    root: Root
    policy: str
    found: Found | None
    exempted: bool
    not_comparable: int
    workload: Workload
    """With all that is known of it in this log, settled."""


class Seed(Struct, frozen=True):
    """A violation that a former log showed: asked is what became of it since."""

    root: Root
    policy: str
    since: datetime.datetime
    """When it was seen last."""


def standings(
    facts: DuckDBPyConnection,
    catalogue: Catalogue,
    *,
    proof: Proof = DEFAULTS,
    seeds: Iterable[Seed] = (),
    examples: int = 0,
) -> Iterator[Standing]:
    """One for each (workload, policy) with a finding, or with a seed, in the order of their names; each with the audit
    ids of so many of its latest violations as `examples` asks for. All of them together may be more than memory holds.
    """
    columns = ("cluster", "namespace", "root_kind", "root_name", "anonymous", "policy", "since")
    seeded = {(each.root, each.policy): each for each in seeds}
    _table(
        facts, "report_seed", columns, [(*each.root, each.policy, each.since.isoformat()) for each in seeded.values()]
    )
    facts.execute(queries.ROOTS)
    facts.execute(queries.TRIALS)
    facts.execute(queries.BORN)
    facts.execute(queries.ACTORS)
    seen = facts.execute(queries.SEEN).fetchall()
    sources = {row[0] for row in seen}
    together = "wouldblock" in sources and len(sources - {"denial"}) > 1
    if together:
        facts.execute(queries.AGAIN)
    facts.execute(queries.found(examples, together=together))
    facts.execute(queries.SHOWN)
    facts.execute(queries.PAIRS)
    _scope(facts, catalogue, seen)
    facts.execute(queries.BOUNDS)
    facts.execute(queries.LATEST)
    facts.execute(queries.LATER)
    gone = {tuple(row[:4]): row[4] for row in facts.execute(queries.GONE).fetchall()}
    _drop(facts, queries.FOUND)
    emptied = {(row[0], row[1]): row[2] for row in facts.execute(queries.NAMESPACES_GONE).fetchall()}
    for (root, policy), rows in groupby(_read(facts), key=itemgetter(0, 1)):
        seeded.pop((root, policy), None)
        ended = max(gone.get(root[:4], 0) if root[3] else 0, emptied.get(root[:2], 0))
        yield _standing(root, policy, [row for _, _, row in rows], ended, proof)
    for root, policy in seeded:
        # Of which nothing was written, but which may be gone.
        ended = max(gone.get(root[:4], 0) if root[3] else 0, emptied.get(root[:2], 0))
        yield _standing(root, policy, [], ended, proof)


def _read(facts: DuckDBPyConnection) -> Iterator[tuple[Root, str, _Row]]:
    """Some workloads at a time: of all of them together the texts are more than memory may hold."""
    batches = facts.execute(queries.BATCHES).fetchall()
    with _bounded(facts, *_READING):
        for first, last in batches:
            for row in facts.execute(queries.READ, {"first": first, "last": last}).fetchall():
                cluster, namespace, kind, name, resource, policy, part, *rest = row
                # What is in many rows is held once.
                root = intern(cluster), intern(namespace), intern(kind), name, intern(resource)
                yield root, intern(policy), _Row(intern(part), *rest)
        _drop(facts, queries.TAKEN)


@contextmanager
def _bounded(facts: DuckDBPyConnection, memory: str, threads: int) -> Iterator[None]:
    """DuckDB's limits are these within it, and as before behind it."""
    import duckdb

    (before,) = facts.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
    _bound(facts, memory, threads)
    try:
        yield
    finally:
        # Whoever broke off may have closed the connection first.
        with suppress(duckdb.ConnectionException):
            _bound(facts, *before)


def _bound(facts: DuckDBPyConnection, memory: str, threads: int) -> None:
    facts.execute(f"SET memory_limit = '{memory}'; SET threads = {threads}")


def _drop(facts: DuckDBPyConnection, tables: Iterable[str]) -> None:
    """The memory is for others."""
    for table in tables:
        facts.execute(f"DROP TABLE {table}")


class _Row(Struct, frozen=True, gc=False):
    part: str
    violated: int | None
    remnant: int | None
    passed: int | None
    passes: int
    passed_from: int | None
    exempted: int | None
    blind: int | None
    cause: str | None
    first: int | None
    last: int | None
    bad: int
    errors: int
    incomparable: int
    preexisting: bool | None
    message: str | None
    audit_id: str | None
    any_client: str | None
    any_user: str | None
    client: str | None
    """Of the latest that no controller made."""
    user: str | None
    actor: str | None
    """Who wrote the workload itself last; known where only controllers made what violates."""
    actor_user: str | None
    sources: int
    """Bits, as `queries.SOURCES`."""
    audit_ids: list[str] | None


def _scope(facts: DuckDBPyConnection, catalogue: Catalogue, findings: Iterable[tuple[Any, ...]]) -> None:
    """Which writes each policy is about: by its rules; where they are not known, what it found something in."""
    facts.execute(queries.CELLS)
    combinations = facts.execute(
        'SELECT DISTINCT "group", version, resource, subresource, operation FROM report_cell'
    ).fetchall()
    policies = [row[0] for row in facts.execute("SELECT DISTINCT policy FROM report_pair").fetchall()]
    seen: set[tuple[str, ...]] = set()
    observed: set[tuple[str, str]] = set()
    for source, policy, digest, *combination in findings:
        seen.add((policy, *combination))
        if source == "wouldblock" and digest:
            observed.add((policy, digest))
    about = [
        (policy, *each)
        for policy in policies
        for each in combinations
        if (known := catalogue.about(policy, each)) or (known is None and (policy, *each) in seen)
    ]
    _table(facts, "report_scope", ("policy", "group", "version", "resource", "subresource", "operation"), about)
    _table(facts, "report_held", ("policy", "digest"), sorted(catalogue.held | observed))
    kinds = {
        (row[0], resource_of(row[0])) for row in facts.execute("SELECT DISTINCT root_kind FROM report_root").fetchall()
    }
    kinds |= {(kind, resource) for (_, resource), kind in KINDS.items()}
    _table(facts, "report_kind", ("root_kind", "resource"), sorted(kinds))


def _table(facts: DuckDBPyConnection, name: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A small table of texts; names and columns are ours, values are bound."""
    shape = ", ".join(f'"{each}" VARCHAR' for each in columns)
    facts.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({shape})")
    lists = [list(each) for each in zip(*rows, strict=True)] or [[] for _ in columns]
    unnested = ", ".join("unnest(?::VARCHAR[])" for _ in columns)
    facts.execute(f"INSERT INTO {name} SELECT {unnested}", lists)


def _standing(root: Root, policy: str, rows: list[_Row], ended: int, proof: Proof) -> Standing:
    bad = [row for row in rows if row.last is not None]
    exempted = any(row.exempted is not None for row in rows)
    incomparable = sum(row.incomparable for row in rows)
    newest = max(bad, key=lambda row: row.last or 0, default=None)
    by_hand = max((row for row in bad if row.client), key=lambda row: row.last or 0, default=None)
    actor, actor_user = (rows[0].actor, rows[0].actor_user) if rows else (None, None)
    client = (by_hand.client if by_hand else actor) or (newest.any_client if newest else "") or ""
    workload = settle(
        Workload(
            kind=root[2] if root[3] else root[4],
            name=root[3],
            namespace=root[1],
            first_seen=moment(min((row.first for row in bad if row.first is not None), default=None)),
            last_seen=moment(newest.last) if newest else None,
            writes=sum(row.bad for row in bad),
            gone=moment(ended or None),
            message=(newest.message if newest else "") or "",
            client=client,
            audit_ids=tuple(filter(None, (newest.audit_ids if newest else None) or ())),
            parts={row.part: _part(row) for row in rows},
        ),
        resources=resource_of,
        proof=proof,
    )
    if newest is None:
        return Standing(root, policy, None, exempted, incomparable, workload)
    settled = None if workload.status in BLOCKED else _settled(workload)
    found = Found(
        policy=policy,
        status=workload.status,
        why=intern(workload.why),
        first=at(min(row.first or 0 for row in bad)),
        last=at(newest.last or 0),
        writes=sum(row.bad for row in bad),
        errors=sum(row.errors for row in bad),
        preexisting=bool(newest.preexisting),
        sources=_sources(reduce(or_, (row.sources for row in bad))),
        message=intern(newest.message or ""),
        client=intern(client),
        user=intern((by_hand.user if by_hand else actor_user) or newest.any_user or ""),
        audit_id=newest.audit_id or "",
        settled=settled.date() if settled else None,
    )
    return Standing(root, policy, found, exempted, incomparable, workload)


@lru_cache
def _sources(bits: int) -> tuple[str, ...]:
    return tuple(each for bit, each in enumerate(queries.SOURCES) if bits >> bit & 1)


def _part(row: _Row) -> Part:
    return Part(
        violated=moment(row.violated),
        remnant=moment(row.remnant),
        passed=moment(row.passed),
        passes=row.passes,
        passed_from=moment(row.passed_from),
        exempted=moment(row.exempted),
        blind=moment(row.blind),
        cause=row.cause or "",
    )


def _settled(workload: Workload) -> datetime.datetime | None:
    """When the proof came."""
    if workload.status == "gone":
        return workload.gone
    return latest(*(time for part in workload.parts.values() for time in (part.passed, part.exempted)))


def moment(time: int | None) -> datetime.datetime | None:
    """Microseconds since the epoch."""
    return None if time is None else at(time)


def at(time: int) -> datetime.datetime:
    return EPOCH + datetime.timedelta(microseconds=time)
