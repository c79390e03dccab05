from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.audit import events
from webhook.audit.source import Lines, Place, Unreadable, documents, files, read, reader, unpack
from webhook.audit.source.reader import events_in
from webhook.errors import UserError


def event(number: int, **more: Any) -> bytes:
    """An event as the API server writes it."""
    fields = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/shop/pods/web-{number}",
        "verb": "update",
        "user": {"username": "alice"},
        "objectRef": {"resource": "pods", "namespace": "shop", "name": f"web-{number}", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-11-24T10:00:00.000000Z",
        "stageTimestamp": "2026-11-24T10:00:00.100000Z",
        **more,
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def lines_of(path: Path | str, unreadable: Unreadable | None = None) -> list[tuple[int, bytes]]:
    """(offset, line) of every event that is read."""
    found: list[tuple[int, bytes]] = []
    for batch in read([str(path)], unreadable if unreadable is not None else Unreadable()):
        assert isinstance(batch, Lines)
        found += batch.places()
    return found


def ids_of(path: Path | str, unreadable: Unreadable | None = None, **more: Any) -> list[str]:
    """The auditIDs of the events that are read."""
    found = []
    for batch in read([str(path)], unreadable if unreadable is not None else Unreadable(), **more):
        if isinstance(batch, Lines):
            found += [events.decode(line).audit_id for line in batch.lines]
        else:
            found += [record.event.audit_id for record in batch.records]
    return found


def test_lines_with_their_offsets(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    one, two, half = event(1), event(2), event(3)[:300]
    file.write_bytes(one + b"\n\n" + two + b"\r\n" + half)
    second = len(one) + 2
    found = lines_of(file)
    assert [offset for offset, _ in found] == [0, second, second + len(two) + 2]
    assert [line.strip() for _, line in found] == [one, two, half]
    batches = [batch for batch in read([str(file)], Unreadable()) if isinstance(batch, Lines)]
    assert [batch.open_end for batch in batches] == [False, True]


@given(
    st.lists(
        st.one_of(
            st.integers(0, 99).map(event),
            st.integers(0, 99).map(lambda number: json.dumps(json.loads(event(number)), indent=1).encode()),
            st.integers(0, 99).map(lambda number: event(number) + event(number + 1)),
            st.integers(0, 99).map(lambda number: b"[" + event(number) + b",\n" + event(number + 1) + b"]"),
            st.integers(0, 99).map(lambda number: b"node-1 " + event(number)),
            st.integers(0, 99).map(lambda number: event(number, verb="get")),
            st.sampled_from([b"", b"I0612 klog", b'{"other":1}', event(7)[:200], b'{"a":"broken', b"{", b"]"]),
        ),
        max_size=12,
    ),
    st.integers(1, 700),
    st.booleans(),
)
def test_blocks_do_not_matter(lines: list[bytes], size: int, skip_reads: bool) -> None:
    """However the bytes arrive, the events, their offsets and what is refused are the same."""
    text = b"\n".join(lines)

    def reading(size: int) -> tuple[Any, ...]:
        unreadable = Unreadable()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        found: list[tuple[int, bytes]] = []
        reads = 0
        for batch in events_in("f", pieces, unreadable, skip_reads=skip_reads):
            assert isinstance(batch, Lines)
            seen = [(events.glance(line), offset, line) for offset, line in batch.places()]
            found += [(offset, line) for glance, offset, line in seen if glance is None or not glance[0]]
            reads += batch.reads + sum(glance is not None and glance[0] for glance, _, _ in seen)
        return found, reads, unreadable.counts, unreadable.places

    assert reading(size) == reading(len(text) + 1)


def test_gzip_by_content_and_members_in_a_row(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"  # no .gz in the name
    members = [event(1) + b"\n" + event(2) + b"\n", b"", event(3) + b"\n"]
    file.write_bytes(b"".join(map(gzip.compress, members)) + b"\0" * 64)
    assert ids_of(file) == ["id-1", "id-2", "id-3"]


def test_a_member_that_is_much_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "BLOCK", 64)
    monkeypatch.setattr(files, "BLOCK", 64)
    file = tmp_path / "audit.log.gz"
    lines = [event(number) for number in range(400)]
    file.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    assert [line for _, line in lines_of(file)] == lines


@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_broken_gzip_gives_what_it_has(tmp_path: Path, cut: int) -> None:
    text = b"".join(event(number) + b"\n" for number in range(2_000))
    packed = gzip.compress(text, compresslevel=1)
    file = tmp_path / "audit.log.gz"
    file.write_bytes(packed[:-cut])
    unreadable = Unreadable()
    found = lines_of(file, unreadable)
    assert unreadable.counts == {"incomplete_gzip": 1}
    (place,) = unreadable.places["incomplete_gzip"]
    assert place.file == str(file)
    assert text.startswith(b"\n".join(line for _, line in found[:-1]))
    assert len(found) > 1_000


def test_garbage_inside_a_gzip(tmp_path: Path) -> None:
    """Everything up to where zlib notices, which is later than where it begins."""
    text = b"".join(event(number * 7_919 % 100_003) + b"\n" for number in range(4_000))
    packed = bytearray(gzip.compress(text))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xff" * 40
    file = tmp_path / "audit.log.gz"
    file.write_bytes(packed)
    expected = bytearray()
    unpack_ = zlib.decompressobj(wbits=31)
    with contextlib.suppress(zlib.error):
        for byte in packed:
            expected += unpack_.decompress(bytes([byte]))
    unreadable = Unreadable()
    found = lines_of(file, unreadable)
    assert unreadable.counts["broken_gzip"] == 1
    whole = b"\n".join(line for _, line in found[:-2]) + b"\n"
    assert expected.startswith(whole)
    assert text.startswith(whole[: len(text) * 2 // 5])
    assert len(whole) > len(text) * 2 // 5


@pytest.mark.parametrize("start", [b"x", b"{", b'{"a":"', event(9)[:-1] + b',"x":"'])
def test_a_line_without_end_is_skipped_to_its_newline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(files, "BLOCK", 1_000)
    monkeypatch.setattr(reader, "LINE_MAX", 10_000)
    monkeypatch.setattr(documents, "DOCUMENT_MAX", 20_000)
    file = tmp_path / "audit.log"
    one, two = event(1), event(2)
    long = start + b"x" * 123_456
    file.write_bytes(one + b"\n" + long + b"\n" + two + b"\n")
    unreadable = Unreadable()
    assert lines_of(file, unreadable) == [(0, one), (len(one) + len(long) + 2, two)]
    assert unreadable.counts == {"oversize_line": 1}
    assert unreadable.places["oversize_line"] == [Place(str(file), len(one) + 1)]


def test_many_documents_in_one_very_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firehose writes JSON without newlines between: long, but no long document."""
    monkeypatch.setattr(files, "BLOCK", 1_000)
    monkeypatch.setattr(reader, "LINE_MAX", 10_000)
    file = tmp_path / "object"
    file.write_bytes(b"".join(event(number) for number in range(300)))
    assert ids_of(file) == [f"id-{number}" for number in range(300)]


def test_only_a_few_places_are_kept() -> None:
    unreadable = Unreadable()
    for offset in range(100):
        unreadable.add("not_json", "f", offset)
    assert unreadable.counts == {"not_json": 100}
    assert [place.offset for place in unreadable.places["not_json"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    """PowerShell redirects in UTF-16."""
    file = tmp_path / "audit.log"
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    file.write_bytes(mark + (event(1) + b"\r\n" + event(2) + b"\r\n").decode().encode(encoding))
    assert ids_of(file) == ["id-1", "id-2"]


def test_standard_input_folders_and_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(event(1)))

    monkeypatch.setattr("sys.stdin", Stdin)
    (tmp_path / "b.log").write_bytes(event(3) + b"\n")
    (tmp_path / "a.log").write_bytes(event(2) + b"\n")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "c.log").write_bytes(event(4))
    assert ids_of("-") == ["id-1"]
    assert ids_of(tmp_path) == ["id-2", "id-3", "id-4"]
    assert ids_of(tmp_path / "[ab]*.log") == ["id-2", "id-3"]
    assert ids_of(tmp_path / "**" / "*.log") == ["id-2", "id-3", "id-4"]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        lines_of(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        lines_of(tmp_path / "empty")
    with pytest.raises(UserError, match="matches no file"):
        lines_of(tmp_path / "*.log")


def test_progress_counts_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(event(1) * 10)
    heard: list[tuple[str, int]] = []
    list(read([str(file)], Unreadable(), progress=lambda name, done: heard.append((name, done))))
    assert heard == [(str(file), len(event(1)) * 10)]
