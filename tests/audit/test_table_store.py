"""Facts on disk: only what is new is added, nothing counts twice, and a run that is killed leaves no trace."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.source import parallel
from webhook.audit.table.engine import from_rows, open_facts
from webhook.audit.table.manifest import MANIFEST
from webhook.audit.table.schema import COLUMNS, ORDER
from webhook.audit.table.store import Source, update
from webhook.cli import main
from webhook.errors import UserError

Any_ = Callable[..., Any]
OURS = Source(Ours((WEBHOOK_NAME,)))
FAILED_OPEN = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}


def facts(folder: Path) -> list[tuple[Any, ...]]:
    """All rows, but for how many records were merged into each."""
    with open_facts(folder) as connection:
        return connection.execute("SELECT * EXCLUDE (requests) FROM facts ORDER BY ALL").fetchall()


@pytest.fixture
def log(make_log: Any_, make_record: Any_) -> Any:
    """Writes of every kind over some days, with stages, some cut."""
    log = make_log(make_record("p", "q"), step=datetime.timedelta(hours=5))
    for number in range(12):
        name = f"app-{number}"
        log.write(name=name, stage="RequestReceived", audit_id=f"a-{number}", at=log.now)
        log.write(name=name, audit_id=f"a-{number}", outcome=log.outcome(*("p" if number % 3 else "")))
        log.pod(f"ReplicaSet/{name}-67b8cd545f", log.outcome("q", owner=f"ReplicaSet/{name}-67b8cd545f"))
    log.write(annotations=FAILED_OPEN)
    log.write(code=403)
    log.write(dry_run=True, outcome=log.outcome("p"))
    cut = log.write(audit_id="cut", outcome=log.outcome())
    log.lines[-1] = cut[: cut.index(b'"requestReceivedTimestamp"')]
    return log


def write(path: Path, lines: Iterable[bytes]) -> str:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def test_rows_of_one_kind_and_workload_lie_together(log: Any, tmp_path: Path) -> None:
    update(tmp_path, [write(tmp_path / "a.log", log.lines)], OURS)
    for path in tmp_path.glob("cluster=*/day=*/*.parquet"):
        rows = pyarrow.parquet.read_table(path, columns=list(ORDER)).to_pylist()
        assert rows == sorted(rows, key=lambda row: [(row[column] is None, row[column]) for column in ORDER])


def test_days_are_files_and_a_second_run_adds_nothing(log: Any, tmp_path: Path) -> None:
    out = tmp_path / "facts"
    first, _ = update(out, [write(tmp_path / "a.log", log.lines)], OURS)
    assert (first.read, first.records, first.added) == (1, 12 * 3 + 3, first.rows)
    before = facts(out)
    assert len(before) == first.rows
    days = {path.parent.name for path in out.glob("cluster=*/day=*/*.parquet")}
    assert days == {f"day={row[1] or '__HIVE_DEFAULT_PARTITION__'}" for row in before}
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    again, _ = update(out, [str(tmp_path / "a.log")], OURS)
    assert (again.read, again.known, again.added) == (0, 1, 0)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == stamps
    write(tmp_path / "renamed.log", log.lines)
    assert update(out, [str(tmp_path / "renamed.log")], OURS)[0].known == 1
    assert facts(out) == before


def test_only_what_is_new_is_added(log: Any, tmp_path: Path) -> None:
    out, path = tmp_path / "facts", tmp_path / "audit.log"
    for size in (10, 25, len(log.lines)):
        update(out, [write(path, log.lines[:size])], OURS)
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert update(out, [str(packed)], OURS)[0].added == 0
    update(tmp_path / "whole", [str(path)], OURS)
    assert facts(out) == facts(tmp_path / "whole")
    # What was superseded is gone: whoever reads the folder's Parquet itself reads the same.
    held = {out / part["path"] for part in json.loads((out / MANIFEST).read_text())["parts"]}
    assert set(out.glob("**/*.parquet")) == held
    with open_facts(out) as connection:
        counts = "SELECT count(*) FILTER (kind = 'write'), count(*) FILTER (stage = 'RequestReceived') FROM facts"
        assert connection.execute(counts).fetchone() == (12 * 2 + 4, 0)


def test_the_stage_that_says_most_speaks(log: Any, tmp_path: Path) -> None:
    log.lines.clear()
    for number in range(16):
        log.write(audit_id=f"a-{number}", at=log.now, stage="RequestReceived")
        log.write(audit_id=f"a-{number}")
    update(tmp_path / "facts", [write(tmp_path / "a.log", log.lines)], OURS)
    with open_facts(tmp_path / "facts") as connection:
        assert connection.execute("SELECT result, stage, requests, count(*) FROM facts GROUP BY ALL").fetchall() == [
            ("unknown", "ResponseComplete", 1, 16)
        ]


def test_a_cut_record_gives_way_to_the_whole_one(log: Any, tmp_path: Path) -> None:
    whole = log.write(audit_id="cut", outcome=log.outcome("p"))
    out = tmp_path / "facts"
    update(out, [write(tmp_path / "cut.log", log.lines[:-1])], OURS)
    lost = "SELECT count(*) FROM writes WHERE time IS NULL"
    with open_facts(out) as connection:
        assert connection.execute(lost).fetchone() == (1,)
    update(out, [write(tmp_path / "whole.log", [whole])], OURS)
    with open_facts(out) as connection:
        assert connection.execute(lost).fetchone() == (0,)
        assert connection.execute("SELECT result FROM writes WHERE audit_id = 'cut'").fetchall() == [("reviewed",)]
    # And the other way round: what is known already is not lost again.
    update(out, [write(tmp_path / "again.log", [log.lines[-2], b""])], OURS)
    with open_facts(out) as connection:
        assert connection.execute(lost).fetchone() == (0,)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), files=st.integers(1, 4), runs=st.integers(1, 3))
def test_order_split_and_duplicates_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, make_log: Any_, make_record: Any_, seed: int, files: int, runs: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("facts")
    log = make_log(make_record("p", "q"), step=datetime.timedelta(hours=7))
    for number in range(8):
        log.write(name=f"a-{number}", stage="RequestReceived", audit_id=f"a-{number}", at=log.now)
        log.write(name=f"a-{number}", audit_id=f"a-{number}", outcome=log.outcome("p"), at=log.now)
        # A batch sent again may differ: the one that says more counts.
        log.write(name=f"a-{number}", audit_id=f"a-{number}", code=201, user="mallory")
    cut = log.write(audit_id="a-3")
    log.lines[-1] = cut[:-150]
    random_ = random.Random(seed)  # noqa: S311
    update(tmp_path / "plain", [write(tmp_path / "plain.log", log.lines)], OURS)
    out = tmp_path / "shuffled"
    for run in range(runs):
        names = []
        for file in range(files):
            some = list(log.lines) if (run, file) == (0, 0) else random_.sample(log.lines, random_.randint(1, 20))
            some += random_.choices(some, k=random_.randint(0, 10))
            random_.shuffle(some)
            names.append(write(tmp_path / f"{run}-{file}.log", some))
        update(out, names, OURS)
    assert facts(out) == facts(tmp_path / "plain")


def test_the_views_take_each_write_once_however_it_is_stored(log: Any, tmp_path: Path) -> None:
    """A folder without a manifest (Spark's, or files put together by hand), and rows in memory."""
    update(tmp_path / "a", [write(tmp_path / "a.log", log.lines[:20])], OURS)
    update(tmp_path / "b", [write(tmp_path / "b.log", [*log.lines[10:], log.lines[1]])], OURS)
    update(tmp_path / "whole", [write(tmp_path / "c.log", log.lines)], OURS)
    together = tmp_path / "together"
    for part in ("a", "b"):
        for path in (tmp_path / part).glob("cluster=*/day=*/*.parquet"):
            target = together / path.relative_to(tmp_path / part)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    expected = facts(tmp_path / "whole")
    assert facts(together) == expected
    names = [column.name for column in COLUMNS if column.name != "requests"]
    rows = [dict(zip(names, row, strict=True)) for part in ("a", "b", "b") for row in facts(tmp_path / part)]
    with from_rows(rows) as connection:
        assert connection.execute("SELECT * EXCLUDE (requests) FROM facts ORDER BY ALL").fetchall() == expected


def test_processes_side_by_side_give_the_same(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (corpora / "audit" / "raw" / "kube-1.37.jsonl").read_bytes().splitlines()
    raw[300:300] = [b"{broken: 1}", raw[300][:-200]]
    path = write(tmp_path / "kube.log", raw)
    source = Source(Ours(("check.example.dev",)))
    _, expected = update(tmp_path / "one", [path, str(corpora / "audit" / "eks")], source)
    monkeypatch.setattr(parallel, "PART_MIN", 300_000)
    done, trouble = update(tmp_path / "many", [path, str(corpora / "audit" / "eks")], source, jobs=3)
    assert done.records > 800
    assert trouble.counts == expected.counts
    assert trouble.counts["not_json"]
    assert facts(tmp_path / "many") == facts(tmp_path / "one")


def test_clusters_are_apart(log: Any, tmp_path: Path) -> None:
    out, path = tmp_path / "facts", write(tmp_path / "a.log", log.lines)
    update(out, [path], Source(OURS.ours, "prod/eu '1'"))
    done, _ = update(out, [path], Source(OURS.ours, "staging"))
    assert (done.clusters, done.known) == (["prod/eu '1'", "staging"], 0)
    with open_facts(out) as connection:
        counts = connection.execute("SELECT cluster, count(*) FROM facts GROUP BY ALL ORDER BY ALL").fetchall()
    assert counts == [("prod/eu '1'", done.rows // 2), ("staging", done.rows // 2)]


SLOW = """
import sys, time
from pathlib import Path
from webhook.audit.fact import Ours
from webhook.audit.table import store

where, out, logs = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
store._COMMIT = 1
if where == "staging":
    stage = store.stage
    def slow(*arguments, **more):
        stage(*arguments, **more)
        print("now", flush=True)
        time.sleep(60)
    store.stage = slow
elif where == "merging":
    merge = store._Run._merge
    def slow(self, *more):
        part = merge(self, *more)
        if part.day is not None and part.day.day >= 3:
            print("now", flush=True)
            time.sleep(60)
        return part
    store._Run._merge = slow
else:
    sweep = store._Run.sweep
    def slow(self):
        if self._manifest.parts:
            print("now", flush=True)
            time.sleep(60)
        sweep(self)
    store._Run.sweep = slow
store.update(out, logs, store.Source(Ours((sys.argv[0],))))
"""


@pytest.mark.parametrize("where", ["staging", "merging", "sweeping"])
def test_a_killed_run_leaves_the_facts_as_they_were(log: Any, tmp_path: Path, where: str) -> None:
    source = Source(Ours((WEBHOOK_NAME,)))
    script = tmp_path / "slow.py"
    script.write_text(SLOW.replace("sys.argv[0],", f"{WEBHOOK_NAME!r},"))
    paths = [write(tmp_path / "a.log", log.lines[:20]), write(tmp_path / "b.log", log.lines[20:])]
    out = tmp_path / "facts"
    with subprocess.Popen(
        [sys.executable, str(script), where, str(out), *paths], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = set(out.glob("**/*.parquet"))
    assert left, "nothing was begun"
    update(out, paths, source)
    update(tmp_path / "whole", paths, source)
    assert facts(out) == facts(tmp_path / "whole")
    held = {out / part["path"] for part in json.loads((out / MANIFEST).read_text())["parts"]}
    assert set(out.glob("**/*.parquet")) == held
    assert not list(out.glob(".staging-*"))


def test_two_runs_at_once_are_refused(log: Any, tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    path, out = write(tmp_path / "a.log", log.lines), tmp_path / "facts"
    with subprocess.Popen(
        [sys.executable, str(script), "staging", str(out), path], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        with pytest.raises(UserError, match="another"):
            update(out, [path], OURS)
        process.kill()


def test_a_folder_of_something_else_is_left_alone(log: Any, tmp_path: Path) -> None:
    foreign = tmp_path / "facts" / "cluster=x" / "day=2026-01-01" / "x.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="empty folder"):
        update(tmp_path / "facts", [write(tmp_path / "a.log", log.lines)], OURS)
    assert foreign.read_bytes() == b"PAR1"


@pytest.mark.parametrize(("text", "said"), {"{": "facts.json", '{"format":"old"}': "another version"}.items())
def test_a_manifest_that_is_not_ours_is_named(log: Any, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=said):
        update(tmp_path / "facts", [write(tmp_path / "a.log", log.lines)], OURS)


def test_what_cannot_be_read_is_a_row(log: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", [log.lines[0], b'{"kind": broken}', b"klog", *log.lines[1:]])
    out = tmp_path / "facts"
    update(out, [path], OURS)
    with open_facts(out) as connection:
        rows = connection.execute(
            "SELECT reason, requests, message LIKE '1 in a.log, the first at byte %' FROM blind "
            "WHERE result = 'unreadable'"
        ).fetchall()
    assert rows == [("not_json", 1, True)]


def test_a_record_of_which_too_little_is_left_is_a_row(log: Any, tmp_path: Path) -> None:
    """Cut inside an envelope, and not in the API server's own order: not even the resource is known."""
    whole = json.loads(log.lines[1])
    text = json.dumps(dict(sorted(whole.items())), separators=(",", ":"))[:200]
    record = {"category": "kube-audit", "properties": {"log": text + "[Truncated...]"}}
    lost = {"category": "kube-audit", "properties": {"log": log.lines[4].decode()[:600] + "[Truncated...]"}}
    path = write(tmp_path / "aks.log", [json.dumps(each, separators=(",", ":")).encode() for each in (record, lost)])
    _, trouble = update(tmp_path / "facts", [path], OURS)
    with open_facts(tmp_path / "facts") as connection:
        rows = connection.execute("SELECT result, reason, requests FROM blind ORDER BY ALL").fetchall()
    assert sum(trouble.counts.values()) == 2
    assert rows == [("truncated", "", 1), ("unreadable", *rows[-1][1:2], 1)]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["facts", *arguments])
    heard = capsys.readouterr()
    return code, heard.out, heard.err


def test_the_command(log: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "a.log", log.lines), tmp_path / "facts"
    code, text, _ = said(capsys, path, "--out", str(out), "--cluster", "prod", "--output", "json")
    summary = json.loads(text)
    assert (code, summary["read"], summary["clusters"], summary["rows"]) == (0, 1, ["prod"], len(facts(out)))
    code, text, _ = said(capsys, path, "--out", str(out), "--cluster", "prod")
    assert code == 0
    assert "+0 rows" in text
    assert "1 were known" in text
    code, text, _ = said(capsys, "--schema")
    assert (code, [line.split()[0] for line in text.splitlines() if line[0] != " "]) == (0, [c.name for c in COLUMNS])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no logs"),
        (["a.log"], "--out is missing"),
        (["no-such.log", "--out", "facts"], "no-such.log"),
        (["junk.log", "--out", "facts"], "no audit event found"),
    ],
)
def test_what_users_do_wrong(
    arguments: Sequence[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.log").write_text("hello\n")
    code, _, err = said(capsys, *arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err


def test_without_the_extra(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'duckdb' else find(name, *a)\n"
        "from webhook.cli import main; sys.exit(main(['facts', 'a.log', '--out', 'facts']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'wouldblock[audit]'" in done.stderr


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys, webhook.cli.facts, webhook.audit.table.store\n"
        "sys.exit('duckdb' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_spill_folder_goes_with_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    connection = from_rows([{"kind": "write", "time": "2026-11-25T01:00:00Z"}])
    (spill,) = tmp_path.iterdir()
    assert spill.is_dir()
    connection.close()
    del connection
    for _ in range(100):
        if not list(tmp_path.iterdir()):
            break
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())
