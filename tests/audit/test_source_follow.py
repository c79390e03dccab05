"""A log that grows is read as it grows, whatever rotates it, and each event comes once."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from webhook import cli
from webhook.audit import events
from webhook.audit.source import Events, Lines, Unreadable, follow
from webhook.cli import evidence

LINE = (
    '{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id-{0}","stage":"ResponseComplete",'
    '"requestURI":"/api/v1/namespaces/shop/pods/web","verb":"update","user":{{"username":"alice"}},"objectRef":'
    '{{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},'
    '"code":200}},"requestReceivedTimestamp":"2026-11-24T10:00:00.000000Z"}}\n'
)


def line(number: int) -> bytes:
    return LINE.format(number).encode()


class Following:
    """Follows, and says what has come up to now."""

    def __init__(self, *paths: Path) -> None:
        self.unreadable = Unreadable()
        self.batches: Iterator[Lines | Events | None] = follow(
            [str(path) for path in paths], self.unreadable, wait=lambda seconds: None
        )

    def new(self) -> list[int]:
        """Numbers of the events up to the next quiet moment."""
        found: list[int] = []
        for batch in itertools.takewhile(lambda batch: batch is not None, self.batches):
            assert isinstance(batch, Lines)
            found += [int(events.decode(each).audit_id[3:]) for each in batch.lines]
        return found


def append(file: Path, *data: bytes) -> None:
    with file.open("ab") as log:
        log.write(b"".join(data))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    append(path, line(1), line(2))
    return path


def test_what_is_there_and_what_comes(file: Path) -> None:
    following = Following(file)
    assert following.new() == [1, 2]
    assert following.new() == []
    append(file, line(3), line(4)[:50])
    assert following.new() == [3]
    append(file, line(4)[50:-1])
    assert following.new() == []
    append(file, b"\n", line(5))
    assert following.new() == [4, 5]
    assert not following.unreadable


def test_rotation_by_renaming(file: Path) -> None:
    """Lumberjack's, and logrotate's `create`: what was written before the renaming is not lost."""
    following = Following(file)
    assert following.new() == [1, 2]
    append(file, line(3))
    file.rename(file.with_name("audit-2026-11-24T10-00-00.000.log"))
    assert following.new() == [3]
    append(file.with_name("audit-2026-11-24T10-00-00.000.log"), line(4))
    append(file, line(5))
    assert following.new() == [4, 5]
    append(file, line(6))
    assert following.new() == [6]
    assert not following.unreadable


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_rotation_by_truncation(file: Path, lines: int) -> None:
    """logrotate's `copytruncate`, also when the file is as long as before at the next look, or longer."""
    following = Following(file)
    assert following.new() == [1, 2]
    file.with_name("audit.log.1").write_bytes(file.read_bytes())
    with file.open("r+b") as log:
        log.truncate(0)
        log.write(b"".join(line(10 + number) for number in range(lines)))
    assert following.new() == [10 + number for number in range(lines)]
    assert following.unreadable.counts == {"truncated_in_place": 1}


def test_half_a_line_before_the_truncation_is_not_glued_to_the_next(file: Path) -> None:
    following = Following(file)
    append(file, line(3)[:300])
    assert following.new() == [1, 2]
    with file.open("r+b") as log:
        log.truncate(0)
        log.write(line(4))
    half, whole = (batch for batch in itertools.islice(following.batches, 2) if isinstance(batch, Lines))
    assert (half.lines, half.open_end) == ([line(3)[:300]], True)
    assert whole.lines == [line(4)[:-1]]


def test_a_folder_with_rotated_files(tmp_path: Path, file: Path) -> None:
    """The file that was renamed is known under its new name; one that comes packed is read."""
    following = Following(tmp_path)
    assert following.new() == [1, 2]
    file.rename(tmp_path / "audit-1.log")
    append(file, line(3))
    assert following.new() == [3]
    (tmp_path / "older.log.gz").write_bytes(gzip.compress(line(7)))
    assert following.new() == [7]
    assert following.new() == []
    append(file, line(4))
    assert following.new() == [4]


def test_a_file_that_is_gone_and_comes_back(file: Path) -> None:
    following = Following(file)
    assert following.new() == [1, 2]
    file.unlink()
    assert following.new() == []
    append(file, line(3))
    assert following.new() == [3]


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    following = Following(tmp_path / "absent.log")
    assert following.new() == []
    append(tmp_path / "absent.log", line(1))
    assert following.new() == [1]


def test_readiness_follows(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict on what is there, another when there is more, none in between; interrupted, it ends as it stood."""
    looks = iter(range(5))

    def wait(seconds: float) -> None:
        match next(looks, None):
            case 1:
                append(file, line(3))
            case 3:
                file.rename(file.with_name("rotated"))
                append(file, line(4), line(5))
            case None:
                raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", wait)
    following = evidence.follow
    monkeypatch.setattr(evidence, "follow", lambda args, logs: following(args, logs, wait=wait))
    command = ["readiness", str(file), "--follow", "--every", "0", "--native", "--output", "json"]
    assert cli.main(command) == 1
    out, _ = capsys.readouterr()
    records = [json.loads(each)["log"]["records"] for each in out.splitlines() if each]
    assert records == [{"events": 2}, {"events": 3}, {"events": 5}]
