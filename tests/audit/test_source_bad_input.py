"""What is damaged, cut, hostile or of something else: counted, named with its place, and the rest is read."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from webhook import cli
from webhook.audit.source import Lines, Place, Unreadable, files, read, unpack

START = datetime.datetime(2026, 11, 24, 10, tzinfo=datetime.UTC)


def event(number: int, *, at: datetime.datetime = START, **more: Any) -> bytes:
    fields = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "requestURI": f"/apis/apps/v1/namespaces/shop/deployments/web-{number}",
        "verb": "update",
        "user": {"username": "alice"},
        "objectRef": {
            "resource": "deployments",
            "namespace": "shop",
            "name": f"web-{number}",
            "apiGroup": "apps",
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "annotations": {"authorization.k8s.io/decision": "allow"},
        **more,
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


ONE, TWO, THREE = (event(number) for number in (1, 2, 3))


def reading(file: Path, data: bytes | None = None) -> tuple[list[bytes], dict[str, int]]:
    """(lines that are handed on, what was refused by reason)."""
    if data is not None:
        file.write_bytes(data)
    unreadable = Unreadable()
    lines: list[bytes] = []
    for batch in read([str(file)], unreadable):
        assert isinstance(batch, Lines)
        lines += batch.lines
    assert all(place.file.startswith(str(file)) for places in unreadable.places.values() for place in places)
    return lines, dict(unreadable.counts)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_cut_and_corrupt(tmp_path: Path, pack: Any) -> None:
    name = "gzip" if pack is gzip.compress else "zstd"
    first, second = pack(ONE + b"\n"), pack(TWO + b"\n" + THREE)
    file = tmp_path / "audit.log"
    lines, refused = reading(file, first + second[:-6])
    assert lines[0] == ONE
    assert refused[f"incomplete_{name}"] == 1
    lines, refused = reading(file, first + second[:20] + b"\xff" * 40 + second[60:])
    assert lines[0] == ONE
    assert refused[f"broken_{name}"] == 1


def test_a_zip_that_is_none_and_one_that_is_locked(tmp_path: Path) -> None:
    file = tmp_path / "logs"
    assert reading(file, b"PK\x03\x04" + b"x" * 100) == ([], {"broken_zip": 1})
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.log", ONE)
        archive.writestr("folder/b.log.gz", gzip.compress(TWO))
    data = bytearray(held.getvalue())
    assert reading(file, bytes(data)) == ([ONE, TWO], {})
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"PK\x01\x02"))
    data[at + 8] |= 1  # the first member's "encrypted" flag, in the directory
    unreadable = Unreadable()
    file.write_bytes(data)
    assert [line for batch in read([str(file)], unreadable) for line in batch.lines] == [TWO]  # type: ignore[union-attr]
    assert unreadable.places == {"encrypted_zip": [Place(f"{file}!a.log", 0)]}


def test_layers(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    packed = gzip.compress(zstandard.compress(gzip.compress(ONE)))
    assert reading(file, packed) == ([ONE], {})
    assert reading(file, gzip.compress(packed)) == ([], {"too_many_layers": 1})


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    monkeypatch.setattr(unpack, "SLACK", 1 << 20)
    monkeypatch.setattr(unpack, "RATIO_MAX", 100)
    data = gzip.compress(ONE + b"\n" + b" " * (64 << 20))
    for _ in range(layers - 1):
        data = zstandard.compress(data)
    lines, refused = reading(tmp_path / "audit.log.gz", data)
    assert lines[:1] in ([ONE], [])
    assert refused.pop("oversize_line", 0) in (0, 1)
    assert refused == {"decompression_bomb": 1}


def test_no_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    assert reading(tmp_path / "audit.log.zst", zstandard.compress(ONE)) == ([], {"zstd_not_installed": 1})


def test_a_line_of_100_mb(tmp_path: Path) -> None:
    """Counted, and skipped to its end; whether it looks like JSON or not."""
    file = tmp_path / "audit.log"
    with file.open("wb") as log:
        log.write(ONE + b"\n" + b"x" * (100 << 20) + b"\n" + TWO + b"\n" + b'{"a":"')
        log.write(b"y" * (100 << 20) + b'"}\n' + THREE + b"\n")
    lines, refused = reading(file)
    assert [line.strip() for line in lines] == [ONE, TWO, THREE]
    assert refused == {"oversize_line": 2}


def test_wrong_encoding_and_the_clock_going_backwards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte of Latin-1 in a name costs nothing; neither do lines out of order."""
    file = tmp_path / "audit.log"
    times = [START, START + datetime.timedelta(days=2), START - datetime.timedelta(days=3), START]
    lines = [event(number, at=at) for number, at in enumerate(times)]
    lines[1] = lines[1].replace(b'"alice"', b'"al\xeece"')
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert cli.main(["readiness", str(file), "--native", "--output", "json", "--now", "2026-11-27T00:00:00Z"]) == 1
    out, err = capsys.readouterr()
    log = json.loads(out)["log"]
    assert log["records"] == {"events": 4}
    assert (log["start"], log["end"]) == ("2026-11-21T10:00:00Z", "2026-11-26T10:00:00Z")
    assert log["unreadable"]["invalid_utf8"]["places"] == [{"file": str(file), "offset": len(lines[0]) + 1}]
    assert "invalid_utf8" in err


