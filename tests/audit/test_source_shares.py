"""A packed log that several processes read together: the same is read, and the same is said, as by one."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from benchmarks.audit_envelopes import ENVELOPES
from benchmarks.audit_log import write
from tests.audit.test_source_planted import count_events, reading
from webhook.audit.source import Unreadable, files, parallel, raw, shares, unreadable
from webhook.audit.source.unreadable import Place

BLOCK = 2_000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", BLOCK)
    monkeypatch.setattr(unreadable, "EXAMPLES", 100_000)
    for module in (shares, parallel):
        monkeypatch.setattr(module, "SHARE_MIN", 4 * BLOCK)


def text(tmp_path: Path, size: int = 1_000_000, seed: int = 0) -> bytes:
    file = tmp_path / "text"
    write(file, size, seed=seed, writes=0.2, trouble=0.02)
    data = file.read_bytes()
    file.unlink()
    return data


def members(data: bytes) -> bytes:
    """Rotated logs in one file, with padding between them."""
    third = len(data) // 3
    pieces = (data[:third], data[third : 2 * third], data[2 * third :])
    return bytes(512).join(gzip.compress(piece) for piece in pieces)


def crumbs(data: bytes) -> bytes:
    """So small that where one event ends and the next begins is in two, or more, of them."""
    pieces = [data[:100], *(data[at : at + 11] for at in range(100, len(data), 11))]
    return b"".join(gzip.compress(piece, 1) for piece in pieces)


def divided(file: Path, count: int) -> list[parallel.Part]:
    parts = [parallel.Part(str(file), share=each) for each in shares.shares(str(file), file.stat().st_size, count)]
    assert len(parts) == count
    return parts


def same(file: Path, parts: list[parallel.Part]) -> None:
    """Whether the parts give what the whole file gives."""
    whole, trouble = reading(file)
    together, again = reading(file, parts=parts)
    assert list(together.rows()) == list(whole.rows())
    assert (together.times, together.requests, together.cut_rows()) == (whole.times, whole.requests, whole.cut_rows())
    assert together.counts == whole.counts
    assert together.minutes == whole.minutes
    assert together.server_minors == whole.server_minors
    assert again.counts == trouble.counts
    assert places(again) == places(trouble)


def places(trouble: Unreadable) -> dict[str, list[int]]:
    """By reason. Those of one block of text may be told in any order."""
    return {reason: sorted(place.offset for place in found) for reason, found in trouble.places.items()}


@pytest.mark.parametrize("pack", [gzip.compress, members, crumbs, zstandard.compress])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_shares_are_the_whole(tmp_path: Path, pack: Callable[[bytes], bytes], count: int) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(pack(text(tmp_path, 200_000 if pack is crumbs else 1_000_000)))
    parts = divided(file, count)
    same(file, parts)
    for part in parts:
        assert sum(reading(file, parts=[part])[0].counts.values()) > 5  # each has work to do


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_told_once(tmp_path: Path, seed: int) -> None:
    """Wherever the packed data is damaged or ends, and whatever follows it; what is before is read."""
    choose = random.Random(seed)  # noqa: S311
    whole = choose.choice([gzip.compress, members, zstandard.compress])(text(tmp_path, 400_000, seed=seed))
    file = tmp_path / "audit.log"
    file.write_bytes(whole)
    ways = [divided(file, count) for count in (2, 3)]
    begins = [start for parts in ways for start in parts[0].share.starts]  # type: ignore[union-attr]
    where = [choose.randrange(2 * BLOCK, len(whole)) for _ in range(6)]
    where += [start + around for start in begins for around in (-1, 0, BLOCK // 2, BLOCK, BLOCK + 1)]
    for at in where:
        for data in (whole[:at], whole[:at] + b"\xff" * 40 + whole[at + 40 :], whole + b"garbage" * 200):
            file.write_bytes(data)
            for parts in ways:
                same(file, parts)


def test_nobody_reads_on_behind_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "audit.log.gz"
    file.write_bytes(gzip.compress(text(tmp_path)))
    first, _ = divided(file, 2)
    read = 0

    def counted(*args: Any) -> Iterator[bytes]:
        nonlocal read
        for block in files.blocks(*args):
            read += len(block)
            yield block

    monkeypatch.setattr(shares, "blocks", counted)
    reading(file, parts=[first])
    assert first.share is not None
    assert first.share.starts[0] < read <= first.share.starts[0] + 2 * BLOCK


def test_the_damage_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "audit.log.gz"
    data = text(tmp_path)
    file.write_bytes(gzip.compress(data)[:-8])
    _, trouble = reading(file, parts=divided(file, 3))
    assert trouble.places["incomplete_gzip"] == [Place(str(file), len(data))]


def test_what_is_written_meanwhile_is_read(tmp_path: Path) -> None:
    """By whoever has the end of it."""
    file = tmp_path / "audit.log.gz"
    file.write_bytes(gzip.compress(text(tmp_path)))
    parts = divided(file, 2)
    before, _ = reading(file, parts=parts)
    with file.open("ab") as log:
        log.write(gzip.compress(text(tmp_path, seed=1)))
    same(file, parts)
    after, _ = reading(file, parts=parts)
    assert sum(after.counts.values()) > 1.5 * sum(before.counts.values())


def test_a_large_packed_file_is_divided(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(gzip.compress(text(tmp_path)))
    found = parallel.parts([str(file)], 2)
    assert [part.share and part.share.number for part in found] == [0, 1]
    same(file, found)


@pytest.mark.parametrize("why", ["one CPU", "small", "wrapped", "packed twice", "zip", "standard input"])
def test_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Nothing is gained, or what was a line of one cannot be told."""
    if why == "small":
        monkeypatch.delattr(parallel, "may_be_shared")  # such a file is not even opened
    data = text(tmp_path, 100_000 if why == "small" else 1_000_000)
    packed = gzip.compress(data)
    if why == "wrapped":
        packed = gzip.compress(b'{"message":""}\n' + data)
    elif why == "packed twice":
        packed = gzip.compress(packed, 0)
    elif why == "zip":
        packed = ENVELOPES["zip"](data.splitlines())
    file = tmp_path / "audit.log"
    file.write_bytes(packed)
    assert (file.stat().st_size < 8 * BLOCK) == (why == "small")
    logs = [str(file), "-"] if why == "standard input" else [str(file)]
    assert parallel.parts(logs, 1 if why == "one CPU" else 2) == [parallel.Part(each) for each in logs]


