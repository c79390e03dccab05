"""YAML as `kubectl` reads it, with positions; and files that nobody writes by accident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.yamlfile import Mark, files, parse, path_text, read, resolve


def value(text: str) -> Any:
    file = parse(text.encode(), name="f.yaml")
    assert not file.problems, file.problems
    return file.documents[0].value


def problem(data: str | bytes) -> str:
    file = parse(data if isinstance(data, bytes) else data.encode(), name="f.yaml")
    assert len(file.problems) == 1
    return str(file.problems[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What kubectl 1.37 sends for each, seen with `create --dry-run=client -o json`.
        *(("y", True), ("yes", True), ("on", True), ("NO", False), ("N", False), ("off", False)),
        *(("010", 8), ("0o10", 8), ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("+1", 1), ("-0", 0), ("09", 9)),
        *(("1e3", 1000), ("1.0", 1), ("1.", 1), (".5", 0.5), ("1.5e3", 1500), ("99999999999999999999", 1e20)),
        *(("2001-01-01", "2001-01-01"), ("12:30:45", "12:30:45"), ("=", "="), (".inf2", ".inf2"), ("1.2.3", "1.2.3")),
        *(("~", None), ("", None), ("null", None), ("nul", "nul")),
    ],
)
def test_scalars_as_kubectl_resolves_them(text: str, expected: Any) -> None:
    assert value(f"a: {text}") == {"a": expected}
    assert type(value(f"a: {text}")["a"]) is type(expected)


def test_quoted_scalars_stay_text() -> None:
    assert value("a: '1'\nb: \"yes\"\nc: |-\n  2\nd: !!str 3") == {"a": "1", "b": "yes", "c": "2", "d": "3"}


def test_keys_are_text() -> None:
    assert value("1: a\ntrue: b\n1.5: c\n'x': d") == {"1": "a", "true": "b", "1.5": "c", "x": "d"}


def test_merge_keys() -> None:
    text = "base: &b {k: 1, l: 2}\none: {<<: *b, k: 3}\ntwo: {<<: [{l: 9}, *b]}"
    assert value(text) == {"base": {"k": 1, "l": 2}, "one": {"k": 3, "l": 2}, "two": {"l": 9, "k": 1}}


def test_several_documents_and_empty_ones() -> None:
    file = parse(b"# only a comment\n---\na: 1\n---\n---\nb: 2\n", name="f")
    assert [each.value for each in file.documents] == [{"a": 1}, None, {"b": 2}]


def test_json_is_yaml() -> None:
    assert value('{"a": [1, 2.5, null, "x"], "b": {"c": "\\u00e9"}}') == {"a": [1, 2.5, None, "x"], "b": {"c": "é"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        ('{"a": "\x7f"}', {"a": "\x7f"}),
        (f'{{"{"k" * 2_000}": 1.0}}', {"k" * 2_000: 1}),
        ('{\n\t"a": 9223372036854775808\n}', {"a": 2.0**63}),
    ],
)
def test_json_that_is_no_yaml(text: str, expected: Any) -> None:
    assert value(text) == expected
    (document,) = parse(text.encode(), name="f", marks=False).documents
    assert document.value == expected
    assert [type(each) for each in document.value.values()] == [type(each) for each in expected.values()]


def test_json_with_a_key_twice_is_refused() -> None:
    assert "second time" in problem('{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "f.yaml:2:1: not YAML"),
        ("a: b: c", "f.yaml:1:5: not YAML"),
        ("a: 1\na: 2", "f.yaml:2:1: the key 'a' stands here a second time"),
        ("a: *x", "f.yaml:1:4: no anchor &x"),
        ("a: &x [*x]", "f.yaml:1:8: the alias *x is part of what it stands for"),
        ("? [1]\n: 2", "f.yaml:1:3: expected a key, found a collection"),
        ("~: 1", "f.yaml:1:1: expected a key, found null"),
        ("a: {<<: 1}", "after `<<`"),
        ("a: \x01", "f.yaml:1: not YAML: control characters"),
        ("a: !!binary aGk=", "!!binary"),
        ("a: 1\n\tb: 2", "f.yaml:2:1: not YAML"),
    ],
)
def test_what_is_wrong_and_where(text: str, expected: str) -> None:
    assert expected in problem(text)


def test_tags_never_make_objects() -> None:
    assert value("a: !!python/object/apply:os.system ['true']") == {"a": ["true"]}


def test_the_documents_before_a_problem_are_kept() -> None:
    file = parse(b"a: 1\n---\nb: [", name="f")
    assert [each.value for each in file.documents] == [{"a": 1}]
    assert len(file.problems) == 1


def test_not_utf_8() -> None:
    assert "f.yaml:2: byte 8 is not UTF-8" in problem(b"a: 1\nb: \xff\n")
    assert value("\ufeffa: 1") == {"a": 1}


def test_billion_laughs() -> None:
    levels = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases multiply" in problem("\n".join(levels))


def test_deep_nesting_is_refused() -> None:
    assert "levels deep" in problem("[" * 500 + "]" * 500)
    assert "not YAML" in problem("[" * 100_000)
    assert "levels deep" in problem('{"a":' * 900 + "1" + "}" * 900)
    assert "levels deep" in problem("\n".join("  " * i + "a:" for i in range(500)))


def test_long_digits_are_text_or_numbers_but_never_slow() -> None:
    assert value("a: " + "9" * 100_000)["a"] == "9" * 100_000


class TestPositions:
    TEXT = """\
