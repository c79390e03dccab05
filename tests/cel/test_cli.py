"""`wouldblock cel eval`: answers for people and for programs, exit codes, errors without tracebacks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from webhook.cli import main


class Stdin:
    """Standard input of bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str) -> tuple[int, list[Any], str]:
    monkeypatch.setattr("sys.stdin", Stdin(data.encode("utf-8", "surrogatepass")))
    code = main(["cel", "eval", "--jsonl"])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1 + 2", "3"),
        ("[1u, 2u]", "[1u, 2u]"),
        ("{'a': b'\\x00z', 'b': b''}", "{\"a\": b'\\x00\\x7a', \"b\": b''}"),
        ("duration('90s')", 'duration("90s")'),
        ("timestamp('2024-01-01T00:00:00Z')", 'timestamp("2024-01-01T00:00:00Z")'),
        ("optional.of('é')", 'optional.of("é")'),
        ("optional.none()", "optional.none()"),
        ("quantity('1Gi')", 'quantity("1Gi")'),
        ("object == null", "true"),
    ],
)
def test_one_expression(text: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cel", "eval", text]) == 0
    assert capsys.readouterr().out == printed + "\n"


def test_inputs_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "object.yaml"
    file.write_text("spec:\n  replicas: 3\n  date: 2024-01-01\n")
    assert (
        main(["cel", "eval", "object.spec.replicas > 2 && object.spec.date == '2024-01-01'", "--object", str(file)])
        == 0
    )
    assert main(["cel", "eval", "object.spec.nope", "--object", str(file), "--output", "json"]) == 1
    assert main(["cel", "eval", "object.spec.replicas", "--object", str(file), "--return", "bool"]) == 2
    shown = capsys.readouterr()
    assert shown.out == 'true\n{"error": "no such key: nope", "cost": 3}\n'
    assert shown.err == "error: must evaluate to bool but got dyn\n"


def test_errors_have_a_caret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cel", "eval", "1 +\n  'a'"]) == 2
    assert capsys.readouterr().err == (
        "error: 1:3: found no matching overload for '_+_' applied to '(int, string)'\n  | 1 +\n  | ..^\n"
    )


def test_python_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cel", "eval", "object.a", "--python"]) == 0
    assert capsys.readouterr().out.startswith("def e1(S, k1=k1):\n")


def test_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    requests = [
        {"id": 1, "expression": "object.a", "object": {"a": 2**70}},
        {"id": "two", "expression": "variables.x + 1", "variables": [{"name": "x", "expression": "1"}]},
        {"expression": "object.a"},
        {"expression": "params == null", "params": None},
        {"expression": "object.s.size()", "object": {"s": "\ud83d\ude00"}},
        {"expression": "1 / 0"},
        {"expression": "1", "return": "bool"},
    ]
    code, answers, _ = lines(monkeypatch, capsys, "\n".join(map(json.dumps, requests)))
    assert answers == [
        {"id": 1, "value": {"double": repr(float(2**70))}, "cost": 2},
        {"id": "two", "value": {"int": "2"}, "cost": 3},
        {"compile_errors": ["1:1: undeclared reference to 'object' (in container '')"], "cost": None},
        {"value": {"bool": True}, "cost": 2},
        {"value": {"int": "1"}, "cost": 3},
        {"error": "division by zero", "cost": 1},
        {"compile_errors": ["must evaluate to bool but got int"], "cost": None},
    ]
    assert code == 2


def test_bad_lines_are_named_and_the_rest_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ["{", "[]", '{"expr": "1"}', '{"expression": 1}', '{"expression": "1", "return": "x"}', "[" * 100_000]
    bad.append('{"expression": "1", "variables": [1]}')
    code, answers, err = lines(monkeypatch, capsys, "\n".join([*bad, '{"expression": "1"}']))
    assert code == 2
    assert answers == [{"value": {"int": "1"}, "cost": 0}]
    assert [line.split(": ")[1] for line in err.splitlines()] == [f"standard input:{n}" for n in range(1, 8)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one expression, or --jsonl"),
        (["1", "--jsonl"], "give one expression, or --jsonl"),
        (["1", "--object", "-", "--params", "-"], "standard input (-) can be read for one flag only"),
        (["1", "--object", "/nonexistent"], "/nonexistent: no such file or directory"),
    ],
)
def test_wrong_flags(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cel", "eval", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("{", "a: [", "a: 1\n---\nb: 2\n"):
        file = tmp_path / "bad.yaml"
        file.write_text(content)
        assert main(["cel", "eval", "1", "--object", str(file)]) == 2
        assert str(file) in capsys.readouterr().err
