"""`wouldblock certs`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webhook.cli import main


def test_issue_then_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "certs")
    assert main(["certs", "issue", "--out", out]) == 0
    said = capsys.readouterr()
    assert f"wrote {out}/tls.key" in said.out
    assert main(["certs", "status", out]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["FILE", "KIND", "EXPIRES", "DAYS", "NAMES"]
    assert "wouldblock.wouldblock-system.svc" in table
    assert "PRIVATE" not in said.out + said.err + table


def test_status_finds_what_expires_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "issue", "--out", str(tmp_path), "--days", "10"])
    assert main(["certs", "status", str(tmp_path)]) == 1
    assert main(["certs", "status", str(tmp_path), "--within", "9d"]) == 0
    capsys.readouterr()
    assert main(["certs", "status", str(tmp_path), "--within", "30d", "--output", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [entry["kind"] for entry in report["entries"]] == ["CA", "key", "serving", "key"]
    assert len(report["problems"]) == 1


def test_issue_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "issue", "--out", str(tmp_path), "--dns", "localhost", "--output", "json"]) == 0
    issued = json.loads(capsys.readouterr().out)
    assert issued["new_authority"] is True
    assert "localhost" in issued["names"]


def test_lost_names_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "issue", "--out", str(tmp_path), "--ip", "127.0.0.1"])
    main(["certs", "issue", "--out", str(tmp_path)])
    assert "the previous certificate was also for 127.0.0.1" in capsys.readouterr().err


def test_a_password_comes_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "right").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("battery staple\n")
    (tmp_path / "empty").write_text("\n")
    issue = ["certs", "issue", "--out", str(tmp_path / "certs"), "--ca-password-file"]
    assert main([*issue, str(tmp_path / "right")]) == 0
    assert main([*issue, str(tmp_path / "wrong")]) == 2
    assert main([*issue, str(tmp_path / "empty")]) == 2
    status = ["certs", "status", str(tmp_path / "certs"), "--ca-password-file"]
    assert main([*status, str(tmp_path / "right")]) == 0
    assert main([*status, str(tmp_path / "wrong")]) == 2
    said = capsys.readouterr().err
    assert "wrong password" in said
    assert "horse" not in said
    assert "staple" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "{tmp}/none.crt"], "none.crt: no such file or directory"),
        (["status", "{tmp}"], "holds none of ca.crt"),
        (["issue", "--out", "{tmp}", "--days", "0"], "--days 0: expected at least 1"),
        (["issue", "--out", "{tmp}", "--ip", "x"], "--ip 'x' is no IP address"),
        (["issue", "--out", "{tmp}", "--profile", "{tmp}/none.toml"], "none.toml: no such file"),
        (["issue", "--out", "/dev/null/certs"], "/dev/null/certs: not a directory"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["certs", *(each.format(tmp=tmp_path) for each in arguments)]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("arguments", [["issue"], ["status", "--within", "soon"], []])
def test_wrong_flags_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["certs", *arguments])
    assert caught.value.code == 2


@pytest.mark.parametrize("verb", [[], ["issue"], ["status"]])
def test_help_teaches_with_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["certs", *verb, "--help"])
    assert "  wouldblock certs issue" in (said := capsys.readouterr().out) or "  wouldblock certs status" in said