spec:
  validations:
  - expression: >-
      object.spec.x ==
      3 && object.y
    message: |
      line one
        line two
    quoted: "abc def"
    plain: abc
      ghi
  "odd key": [1, 2]
"""

    def test_of_values(self) -> None:
        (document,) = parse(self.TEXT.encode(), name="f").documents
        assert document.at(("spec", "validations", 0, "message")) == Mark(6, 14)
        assert document.at(("spec", "odd key", 1)) == Mark(12, 18)
        # What is not there is at what is around it.
        assert document.at(("spec", "validations", 0, "reason")) == Mark(3, 5)

    @pytest.mark.parametrize(
        ("field", "line", "column", "expected"),
        [
            ("expression", 1, 1, (4, 7)),
            ("expression", 1, 18, (5, 7)),
            ("message", 2, 9, (8, 15)),
            ("quoted", 1, 5, (9, 18)),
            ("plain", 1, 5, (11, 7)),
        ],
    )
    def test_inside_text(self, field: str, line: int, column: int, expected: tuple[int, int]) -> None:
        (document,) = parse(self.TEXT.encode(), name="f").documents
        mark = document.inside(("spec", "validations", 0, field), line, column)
        assert (mark.line, mark.column) == expected

    def test_of_a_part(self) -> None:
        (document,) = parse(self.TEXT.encode(), name="f").documents
        part = document.part(("spec", "validations", 0))
        assert part.value["quoted"] == "abc def"
        assert part.at(("quoted",)).line == 9

    def test_a_problem_shows_the_line(self) -> None:
        (document,) = parse(self.TEXT.encode(), name="f").documents
        shown = str(document.problem(("spec", "odd key"), "wrong"))
        assert shown == 'f:12:14: spec[odd key]: wrong\n  |   "odd key": [1, 2]\n  | .............^'


@given(st.lists(st.sampled_from(["a", "b-c", "x y", 0, 3])))
def test_path_text_of_any_path(steps: list[str | int]) -> None:
    assert path_text(tuple(steps)).count("[") >= sum(isinstance(step, int) for step in steps)


@given(st.text(max_size=30))
def test_resolve_takes_any_text(text: str) -> None:
    assert resolve(text) is None or isinstance(resolve(text), (str, int, float))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    file = parse(data, name="f")
    assert len(file.problems) <= 1


class TestFiles:
    def test_order_and_kinds(self, tmp_path: Path) -> None:
        for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".hidden.yaml", "sub/e.yaml"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("a: 1")
        assert [str(each.relative_to(tmp_path)) for each in files([tmp_path])] == [
            "a.yml",
            "b.yaml",
            "c.json",
            "sub/e.yaml",
        ]
        assert list(files([tmp_path / "d.txt"])) == [tmp_path / "d.txt"]

    def test_a_mounted_config_map_is_read_once(self, tmp_path: Path) -> None:
        real = tmp_path / "..2026_11_25"
        real.mkdir()
        (real / "p.yaml").write_text("a: 1")
        (tmp_path / "..data").symlink_to(real.name)
        (tmp_path / "p.yaml").symlink_to("..data/p.yaml")
        assert list(files([tmp_path])) == [tmp_path / "p.yaml"]

    def test_a_loop_of_links_ends(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "p.yaml").write_text("a: 1")
        assert list(files([tmp_path])) == [tmp_path / "p.yaml"]

    def test_what_cannot_be_read_is_a_problem(self, tmp_path: Path) -> None:
        (missing,) = read(tmp_path / "none.yaml").problems
        assert "no such file" in missing.message
        fifo = tmp_path / "dir.yaml"
        fifo.mkdir()
        (folder,) = read(fifo).problems
        assert "directory" in folder.message
        if os.geteuid() != 0:
            secret = tmp_path / "secret.yaml"
            secret.write_text("a: 1")
            secret.chmod(0)
            assert read(secret).problems