@pytest.mark.parametrize(
    ("sizes", "jobs", "counts"),
    [
        ([100], 2, [2]),
        ([100, 100], 2, [1, 1]),
        ([100, 100, 100], 2, [1, 1, 2]),
        ([100] * 7, 2, [1] * 6 + [2]),
        ([1000, 20], 2, [2, 1]),
        ([20, 1000], 2, [1, 2]),
        ([110, 100], 2, [1, 1]),
        ([100], 64, [shares.SHARES_MAX]),
        ([100, 100], 4, [2, 2]),
        ([2], 2, [1]),
        ([0, 0], 2, [1, 1]),
        ([], 2, []),
    ],
)
def test_as_many_as_there_is_room_for(
    sizes: list[int], jobs: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are divided when there are fewer left than processes."""
    monkeypatch.setattr(shares, "SHARE_MIN", 2)
    assert shares.spread(sizes, jobs) == counts


def test_processes(tmp_path: Path) -> None:
    """Real ones: what they read together is the file, and so is the progress that is heard of."""
    file = tmp_path / "audit.log.gz"
    write(file, 1_000_000, envelope="gzip")
    heard: list[int] = []
    found = parallel.parts([str(file)], 2)
    results = list(parallel.each(found, count_events, jobs=2, progress=lambda _, done: heard.append(done)))
    assert len(results) == 2
    assert sum(results) == count_events(parallel.Part(str(file)), lambda _file, _bytes: None)
    assert heard[-1] == file.stat().st_size


def test_a_border_is_where_an_event_ends_and_another_begins(tmp_path: Path) -> None:
    """Wherever blocks end: nothing is lost, and each share begins with an event."""
    data = text(tmp_path, 30_000)
    for size in range(1, 80):
        ends = iter(range(size, len(data) + size, size))
        blocks = (data[end - size : end] for end in range(size, len(data) + size, size))
        found: dict[int, bytes] = {}
        for number, offset, piece in shares.divided(blocks, ends.__next__, (5_000, 9_000, 29_990)):
            assert offset == sum(map(len, found.values()))
            found[number] = found.get(number, b"") + piece
        assert b"".join(found.values()) == data
        assert all(found[number].startswith(raw.HEAD) for number in found if number)
        assert len(found) == 3  # behind the last place no event begins any more
