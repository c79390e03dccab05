"""A report on more workloads than DuckDB may hold at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from duckdb import DuckDBPyConnection

from benchmarks import audit_facts
from tests.audit.estate import many, owners_of, sets
from webhook.audit.fact import Ours
from webhook.audit.report import queries
from webhook.audit.report.build import build
from webhook.audit.report.standing import Catalogue, Standing, standings
from webhook.audit.table import engine, store

MEMORY = "100MB"
"""A quarter of what there is, for a tenth of the workloads that have to fit."""
LIMITS = "SELECT split_part(current_setting('memory_limit'), '.', 1), current_setting('threads')"

BrokenOff = tuple[DuckDBPyConnection, list[tuple[str, int]], Generator[Standing, None, None]]


def test_many_violating_workloads_fit_into_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.parquet"
    audit_facts.generate(200_000, rows, 1, workloads=50, violating=100)
    store.put(tmp_path / "facts", rows, store.Source(Ours(("check.wouldblock.dev",))))
    monkeypatch.setattr(engine, "connect", partial(engine.connect, memory=MEMORY))
    with engine.open_facts(tmp_path / "facts") as facts:
        limits = facts.execute(LIMITS).fetchall()
        report = build(facts, owners=owners_of({}), catalogue=Catalogue())
        tables = {row[0] for row in facts.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        assert tables.isdisjoint({*queries.FOUND, *queries.TAKEN}), "they are held beside the report"
        assert facts.execute(LIMITS).fetchall() == limits, "they are as before"
        (counted,) = facts.execute(
            "SELECT count(DISTINCT (namespace, root_name)) FROM findings WHERE result = 'violation'"
        ).fetchall()
    assert (len(report.workloads),) == counted
    assert report.totals.workloads + report.totals.settled == len(report.workloads)


@pytest.fixture
def broken_off() -> Iterator[BrokenOff]:
    """(facts, DuckDB's limits, what nobody reads to its end)."""
    rows, _ = many(workloads=10, teams=1)
    facts = engine.from_rows(rows)
    limits = facts.execute(LIMITS).fetchall()
    found = standings(facts, Catalogue([sets()]))
    assert isinstance(found, Generator)
    next(found)
    assert facts.execute(LIMITS).fetchall() != limits
    yield facts, limits, found
    facts.close()


def test_what_is_broken_off_leaves_the_limits_as_they_were(
    broken_off: BrokenOff,
) -> None:
    facts, limits, found = broken_off
    found.close()
    assert facts.execute(LIMITS).fetchall() == limits


def test_what_is_broken_off_may_be_closed_already(
    broken_off: BrokenOff,
) -> None:
    facts, _, found = broken_off
    facts.close()
    found.close()
