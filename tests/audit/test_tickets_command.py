"""The command `tickets` over logs of the tests' own: files, plans, exit codes, and what must never get out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
import yaml

from webhook.audit.render import masked
from webhook.audit.tickets.document import MARKER
from webhook.cli import main
from webhook.cli import tickets as command
from webhook.policy import Finding, Metadata, SetRecord, Severity

CANARY = "SECRET-CANARY"
NOW = ("--now", "2026-11-20T09:00:00Z")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sets(make_record: Callable[..., SetRecord]) -> SetRecord:
    record = make_record("no-root", "tuned")
    metas = (
        Metadata(title="No root", severity=Severity.HIGH, ticket="SR", remediation="Set `runAsNonRoot: true`."),
        Metadata(title="Tuned", severity=Severity.MEDIUM, ticket="PT"),
    )
    policies = tuple(
        msgspec.structs.replace(each, meta=meta) for each, meta in zip(record.policies, metas, strict=True)
    )
    return msgspec.structs.replace(record, policies=policies)


@pytest.fixture
def log(sets: SetRecord, make_log: Callable[..., Any]) -> Any:
    return make_log(sets)


@pytest.fixture
def run(tmp_path: Path, sets: SetRecord, log: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(*flags)`: the command over the log as it is by now; (exit code, stdout, stderr)."""
    (tmp_path / "sets.json").write_bytes(msgspec.json.encode(sets))

    def call(*flags: str | Path, now: Sequence[str] = NOW) -> tuple[int, str, str]:
        (tmp_path / "audit.log").write_bytes(b"".join(line + b"\n" for line in log.lines))
        given = ("tickets", tmp_path / "audit.log", "--manifest", tmp_path / "sets.json", "--out", tmp_path / "tickets")
        code = main([*map(str, (*given, *now, *flags))])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def files(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((tmp_path / "tickets").glob("*.md"))}


