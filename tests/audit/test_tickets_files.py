"""Tickets as files: what is written is read again, what people write stays, and hostile names stay names."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.audit.tickets import document
from webhook.audit.tickets.document import MARKER, Document, code, parse, render
from webhook.audit.tickets.folder import Folder, name, tickets
from webhook.audit.tickets.model import Coverage, Part, Ticket, Workload
from webhook.errors import InvalidInput, Problem, UserError

OPENED = datetime.datetime(2026, 11, 2, 9, tzinfo=datetime.UTC)
ACCEPTANCE = ('wouldblock readiness "$AUDIT_LOG"',)
HOSTILE = (
    "`; rm -rf /",
    "```\n# heading",
    "<script>alert(1)</script>",
    "---\nstate: closed",
    MARKER,
    "\x1b[2Jcleared\x07",
    "a\u202eb\u200bc\u2028d",
    "| a | b |",
    "![x](https://evil.example/x.png)",
    "&#x3C;b&#x3E; @everyone #1",
    "on", "null", "123", "~", "2026-11-02", "a: b", "- x", "!!python/object:os.system", "*alias", "",
)  # fmt: skip


def ticket(**fields: Any) -> Ticket:
    given: dict[str, Any] = {
        "fingerprint": "0123456789ab",
        "template": "security_remediation",
        "priority": "critical",
        "policy": "no-root",
        "title": "No root",
        "severity": "high",
        "namespace": "shop",
        "opened": OPENED,
        "due": OPENED + datetime.timedelta(days=1),
        "remediation": "Set `runAsNonRoot: true`.",
        "references": ("cis:5.2.7",),
        "workloads": (
            Workload(
                kind="Deployment",
                name="web",
                namespace="shop",
                first_seen=OPENED,
                last_seen=OPENED,
                writes=3,
                message="must not run as root",
                client="kubectl",
                audit_ids=("a-1", "a-2"),
                parts={"deployments": Part(violated=OPENED)},
            ),
        ),
        "coverage": Coverage(reviewed=3, writes=4, gaps={"failed_open": 1}, start=OPENED, end=OPENED),
    }
    return Ticket(**{**given, **fields})


def read(text: str) -> Document:
    found = parse(text, "t.md")
    assert isinstance(found, Document), found
    return found


def test_a_ticket_for_people() -> None:
    assert render(ticket(), acceptance=ACCEPTANCE).partition("\n---\n")[2] == (
        """
# [critical] No root: namespace `shop`

**Open since 2026-11-02 09:00 UTC, due Tue 2026-11-03 09:00 UTC (24 hours)** · Security remediation · owner unknown

If policy `no-root` (severity high) were enforced, Kubernetes would deny what 1 workload here was last seen to write.

## To mend

- [ ] `Deployment/web`: 3 writes, seen 2026-11-02 09:00 UTC, by `kubectl`
  - `must not run as root`
  - audit ids `a-1`, `a-2`

## How

Set `runAsNonRoot: true`.

1. Change the manifest where it is kept (Git, chart, operator): what is only changed in the cluster is undone by the next deployment.
2. If the workload needs it, ask for an exemption with an owner, a reason and an end.
3. Roll out, and check that no pod of the former template is left.

References: `cis:5.2.7`.

## Done when

The first command exits with 0. (`AUDIT_LOG` is an audit log that holds the mending, `TICKETS` this folder.)
The ticket then closes by itself.

```sh
wouldblock readiness "$AUDIT_LOG"
```

## Evidence

3 of 4 writes that the policy looks at from 2026-11-02 09:00 UTC to 2026-11-02 09:00 UTC were reviewed here (75.0 %); not seen: 1 failed_open.

Each audit id names an event of the audit log.

