"""Recording: bounded, readable after a kill, and never in the way of an answer."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webhook import recorded
from webhook.errors import UserError
from webhook.policy import Outcome
from webhook.policyset import PolicySet
from webhook.recorded import Damage, Header
from webhook.serve import record
from webhook.serve.admit import Admission
from webhook.serve.metrics import Cells
from webhook.serve.record import Options, Recorder, check_folder
from webhook.serve.segments import Busy, Segments

NOTHING = Outcome()
POLICIES = PolicySet(())
Lines = list[tuple[str, dict[str, object]]]


@pytest.fixture
def told() -> Lines:
    return []


@pytest.fixture
def recorder(tmp_path: Path, told: Lines) -> Iterator[Callable[..., tuple[Recorder, Cells]]]:
    made: list[Recorder] = []

    def make(share: float = 1.0, **options: Any) -> tuple[Recorder, Cells]:
        cells = Cells()

        def log(event: str, *, level: Any = "info", **fields: object) -> None:
            told.append((event, fields))

        each = Recorder(Options(**{"folder": tmp_path / "record", **options}), cells=cells, log=log, share=share)
        made.append(each)
        return each, cells

    yield make
    for each in made:
        each.close()


def read(folder: Path) -> tuple[list[recorded.Recorded], Damage]:
    damage = Damage()
    found = [review for file in recorded.segments(folder) for _, review in recorded.read(file, damage)]
    return found, damage


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_answered_is_recorded(
    tmp_path: Path, recorder: Any, review: Any, post: Any, admission: Callable[..., Admission]
) -> None:
    each, cells = recorder()
    app = admission(lambda context: None, recorder=each, cells=cells)
    for number in range(5):
        post(app, review(uid=f"u-{number}"))
    post(app, b"no review")
    each.close()
    found, damage = read(tmp_path / "record")
    assert [one.request.uid for one in found] == [f"u-{number}" for number in range(5)]
    assert not damage.counts
    assert cells.recorded == 5
    assert cells.recording == 0


def test_files_are_the_owners_alone_and_plain_gzip(tmp_path: Path, recorder: Any, review: Any) -> None:
    old = os.umask(0)
    try:
        each, _ = recorder()
        each(review(), NOTHING, POLICIES)
        each.close()
    finally:
        os.umask(old)
    folder = tmp_path / "record"
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    (segment,) = recorded.segments(folder)
    header, line = gzip.decompress(segment.read_bytes()).splitlines()
    assert json.loads(header)["schema"] == recorded.SCHEMA
    assert json.loads(line)["request"]["name"] == "settings"


@pytest.mark.parametrize(("rate", "expected"), [(1.0, 100), (0.25, 25), (0.1, 10)])
def test_a_rate_is_an_even_share(tmp_path: Path, recorder: Any, review: Any, rate: float, expected: int) -> None:
    each, _ = recorder(rate=rate)
    for _ in range(100):
        each(review(), NOTHING, POLICIES)
    each.close()
    assert abs(len(read(tmp_path / "record")[0]) - expected) <= 1


def test_a_slow_writer_drops_and_counts(
    recorder: Any, review: Any, monkeypatch: pytest.MonkeyPatch, told: Lines
) -> None:
    gate = threading.Event()
    one = Recorder._one
    monkeypatch.setattr(Recorder, "_one", lambda *args: (gate.wait(30), one(*args))[1])
    each, cells = recorder()
    body = review(junk="x" * 100_000)
    many = 3 * record.QUEUE_BYTES // len(body)
    for _ in range(many):
        each(body, NOTHING, POLICIES)
    assert each._put_bytes - each._taken_bytes <= record.QUEUE_BYTES
    dropped = cells.record_dropped["queue"]
    assert dropped >= many // 2
    assert ("record_dropped", {"reason": "queue"}) in told
    gate.set()
    each.close(30)
    assert cells.recorded == many - dropped


def test_what_cannot_be_redacted_is_counted(tmp_path: Path, recorder: Any, review: Any, told: Lines) -> None:
    each, cells = recorder()
    each(b'{"canary": 1}', NOTHING, POLICIES)
    each(review(), NOTHING, POLICIES)
    each.close()
    assert cells.record_dropped["failed"] == 1
    assert len(read(tmp_path / "record")[0]) == 1
    assert "canary" not in str(told)


def test_a_broken_disk_ends_the_recording_alone(
    recorder: Any, review: Any, monkeypatch: pytest.MonkeyPatch, told: Lines
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webhook.serve.segments.os.write", full)
    each, cells = recorder()
    each(review(), NOTHING, POLICIES)
    each.close()
    assert cells.recording == 0
    assert [fields["reason"] for event, fields in told if event == "recording_stopped"] == ["No space left on device"]
    each(review(), NOTHING, POLICIES)
    assert cells.record_dropped["stopped"] == 1


def test_a_second_process_does_not_write_into_the_same_folder(recorder: Any, review: Any, told: Lines) -> None:
    first, first_cells = recorder()
    first(review(), NOTHING, POLICIES)
    wait_for(lambda: first_cells.recorded == 1)
    _, cells = recorder()
    wait_for(lambda: cells.recording == 0 or any(event == "recording_stopped" for event, _ in told))
    assert "another process" in str(told)


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(UserError, match=r"mode 0755 .* chmod 700"):
        check_folder(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file"):
        check_folder(tmp_path / "file")


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def size_of(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())


def test_the_record_stays_within_its_size_and_keeps_the_newest(tmp_path: Path) -> None:
    clock = Clock()
    store = Segments(tmp_path, total_bytes=1 << 20, seconds=1e9, wall=clock)
    for number in range(800):
        clock.now += 0.5
        assert store.write(Header(), b'{"n":%d,"x":"%b"}\n' % (number, os.urandom(4_000).hex().encode()))
        assert size_of(tmp_path) <= 1 << 20
    store.close()
    assert size_of(tmp_path) > 1 << 19
    lines = [json.loads(line) for file in recorded.segments(tmp_path) for line in _data(file)]
    kept = [line["n"] for line in lines]
    assert kept == list(range(kept[0], 800))
    assert not store.write(Header(), b"x" * (1 << 20))


def _data(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines()[1:]


def test_old_segments_go(tmp_path: Path) -> None:
    clock = Clock()
    store = Segments(tmp_path, total_bytes=1 << 20, seconds=86_400, wall=clock)
    store.write(Header(), b"{}\n")
    store.close()
    clock.now += 50_000
    store.prune()
    assert recorded.segments(tmp_path)
    clock.now += 50_000
    store.prune()
    assert not recorded.segments(tmp_path)


def test_another_set_is_another_segment(tmp_path: Path) -> None:
    store = Segments(tmp_path, total_bytes=1 << 20, seconds=86_400, wall=Clock())
    for digest in ("a", "a", "b", "a"):
        store.write(Header(set=digest), b"{}\n")
    store.close()
    headers = [json.loads(gzip.decompress(each.read_bytes()).splitlines()[0]) for each in recorded.segments(tmp_path)]
    assert [each["set"] for each in headers] == ["a", "b", "a"]
    with pytest.raises(Busy):
        Segments(tmp_path, total_bytes=1 << 20, seconds=1)
    store.release()
    Segments(tmp_path, total_bytes=1 << 20, seconds=1).release()


def test_every_prefix_of_a_segment_can_be_read(tmp_path: Path, recorder: Any, review: Any) -> None:
    each, _ = recorder()
    for number in range(20):
        each(review(uid=f"u-{number}"), NOTHING, POLICIES)
    each.close()
    (segment,) = recorded.segments(tmp_path / "record")
    whole = segment.read_bytes()
    counts = []
    for cut in range(0, len(whole), 7):
        segment.write_bytes(whole[:cut])
        found, damage = read(tmp_path / "record")
        assert [one.request.uid for one in found] == [f"u-{number}" for number in range(len(found))]
        assert damage.counts == {"half-written end": 1}
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == 20  # all but the checksum is there


def test_any_damaged_byte_is_counted_or_harmless(tmp_path: Path, recorder: Any, review: Any) -> None:
    each, _ = recorder()
    for number in range(5):
        each(review(uid=f"u-{number}"), NOTHING, POLICIES)
    each.close()
    (segment,) = recorded.segments(tmp_path / "record")
    whole = segment.read_bytes()
    for place in range(10, len(whole), 5):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        _, damage = read(tmp_path / "record")
        assert damage.counts, place


# A process of its own, over TLS.


def records(process: Any, folder: Path, count: int) -> None:
    wait_for(lambda: len(read(folder)[0]) >= count)


def test_serve_records_over_tls_and_leaves_a_whole_record(tmp_path: Path, serve: Any, raw: Any, review: Any) -> None:
    folder = tmp_path / "made" / "record"
    process = serve("--record", str(folder))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"p": "Y2FuYXJ5"}}
    kind = {"group": "", "version": "v1", "kind": "Secret"}
    with process.connect() as connection:
        for number in range(20):
            assert raw(connection, review(uid=f"u-{number}")).response["allowed"] is True
        raw(connection, review(uid="secret", kind=kind, object=secret))
    assert process.stop() == 0
    found, damage = read(folder)
    assert [each.request.uid for each in found] == [*(f"u-{number}" for number in range(20)), "secret"]
    assert found[-1].redacted == ("/object/data/p",)
    assert not damage.counts
    assert [each.name.endswith(recorded.WHOLE) for each in recorded.segments(folder)] == [True]


def test_a_killed_process_leaves_a_readable_record(tmp_path: Path, serve: Any, raw: Any, review: Any) -> None:
    folder = tmp_path / "record"
    process = serve("--record", str(folder))
    with process.connect() as connection:
        for number in range(50):
            raw(connection, review(uid=f"u-{number}"))
        records(process, folder, 50)
        raw(connection, review(uid="late"))
        process.popen.send_signal(signal.SIGKILL)
    process.popen.wait()
    found, damage = read(folder)
    assert [each.request.uid for each in found][:50] == [f"u-{number}" for number in range(50)]
    assert damage.counts == {"half-written end": 1}
    # The next process goes on beside what the dead one left.
    again = serve("--record", str(folder))
    with again.connect() as connection:
        raw(connection, review(uid="again"))
    assert again.stop() == 0
    assert [each.request.uid for each in read(folder)[0]][-1] == "again"


def test_a_full_disk_ends_the_recording_and_not_the_serving(tmp_path: Path, serve: Any, raw: Any, review: Any) -> None:
    """No file of the process may grow beyond 64 KB: to the writer the same as a disk without room."""
    folder = tmp_path / "record"
    process = serve("--record", str(folder))
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (65_536, 65_536))
    with process.connect() as connection:
        for number in range(200):
            labels = {f"l-{each}": os.urandom(30).hex() for each in range(20)}
            meta = {"name": "x", "labels": labels}
            answer = raw(connection, review(uid=f"u-{number}", object={"kind": "ConfigMap", "metadata": meta}))
            assert answer.response["allowed"] is True
        stopped = process.wait_for("recording_stopped")
        assert stopped["level"] == "error"
        assert "large" in stopped["reason"].lower()
        assert raw(connection, review(uid="after")).response["allowed"] is True
    assert process.stop() == 0
    found, _ = read(folder)
    assert len(found) > 10


def test_a_folder_for_everybody_is_an_error_at_the_start(tmp_path: Path, certificates: Path) -> None:
    from webhook.serve.server import run
    from webhook.settings import Settings

    folder = tmp_path / "record"
    folder.mkdir()
    folder.chmod(0o777)
    settings = Settings(
        host="127.0.0.1",
        port=0,
        metrics_port=0,
        tls_cert=certificates / "tls.crt",
        tls_key=certificates / "tls.key",
        record=folder,
    )
    with pytest.raises(UserError, match="chmod 700"):
        run(settings)


def test_a_recorder_that_fails_does_not_take_the_answer_with_it(
    review: Any, post: Any, admission: Callable[..., Admission]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    answer = post(admission(lambda context: None, recorder=broken), review())
    assert answer.status == 200
    assert answer.response["allowed"] is True


@pytest.mark.corpus
def test_unchanged_policies_agree_with_what_was_served(
    tmp_path: Path, serve: Any, raw: Any, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real reviews over TLS, the shipped set, and then `backtest` with the same."""
    from webhook.cli import main

    lines = (corpora / "reviews" / "recorded.jsonl").read_bytes().splitlines()
    folder = tmp_path / "record"
    process = serve("--record", str(folder), "--budget-ms", "500", "--max-wait-ms", "10000")
    with process.connect() as connection:
        for line in lines:
            assert raw(connection, line, path="/validate?timeout=10s").response["allowed"] is True
    assert process.stop() == 0
    assert main(["backtest", str(folder), "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    tokens = sum(b'"subResource":"token"' in line for line in lines)
    assert tokens
    assert document["record"]["reviews"] > len(lines) - tokens - 30
    assert document["record"]["damage"] == {}
    for each in document["policies"]:
        assert (each["newly"], each["no_longer"], each["errors"], each["failed"]) == (0, 0, 0, 0), each
    assert sum(each["compared"] for each in document["policies"]) > 100
