"""What is written down beside each day is what the facts themselves answer, whatever became of the folder."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.compare import history
from webhook.audit.fact import Ours
from webhook.audit.table import sums
from webhook.audit.table.engine import open_facts
from webhook.audit.table.manifest import MANIFEST
from webhook.audit.table.store import Source, update

Rows = list[tuple[Any, ...]]
FAILED_OPEN = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}


@pytest.fixture
def folder(make_log: Callable[..., Any], make_record: Callable[..., Any], tmp_path: Path) -> Path:
    """Two clusters and several days, written in several runs, with all that the sums are about."""
    log = make_log(make_record("p", "q"), step=datetime.timedelta(hours=5))
    for number in range(12):
        name = f"app-{number % 5}"
        log.write(name=name, outcome=log.outcome(*("p" if number % 3 else "")))
        log.pod(f"ReplicaSet/{name}-67b8cd54{number % 2}f", log.outcome("q", owner=f"ReplicaSet/{name}-67b8cd545f"))
        log.write(name=name, annotations=FAILED_OPEN)
    log.write(code=403)
    log.write(dry_run=True, outcome=log.outcome("p"))
    cut = log.write(outcome=log.outcome())
    log.lines[-1] = cut[: cut.index(b'"requestReceivedTimestamp"')]
    log.lines.append(b"{broken: 1}")
    out = tmp_path / "facts"
    for run, (cluster, lines) in enumerate(
        (("prod", log.lines[:14]), ("prod", log.lines[9:]), ("staging", log.lines[::2]))
    ):
        path = tmp_path / f"{run}.log"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        update(out, [str(path)], Source(Ours((WEBHOOK_NAME,)), cluster))
    return out


@contextmanager
def answers(folder: Path) -> Iterator[tuple[dict[str, Rows], dict[str, Rows]]]:
    """(what the views say, what the facts themselves say) of each."""
    with open_facts(folder) as facts:
        said, asked = {}, {}
        for view, query in sums.SUMS.items():
            columns = ", ".join(f'"{row[0]}"' for row in facts.execute(f"DESCRIBE {query}").fetchall())
            said[view] = facts.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").fetchall()  # noqa: S608
            asked[view] = facts.execute(f"{query} ORDER BY ALL").fetchall()
        yield said, asked


def stored(folder: Path) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = json.loads((folder / MANIFEST).read_text())["parts"]
    return parts


def test_what_is_written_down_is_what_the_facts_answer(folder: Path) -> None:
    with answers(folder) as (said, asked):
        assert said == asked
        assert all(said.values())
        assert {row[0] for row in said["cells"]} == {"prod", "staging"}


def test_it_is_read_instead_of_the_facts(folder: Path) -> None:
    for path in folder.glob("cluster=prod/day=*/*.sums"):
        path.write_bytes(next(folder.glob("cluster=staging/day=*/*.sums")).read_bytes())
    with answers(folder) as (said, asked):
        assert {row[0] for row in said["spans"]} == {"staging"}
        assert {row[0] for row in asked["spans"]} == {"prod", "staging"}


@pytest.mark.parametrize("beside", ["", "cluster=prod/_1.other.sums"])
def test_where_a_part_has_none_the_facts_are_asked(folder: Path, beside: str) -> None:
    """An older version has written it, or one that asks something else."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["parts"][0]["sums"] = beside
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with answers(folder) as (said, asked):
        assert said == asked
        assert all(said.values())


def test_superseded_ones_are_removed(folder: Path) -> None:
    assert {path.relative_to(folder) for path in folder.rglob("*.sums")} == {
        Path(part["sums"]) for part in stored(folder)
    }
    assert len(stored(folder)) == len({part["sums"] for part in stored(folder)}) > 6


def test_in_a_window_they_are_of_what_is_in_it(folder: Path) -> None:
    with open_facts(folder) as facts:
        whole = facts.execute("SELECT * FROM spans ORDER BY ALL").fetchall()
        (middle,) = facts.execute("SELECT min(first) + (max(last) - min(first)) / 2 FROM spans").fetchall()[0]
        with history.window(facts, before=middle):
            for view, query in sums.SUMS.items():
                said = facts.execute(f"FROM {view} ORDER BY ALL").fetchall()
                assert said == facts.execute(f"{query} ORDER BY ALL").fetchall()
            (last,) = facts.execute("SELECT max(last) FROM spans").fetchall()[0]
            assert last < middle
        assert facts.execute("SELECT * FROM spans ORDER BY ALL").fetchall() == whole