"""  # noqa: E501  # as it is written
        + MARKER
        + document.NOTES
    )


texts = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=20)
any_workloads = st.builds(
    Workload,
    kind=texts,
    name=texts,
    namespace=texts,
    why=texts,
    status=st.sampled_from(("open", "unproven", "fixed", "exempted", "gone")),
    first_seen=st.none() | st.just(OPENED),
    last_seen=st.none() | st.just(OPENED),
    writes=st.integers(0, 1 << 31),
    message=texts,
    client=texts,
    audit_ids=st.lists(texts, max_size=3).map(tuple),
    parts=st.dictionaries(texts, st.builds(Part, cause=texts, violated=st.none() | st.just(OPENED)), max_size=2),
)


@settings(max_examples=40)  # YAML is slow
@given(
    namespace=texts,
    owner=texts,
    cluster=texts,
    policy=texts.filter(bool),
    title=texts,
    workloads=st.lists(any_workloads, max_size=3).map(tuple),
    scope=st.sampled_from(("namespace", "owner")),
    notes=st.text(st.characters(codec="utf-8", blacklist_characters="\r"), max_size=50),
)
def test_whatever_is_written_is_read_again(notes: str, **fields: Any) -> None:
    given_ticket = ticket(**fields)
    text = render(given_ticket, acceptance=ACCEPTANCE, notes="\n" + notes)
    text.encode()
    found = read(text)
    assert found.ticket == given_ticket
    assert found.notes == "\n" + notes
    assert render(found.ticket, acceptance=ACCEPTANCE, notes=found.notes) == text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_stay_names(hostile: str) -> None:
    workload = msgspec.structs.replace(ticket().workloads[0], name=hostile, message=hostile, client=hostile)
    text = render(ticket(namespace=hostile, owner=hostile, workloads=(workload,)), acceptance=ACCEPTANCE)
    front, body = text[4:].split("\n---\n", 1)
    loaded = yaml.safe_load(front)
    assert loaded["state"] == "open"
    assert loaded.get("namespace", "") == hostile
    # No control, no bidirectional and no zero-width character gets out, and every line is one that we began.
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert [line for line in body.split("\n") if line == MARKER] == [MARKER]
    outside = re.sub(r"(`+) ?.*? ?\1(?!`)", "", body.partition("```sh")[0])
    assert "<script" not in outside
    assert "![" not in outside
    assert "everyone" not in outside


@given(st.text("`` a|\n", max_size=12))
def test_a_code_span_ends_where_it_should(text: str) -> None:
    span = code(text)
    fence = re.match(r"`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert not re.search(rf"(?<!`){fence[0]}(?!`)", inner)
    assert "\n" not in span


def test_file_names_are_harmless_and_apart() -> None:
    made = [
        name(ticket(namespace=each, policy=each, fingerprint=f"{number:012x}")) for number, each in enumerate(HOSTILE)
    ]
    assert len(set(made)) == len(HOSTILE)
    for each in made:
        assert re.fullmatch(r"[a-z0-9.-]{1,160}\.md", each)
        assert not each.startswith((".", "-"))


def test_what_people_write_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "tickets")
    with folder.locked():
        path = folder.write(ticket(), None, acceptance=ACCEPTANCE)
    path.write_text(path.read_text() + "\nWe wait for the vendor.\n\n---\nstate: closed\n")
    moved = path.rename(path.with_name("vendor.md"))
    moved.chmod(0o640)
    with folder.locked():
        (stored,) = folder.read().values()
        assert folder.write(ticket(owner="team-a"), stored, acceptance=ACCEPTANCE) == moved
    text = moved.read_text()
    assert text.endswith("## Notes\n\nWe wait for the vendor.\n\n---\nstate: closed\n")
    assert tickets(folder.read())["0123456789ab"].owner == "team-a"
    assert moved.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in folder.path.iterdir()) == [".lock", "vendor.md"]


def test_equal_content_is_not_written_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write(ticket(), None, acceptance=ACCEPTANCE)
    before = path.stat()
    (stored,) = folder.read().values()
    folder.write(ticket(), stored, acceptance=ACCEPTANCE)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("state: open", "state: done"), "front matter: Invalid enum value 'done'"),
        (lambda text: text.replace("opened: '2026", "opened: 'x"), "front matter: Invalid RFC3339"),
        (lambda text: text.replace("opened:", "opened"), "front matter:"),
        (lambda text: text.replace(MARKER, ""), "so what you wrote cannot be told from what is written anew"),
        (lambda text: text.replace("ticket/v1", "ticket/v9"), "schema 'wouldblock.dev/ticket/v9' is not known"),
        (lambda text: text.replace("template: security_remediation", "template: x"), "template 'x' is none of"),
    ],
)
def test_damaged_files_are_named_and_left_alone(tmp_path: Path, damage: Any, told: str) -> None:
    folder = Folder(tmp_path)
    path = folder.write(ticket(), None, acceptance=ACCEPTANCE)
    path.write_text(damage(path.read_text()))
    before = path.read_bytes()
    with pytest.raises(InvalidInput) as failed:
        folder.read()
    assert str(failed.value).startswith(f"{path}:")
    assert told in str(failed.value)
    assert path.read_bytes() == before


def test_what_is_no_ticket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Tickets\n---\n")
    (tmp_path / "page.md").write_text("---\ntitle: x\n---\n")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe")
    elsewhere = Folder(tmp_path / "elsewhere")
    elsewhere.path.mkdir()
    (tmp_path / "link.md").symlink_to(elsewhere.write(ticket(), None, acceptance=ACCEPTANCE))
    (tmp_path / "folder.md").mkdir()
    assert Folder(tmp_path).read() == {}
    assert Folder(tmp_path / "absent").read() == {}


def test_one_ticket_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write(ticket(), None, acceptance=ACCEPTANCE)
    (tmp_path / "copy.md").write_text(path.read_text())
    with pytest.raises(InvalidInput, match="remove one of them"):
        folder.read()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    path = folder.write(ticket(), None, acceptance=ACCEPTANCE)
    before = path.read_bytes()
    (stored,) = folder.read().values()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(ticket(owner="team-a"), stored, acceptance=ACCEPTANCE)
    assert path.read_bytes() == before
    assert [each for each in tmp_path.iterdir() if each != path] == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from webhook.audit.tickets.folder import Folder\n"
            f"with Folder(Path({str(tmp_path)!r})).locked():\n  print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another run holds the lock"), folder.locked(wait=0):
        pass
    # Who waits gets it when the other is through.
    threading.Timer(0.2, holder.stdin.close).start()
    with folder.locked():
        pass
    holder.wait()
    holder.stdout.close()


def test_a_problem_is_told_with_its_line() -> None:
    text = render(ticket(), acceptance=ACCEPTANCE).replace("policy: no-root", "policy: [no-root")
    found = parse(text, "t.md")
    assert isinstance(found, Problem)
    assert found.line > 1