def test_a_plan_writes_nothing_and_then_it_is_done(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(outcome=log.outcome("no-root", "tuned"))
    code, out, _ = run("--plan")
    assert code == 1
    assert "+ create [critical] no-root, namespace shop, owner unknown, due Sat 2026-11-21 09:00 UTC" in out
    assert "+ create [medium] tuned, namespace shop, owner unknown, due Wed 2026-11-25 09:00 UTC" in out
    assert "    + Deployment/web: 1 write, last 2026-11-01 00:00 UTC" in out
    assert out.endswith("tickets: 2 to create, 0 to update, 0 to reopen, 0 to close, 0 unchanged; 2 open\n")
    assert not (tmp_path / "tickets").exists()

    code, out, _ = run()
    assert code == 1
    assert out.endswith("tickets: 2 created, 0 updated, 0 reopened, 0 closed, 0 unchanged; 2 open\n")
    made = files(tmp_path)
    assert [name.rpartition("--")[0] for name in made] == ["shop--no-root", "shop--tuned"]

    code, out, _ = run(now=("--now", "2026-11-21T09:00:00Z"))
    assert (code, out) == (1, "tickets: 0 created, 0 updated, 0 reopened, 0 closed, 2 unchanged; 2 open\n")
    assert files(tmp_path) == made

    log.write(verb="update", code=200, outcome=log.outcome("tuned"))
    code, out, _ = run("--plan")
    assert "- close [critical] no-root, namespace shop\n    - Deployment/web: fixed, deployments" not in out
    assert "- close [critical] no-root, namespace shop\n    - Deployment/web: fixed, reviewed without a finding" in out
    assert "~ update [medium] tuned" in out
    assert files(tmp_path) == made
    code, out, _ = run()
    assert code == 1
    assert "0 created, 1 updated, 0 reopened, 1 closed, 0 unchanged; 1 open" in out
    log.write(verb="delete", code=200)
    assert run()[0] == 0


def test_business_days_where_people_are(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(outcome=log.outcome("tuned"))
    (tmp_path / "days").write_text("2026-11-23  Labor Thanksgiving Day\n")
    _, out, _ = run("--plan", "--time-zone", "Asia/Tokyo", "--holidays", tmp_path / "days")
    assert "due Thu 2026-11-26 18:00 UTC+0900" in out
    for flag, wrong, told in (
        ("--time-zone", "Mars/Olympus", "is no time zone"),
        ("--weekend", "caturday", "is no day of the week"),
        ("--holidays", tmp_path / "absent", "no such file"),
    ):
        code, _, err = run("--plan", flag, wrong)
        assert (code, told in err) == (2, True), err


def test_json(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(outcome=log.outcome("no-root"))
    code, out, _ = run("--output", "json")
    said = json.loads(out)
    assert (code, said["applied"], said["summary"]["create"], said["summary"]["open"]) == (1, True, 1, 1)
    (change,) = said["changes"]
    assert change["file"] == str(next((tmp_path / "tickets").glob("*.md")))
    assert (change["ticket"]["state"], change["ticket"]["workloads"][0]["status"]) == ("open", "open")
    front = yaml.safe_load((tmp_path / "tickets").joinpath(change["file"]).read_text().split("---\n")[1])
    assert front == change["ticket"]


def test_owners_and_one_ticket_an_owner(log: Any, run: Run, tmp_path: Path) -> None:
    for namespace in ("shop", "shop-eu", "bank"):
        log.write(namespace=namespace, outcome=log.outcome("no-root"))
    (tmp_path / "owners.yaml").write_text("owners:\n- namespaces: ['shop*']\n  owner: team-shop\n")
    code, out, _ = run("--by", "owner", "--owners", tmp_path / "owners.yaml")
    assert code == 1
    assert "[critical] no-root, owner team-shop, due Sat" in out
    assert "    + shop-eu/Deployment/web: 1 write" in out
    assert [name.rpartition("--")[0] for name in files(tmp_path)] == ["bank--no-root", "team-shop--no-root"]


def test_whether_one_is_done(log: Any, run: Run) -> None:
    log.write(outcome=log.outcome("no-root", "tuned"))
    said = json.loads(run("--output", "json")[1])
    key = next(each["ticket"]["fingerprint"] for each in said["changes"] if each["ticket"]["policy"] == "no-root")
    assert run("--plan", "--ticket", key)[0] == 1
    log.write(verb="update", code=200, outcome=log.outcome("tuned"))
    code, out, _ = run("--plan", "--ticket", key)
    assert (code, "tuned" in out) == (0, False)
    assert run("--plan", "--ticket", "nonsense")[0] == 2
    assert "give --plan as well" in run("--ticket", key)[2]


def test_facts_instead_of_logs(log: Any, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write(outcome=log.outcome("no-root"))
    expected = run("--plan")[1]
    assert main(["facts", str(tmp_path / "audit.log"), "--out", str(tmp_path / "facts")]) == 0
    capsys.readouterr()
    flags = ["--manifest", str(tmp_path / "sets.json"), "--out", str(tmp_path / "tickets"), "--plan", *NOW]
    assert main(["tickets", "--facts", str(tmp_path / "facts"), *flags]) == 1
    assert capsys.readouterr().out == expected
    assert main(["tickets", *flags]) == 2
    assert "give audit logs or --facts DIR, one of them" in capsys.readouterr().err


def test_a_log_without_writes_and_one_that_is_none(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(verb="get", code=200)
    assert run("--plan")[0] == 0
    log.lines[:] = [b"nothing"]
    code, _, err = run("--plan")
    assert (code, "no audit event found" in err) == (2, True)


def test_without_duckdb(log: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(outcome=log.outcome("no-root"))
    monkeypatch.setitem(sys.modules, "duckdb", None)
    code, _, err = run("--plan")
    assert (code, "pip install 'wouldblock[audit]'" in err) == (2, True)


def test_too_little_memory_is_told(log: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(outcome=log.outcome("no-root"))

    def full(*_: Any, **__: Any) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error")

    monkeypatch.setattr(command, "observe", full)
    code, _, err = run()
    assert (code, "needs more memory than DuckDB is given (256MB)" in err) == (2, True)
    assert files(tmp_path) == {}


def test_damaged_tickets_stop_everything(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(outcome=log.outcome("no-root", "tuned"))
    run()
    path = next((tmp_path / "tickets").glob("*.md"))
    path.write_text(path.read_text().replace(MARKER, ""))
    before = files(tmp_path)
    code, _, err = run()
    assert (code, str(path) in err, "nothing was done" in err) == (2, True, True)
    assert files(tmp_path) == before


def test_an_alertmanager_that_is_down_keeps_no_ticket_from_its_file(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(outcome=log.outcome("no-root"))
    code, out, err = run("--alertmanager", "http://127.0.0.1:1")
    assert code == 2
    assert "1 created" in out
    assert "http://127.0.0.1:1: cannot be reached: Connection refused" in err
    assert len(files(tmp_path)) == 1


def test_runs_at_the_same_time_agree(log: Any, run: Run, tmp_path: Path) -> None:
    for number in range(20):
        log.write(namespace=f"shop-{number}", outcome=log.outcome("no-root", "tuned"))
    run("--plan")
    words = [sys.executable, "-m", "webhook", "tickets", str(tmp_path / "audit.log"), *NOW]
    words += ["--manifest", str(tmp_path / "sets.json"), "--out", str(tmp_path / "tickets")]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    said = [each.communicate()[0].decode().splitlines()[-1] for each in started]
    assert [each.returncode for each in started] == [1, 1, 1]
    assert sorted(each.partition(",")[0] for each in said) == [
        "tickets: 0 created",
        "tickets: 0 created",
        "tickets: 40 created",
    ]
    assert len(files(tmp_path)) == 40
    assert [path.name for path in (tmp_path / "tickets").iterdir() if path.suffix != ".md"] == [".lock"]


def test_nothing_secret_gets_out(log: Any, run: Run, tmp_path: Path) -> None:
    body = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"env": CANARY}}
    finding = Finding(policy="no-root", message=f"image https://user:{CANARY}@registry.example/app has a moving tag")
    log.write(
        outcome=msgspec.structs.replace(log.outcome(), findings=(finding,)),
        body=body,
        annotations={"other.example.dev/note": CANARY},
        user="alice@example.com",
    )
    _, out, err = run("--output", "json")
    for text in (out, err, *files(tmp_path).values()):
        assert CANARY not in text
        assert "SECRET-EXTRA" not in text
        assert "192.0.2.7" not in text
        assert "alice" not in text
    assert "image https://***@registry.example/app has a moving tag" in out


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{CANARY}@host/path",
        f"postgres://:{CANARY}@host",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{CANARY}.abc",
        "AKIAIOSFODNN7EXAMPLE",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
        f"PASSWORD={CANARY}&x",
        f"token={CANARY}",
        "ghp_" + "a1" * 18,
    ],
)
def test_secrets_are_masked(text: str) -> None:
    found = masked(f"before {text} after")
    assert found.startswith("before ")
    assert "***" in found
    assert CANARY not in found
    assert "EXAMPLE" not in found
    assert "a1a1" not in found


def test_what_is_no_secret_is_not() -> None:
    for text in ("image registry.example/app:latest has a moving tag", 'privileged (container "a")', "a:b@c", "1:2"):
        assert masked(text) == text


def test_hostile_names_on_the_terminal(log: Any, run: Run, tmp_path: Path) -> None:
    log.write(namespace="sh\x1b[2Jop\u202e", name="w\nb", outcome=log.outcome("no-root"))
    _, out, err = run()
    for text in (out, err, *files(tmp_path).values()):
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert run()[1].startswith("tickets: 0 created, 0 updated, 0 reopened, 0 closed, 1 unchanged")
