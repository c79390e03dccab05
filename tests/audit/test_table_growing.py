"""Facts that grow with a log, and the report that follows it: at every moment what a run over all of it would give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import audit_log
from tests.audit.test_table_store import OURS
from webhook import cli
from webhook.audit.table import growing
from webhook.audit.table.engine import open_facts
from webhook.audit.table.store import update


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """Of every kind; stages and copies of one write follow one another."""
    audit_log.write(tmp_path / "whole", 150_000, writes=0.5, trouble=0.05)
    return (tmp_path / "whole").read_bytes().splitlines(keepends=True)


def facts(folder: Path) -> list[tuple[Any, ...]]:
    """All rows but those that say which file could not be read; of what could not be read, how much."""
    with open_facts(folder) as connection:
        return connection.execute(
            "SELECT * EXCLUDE (requests) FROM facts WHERE result <> 'unreadable' UNION ALL BY NAME"
            " SELECT reason, sum(requests)::TEXT AS message FROM facts WHERE result = 'unreadable' GROUP BY ALL"
            " ORDER BY ALL"
        ).fetchall()


def test_at_every_moment_what_one_run_over_all_of_it_gives(tmp_path: Path, lines: list[bytes]) -> None:
    log, looks = tmp_path / "audit.log", iter(range(100))
    stops = [30, 31, len(lines) // 2, len(lines)]

    def wait(seconds: float) -> None:
        assert next(looks, None) is not None, "it waits for ever"

    log.write_bytes(b"")
    following = growing.follow(tmp_path / "grown", [str(log)], OURS, every=0, wait=wait)
    next(following)
    start = 0
    for stop in stops:
        with log.open("ab") as file:
            file.writelines(lines[start:stop])
        start = stop
        trouble = next(following)
        _, expected = update(tmp_path / f"whole-{stop}", [str(log)], OURS)
        assert trouble.counts == expected.counts
        assert facts(tmp_path / "grown") == facts(tmp_path / f"whole-{stop}")


def test_a_report_that_follows(
    tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On what is there, again when there is more; interrupted, it ends as it stood."""
    log, looks = tmp_path / "audit.log", iter(range(4))
    log.write_bytes(b"".join(lines[:60]))

    def wait(seconds: float) -> None:
        match next(looks, None):
            case 1:
                log.write_bytes(b"".join(lines))
            case None:
                raise KeyboardInterrupt

    follow = growing.follow
    monkeypatch.setattr(growing, "follow", lambda *args, every: follow(*args, every=every, wait=wait))
    page = tmp_path / "report.html"
    command = ["report", str(log), "--follow", "--every", "0", "--output", "json", "--html", str(page)]
    assert cli.main(command) == cli.FOUND
    out, _ = capsys.readouterr()
    shown = [json.loads(each)["totals"]["workloads"] for each in out.splitlines() if each]
    assert len(shown) == 2
    assert 0 < shown[0] < shown[1]
    assert cli.main(["report", str(log), "--output", "json"]) == cli.FOUND
    assert json.loads(capsys.readouterr().out)["totals"]["workloads"] == shown[1]
    assert "<html" in page.read_text()


@pytest.mark.parametrize("more", [["--facts", "facts"], ["audit.log", "--output", "csv"], []])
def test_what_cannot_be_followed(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--follow", *more]) == 2
    assert "--follow" in capsys.readouterr().err