def test_a_half_written_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(ONE + b"\n" + TWO[:-40])
    assert cli.main(["readiness", str(file), "--native"]) == 1
    _, err = capsys.readouterr()
    assert f"not read: 1 incomplete_last_line: {file} at byte {len(ONE) + 1}" in err


@pytest.mark.parametrize("tail", [b'{"a":"half', b'[{"a":1}, {"b":', b'{\n "kind": "Event",\n "audi'])
def test_half_written_documents(tmp_path: Path, tail: bytes) -> None:
    lines, refused = reading(tmp_path / "audit.log", ONE + b"\n" + tail)
    assert lines == [ONE]
    assert refused["incomplete_last_line"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        b'{\n "kind": "Event",\n "audi',
        b'{"a":"broken',
        b'{"a":[1,{"b":',
        b'{"a":1}}}',
        b"{not json}",
        b'[{"a":"x',
        b"]",
    ],
)
def test_what_is_broken_costs_nothing_else(tmp_path: Path, broken: bytes) -> None:
    """A document that was broken off ends where the next event begins."""
    lines, refused = reading(tmp_path / "audit.log", ONE + b"\n" + broken + b"\n" + TWO + b"\n" + THREE + b"\n")
    assert [line.strip() for line in lines] == [ONE, TWO, THREE]
    assert 1 <= sum(refused.values()) <= 2
    assert set(refused) <= {"not_json", "not_audit_text", "not_audit_event"}


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncated by copytruncate in the middle of it."""
    monkeypatch.setattr(files, "BLOCK", 1_000)
    file = tmp_path / "audit.log"
    file.write_bytes(b"".join(event(number) + b"\n" for number in range(100)))
    unreadable = Unreadable()
    found = 0
    for batch in read([str(file)], unreadable):
        assert isinstance(batch, Lines)
        found += len(batch.lines)
        if found >= 10 and file.stat().st_size > 500:
            with file.open("r+b") as log:
                log.truncate(500)
    assert 10 <= found < 20
    assert unreadable.counts["changed_while_read"] == 1


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live log: what was written meanwhile is read as well."""
    monkeypatch.setattr(files, "BLOCK", 1_000)
    file = tmp_path / "audit.log"
    file.write_bytes(b"".join(event(number) + b"\n" for number in range(20)))
    unreadable = Unreadable()
    found = 0
    for batch in read([str(file)], unreadable):
        assert isinstance(batch, Lines)
        if not found:
            with file.open("ab") as log:
                log.write(ONE + b"\n")
        found += len(batch.lines)
    assert found == 21
    assert not unreadable


def test_deep_json_is_no_danger(tmp_path: Path) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    lines, refused = reading(tmp_path / "audit.log", deep + b"\n" + b"[" * 100_000 + b"\n" + ONE + b"\n")
    assert lines == [ONE]
    assert sum(refused.values()) == 2


def test_envelopes_in_envelopes_end(tmp_path: Path) -> None:
    text = ONE.decode()
    for _ in range(6):
        text = json.dumps({"message": text})
    lines, refused = reading(tmp_path / "audit.log", text.encode())
    assert (lines, refused) == ([ONE], {})
    for _ in range(6):
        text = json.dumps({"message": text})
    lines, refused = reading(tmp_path / "audit.log", text.encode())
    assert (lines, refused) == ([], {"too_many_layers": 1})


@pytest.mark.parametrize("cut", [0, 7, 200])
def test_zlib_alone_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """Without zlib-ng, which only the `audit` extra brings."""
    packed = gzip.compress(b"".join(event(number) + b"\n" for number in range(500)))
    found = []
    for library in (unpack.inflate, zlib):
        monkeypatch.setattr(unpack, "inflate", library)
        found.append(reading(tmp_path / "audit.log.gz", packed[: len(packed) - cut]))
    assert found[0] == found[1]
    assert len(found[0][0]) > 300


def test_protobuf_is_named(tmp_path: Path) -> None:
    """OTLP on the wire: field 1, length, field 1 of that, …, with the event as text somewhere inside."""
    record = b"\x2a" + bytes([0x80 | len(ONE) & 0x7F, len(ONE) >> 7]) + ONE
    data = b"\n\xff\x05\n\x00\x12\x80\x04\n\x00\x12" + record
    assert reading(tmp_path / "logs.binpb", data) == ([], {"otlp_protobuf": 1})
    assert reading(tmp_path / "logs.json", b"\n\n" + ONE) == ([ONE], {})


def test_an_empty_page_of_cloudwatch_is_no_trouble(tmp_path: Path) -> None:
    assert reading(tmp_path / "page.json", b'{"events":[],"nextToken":"x"}') == ([], {})
