"""The facts are the same whatever the export's format, and every figure is the planted one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit_envelopes import ENVELOPES
from benchmarks.audit_log import SECRET, write
from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.source import Unreadable, read
from webhook.audit.table.engine import from_rows, open_facts
from webhook.audit.table.mapper import WRITES, Mapper
from webhook.audit.table.schema import COLUMNS
from webhook.audit.table.store import Source, update

NAMES = [column.name for column in COLUMNS]
WHOLE_ONLY = frozenset(
    (
        *("pretty", "concatenated", "array", "array of lines", "pretty array", "event list", "sorted"),
        *("aks object", "splunk hec", "elastic"),
    )
)
"""Formats in which events are JSON values and not text: what is no event cannot be written."""


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_figure_is_the_planted_one(tmp_path: Path, envelope: str) -> None:
    file = tmp_path / "log"
    trouble = 0.0 if envelope in WHOLE_ONLY else 0.03
    planted = write(file, 400_000, envelope=envelope, seed=3, writes=0.3, trouble=trouble)
    update(tmp_path / "facts", [str(file)], Source(Ours((WEBHOOK_NAME,)), "c"))
    with open_facts(tmp_path / "facts") as connection:
        writes = dict(
            connection.execute("SELECT result, count(*) FROM writes WHERE time IS NOT NULL GROUP BY ALL").fetchall()
        )
        violations = connection.execute(
            "SELECT policy, count(*) FROM findings WHERE NOT rejected AND NOT dry_run GROUP BY ALL"
        ).fetchall()
        blind = dict(connection.execute("SELECT result, count(*) FROM blind GROUP BY ALL").fetchall())
        text = str(connection.execute("SELECT * FROM facts").fetchall())
    kinds = planted.outcomes
    expected = {
        "reviewed": kinds["passed"] + kinds["violating"],
        "unknown": kinds["not_sent"],
        "rejected": kinds["refused"],
        "dry_run": kinds["dry_run"],
        "failed_open": kinds["failed_open"],
    }
    assert writes == {result: count for result, count in expected.items() if count}
    assert dict(violations) == planted.violations
    assert (blind.get("failed_open", 0), blind.get("truncated", 0)) == (kinds["failed_open"], planted.cut)
    assert SECRET not in text


def facts_of(path: Path) -> list[tuple[Any, ...]]:
    trouble = Unreadable()
    mapper = Mapper(is_ours=Ours((WEBHOOK_NAME,)), unreadable=trouble, cluster="c")
    for found in read([str(path)], trouble, skip_reads=True, wanted=WRITES.wants):
        mapper.add(found)
    rows = [dict(zip(NAMES, row, strict=True)) for row in mapper.take()]
    with from_rows([{name: value for name, value in row.items() if name != "day"} for row in rows]) as connection:
        return connection.execute("SELECT * EXCLUDE (requests) FROM facts ORDER BY ALL").fetchall()


def test_one_event_in_many_envelopes_is_one_fact(corpora: Path) -> None:
    """Eleven records of seven events: in envelopes that keep them whole, the facts are identical."""
    audit = corpora / "audit"
    whole = [
        *sorted((audit / "aks").glob("derived-log-analytics*")),
        *sorted((audit / "fluent").glob("derived-*")),
        *sorted((audit / "loki").glob("derived-*")),
        *sorted((audit / "prefixed").glob("derived-*")),
    ]
    first, *others = [facts_of(path) for path in whole]
    assert len(others) >= 13
    assert first
    for path, other in zip(whole[1:], others, strict=True):
        assert other == first, path
    # CloudWatch's hold one more event, which was cut.
    for path in sorted((audit / "eks").glob("derived-*")):
        if "insights" in path.name:  # its first records only
            continue
        more = Counter(facts_of(path))
        more.subtract(Counter(first))
        assert min(more.values()) >= 0, path
        assert {row[NAMES.index("time")] for row in more.elements()} == {None}, path
