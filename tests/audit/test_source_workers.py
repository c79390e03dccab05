"""Processes that read for another one: one that is killed is told of, and none outlives the one that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from benchmarks.audit_log import write
from webhook import cli
from webhook.audit.source import Progress, parallel, shares
from webhook.audit.source.workers import Workers, tell
from webhook.cli import evidence
from webhook.errors import UserError

PATIENCE = 30.0
"""Seconds after which something that should have happened has not."""


def _within(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def _pid() -> int:
    return os.getpid()


def _sleep(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(PATIENCE)
    Path(mark).write_text("woke up", encoding="utf-8")


def _gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return _zombie(pid)
    return True


def _zombie(pid: int) -> bool:
    """Ended, and whoever adopted it has not looked yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    return False


def _started(mark: Path) -> int:
    assert _within(lambda: mark.exists() and bool(mark.read_text(encoding="utf-8")))
    return int(mark.read_text(encoding="utf-8"))


def test_what_they_do_is_counted_together() -> None:
    with Workers(2) as workers:
        for future in [workers.submit(tell, number) for number in range(5)]:
            future.result()
        assert workers.done() == 10


def test_they_leave_when_there_is_nothing_left_to_do() -> None:
    with Workers(1) as workers:
        pid = workers.submit(_pid).result()
        assert not _gone(pid)
    assert _gone(pid)


def test_one_that_is_killed_breaks_them(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(BrokenExecutor), Workers(2) as workers:
        asleep = workers.submit(_sleep, str(mark))
        os.kill(_started(mark), signal.SIGKILL)
        asleep.result()


def _interrupt() -> int:
    signal.raise_signal(signal.SIGINT)
    return os.getpid()


def test_an_interrupt_is_not_their_business() -> None:
    """A terminal sends it to them as well."""
    with Workers(1) as workers:
        assert workers.submit(_interrupt).result() != os.getpid()


def test_an_interrupt_breaks_off_what_they_are_at(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:
        workers.submit(_sleep, str(mark))
        pid = _started(mark)
        raise KeyboardInterrupt
    assert _gone(pid)
    assert mark.read_text(encoding="utf-8") == str(pid)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_they_end_with_the_one_that_started_them(tmp_path: Path, method: str) -> None:
    mark = tmp_path / "mark"
    code = f"""
from webhook.audit.source import workers
from tests.audit.test_source_workers import _sleep
workers._start_method = lambda: {method!r}
if __name__ == "__main__":
    with workers.Workers(2) as started:
        started.submit(_sleep, {str(mark)!r}).result()
"""
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, f"{root}/certs"])
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": path})
    pid = _started(mark)
    process.kill()
    process.wait()
    assert _within(lambda: _gone(pid))
    assert mark.read_text(encoding="utf-8") == str(pid)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packed one that two processes read."""
    for module in (shares, parallel):
        monkeypatch.setattr(module, "SHARE_MIN", 4_000)
    file = tmp_path / "audit.log.gz"
    write(file, 300_000, envelope="gzip")
    assert len(parallel.parts([str(file)], 2)) == 2
    return file


def _die(part: parallel.Part, _progress: Progress) -> int:
    if part.share is not None and part.share.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_no_event_is_lost_in_silence(log: Path) -> None:
    with pytest.raises(UserError, match=r"audit\.log\.gz: a process was killed.*--jobs 1"):
        list(parallel.each(parallel.parts([str(log)], 2), _die, jobs=2))


def test_nothing_is_said_of_half_a_log(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evidence, "Collecting", lambda *_: _die)
    assert cli.main(["readiness", str(log), "--native", "--jobs", "2"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "a process was killed" in err
