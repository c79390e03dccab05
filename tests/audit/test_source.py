from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.audit.source import Place, Unreadable, files, read, unpack
from webhook.audit.source import lines as lines_module
from webhook.errors import UserError


def lines_of(path: Path | str, unreadable: Unreadable | None = None) -> list[tuple[int, bytes]]:
    """(offset, line) of everything that is read."""
    found = []
    for block in read([str(path)], unreadable if unreadable is not None else Unreadable()):
        offset = block.offset
        for line in block.lines:
            found.append((offset, line))
            offset += len(line) + 1
    return found


def test_lines_with_their_offsets(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(b"one\n\nthree\nhalf")
    assert lines_of(file) == [(0, b"one"), (4, b""), (5, b"three"), (11, b"half")]
    blocks = list(read([str(file)], Unreadable()))
    assert [block.open_end for block in blocks] == [False, True]


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=30),
    st.integers(1, 9),
    st.booleans(),
)
def test_blocks_do_not_matter(lines: list[bytes], size: int, closed: bool) -> None:
    """However the bytes arrive, the lines are the file's."""
    text = b"\n".join([b"x", *lines]) + (b"\n" if closed else b"")
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    found = []
    for block in lines_module.split("f", pieces, Unreadable()):
        offset = block.offset
        for line in block.lines:
            assert text[offset : offset + len(line)] == line
            found.append(line)
            offset += len(line) + 1
    whole = text.split(b"\n")
    assert found == (whole if whole[-1] else whole[:-1])


def test_gzip_by_content_and_members_in_a_row(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"  # no .gz in the name
    file.write_bytes(gzip.compress(b"one\ntwo\n") + gzip.compress(b"") + gzip.compress(b"three\n") + b"\0" * 64)
    assert [line for _, line in lines_of(file)] == [b"one", b"two", b"three"]


def test_a_member_that_is_much_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "BLOCK", 64)
    monkeypatch.setattr(files, "BLOCK", 64)
    file = tmp_path / "audit.log.gz"
    lines = [b"line %d" % number * 5 for number in range(400)]
    file.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    assert [line for _, line in lines_of(file)] == lines


@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_broken_gzip_gives_what_it_has(tmp_path: Path, cut: int) -> None:
    text = b"".join(b"line %d\n" % number for number in range(5_000))
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
    text = b"".join(b"%d\n" % (number * 7_919 % 100_003) for number in range(200_000))
    packed = bytearray(gzip.compress(text))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xff" * 40
    file = tmp_path / "audit.log.gz"
    file.write_bytes(packed)
    expected = b""
    unpack = zlib.decompressobj(wbits=31)
    with contextlib.suppress(zlib.error):
        for byte in packed:
            expected += unpack.decompress(bytes([byte]))
    unreadable = Unreadable()
    found = b"\n".join(line for _, line in lines_of(file, unreadable))
    assert unreadable.counts == {"broken_gzip": 1}
    assert expected.startswith(found[:-1])
    assert len(expected) - len(found) < 64 * 100
    assert found.startswith(text[: len(text) * 2 // 5])


def test_a_line_without_end_is_skipped_to_its_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 1_000)
    monkeypatch.setattr(lines_module, "LINE_MAX", 10_000)
    file = tmp_path / "audit.log"
    file.write_bytes(b"one\n" + b"x" * 123_456 + b"\ntwo\n")
    unreadable = Unreadable()
    found = lines_of(file, unreadable)
    assert found == [(0, b"one"), (4 + 123_456 + 1, b"two")]
    assert unreadable.counts == {"oversize_line": 1}
    assert unreadable.places["oversize_line"] == [Place(str(file), 4)]


def test_only_a_few_places_are_kept() -> None:
    unreadable = Unreadable()
    for offset in range(100):
        unreadable.add("not_json", "f", offset)
    assert unreadable.counts == {"not_json": 100}
    assert [place.offset for place in unreadable.places["not_json"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"\x28\xb5\x2f\xfd....", "zstd_not_supported"),
        (b"PK\x03\x04....", "zip_not_supported"),
        ('{"kind":"Event"}\n'.encode("utf-16"), "utf16_not_supported"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, first: bytes, reason: str) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(first)
    unreadable = Unreadable()
    assert lines_of(file, unreadable) == []
    assert unreadable.counts == {reason: 1}


def test_a_byte_order_mark_is_no_part_of_the_line(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(b"\xef\xbb\xbf{}\nnext\n")
    assert lines_of(file) == [(3, b"{}"), (6, b"next")]


def test_standard_input_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"from stdin\n")

    monkeypatch.setattr("sys.stdin", Stdin)
    (tmp_path / "b.log").write_bytes(b"b\n")
    (tmp_path / "a.log").write_bytes(b"a\n")
    blocks = list(itertools.chain(read(["-", str(tmp_path)], Unreadable())))
    assert [block.lines for block in blocks] == [[b"from stdin"], [b"a"], [b"b"]]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        lines_of(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        lines_of(tmp_path / "empty")


def test_progress_counts_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(b"x\n" * 10)
    heard: list[tuple[str, int]] = []
    list(read([str(file)], Unreadable(), progress=lambda name, done: heard.append((name, done))))
    assert heard == [(str(file), 20)]
