"""Tickets as alerts: what is fired, sent again and resolved, and how the client behaves towards odd servers."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from webhook.audit.tickets.alertmanager import Action, Client, Credentials, Current, actions
from webhook.audit.tickets.model import Ticket, Workload
from webhook.errors import UserError

NOW = datetime.datetime(2026, 11, 3, 9, tzinfo=datetime.UTC)
OPENED = NOW - datetime.timedelta(days=1)
COMMAND = ("wouldblock readiness",)


def ticket(fingerprint: str, **fields: Any) -> Ticket:
    given: dict[str, Any] = {
        "fingerprint": fingerprint,
        "template": "security_remediation",
        "priority": "critical",
        "policy": "no-root",
        "title": "No root",
        "severity": "high",
        "namespace": "shop",
        "owner": "team-a",
        "opened": OPENED,
        "due": OPENED + datetime.timedelta(days=1),
        "workloads": tuple(Workload(kind="Deployment", name=f"web-{number}") for number in range(12)),
    }
    return Ticket(**{**given, **fields})


def todo(*tickets: Ticket, current: tuple[Current, ...] = ()) -> list[Action]:
    return actions(tickets, current, acceptance={each.fingerprint: COMMAND for each in tickets}, now=NOW)


def there(*done: Action) -> tuple[Current, ...]:
    """What an Alertmanager has after that."""
    return tuple(
        Current(
            labels=dict(each.alert.labels), annotations=dict(each.alert.annotations), starts_at=each.alert.starts_at
        )
        for each in done
        if each.what != "resolve"
    )


def test_an_open_ticket_fires_and_is_sent_again() -> None:
    (fired,) = todo(ticket("aaa"))
    assert fired.what == "fire"
    assert fired.alert.labels == {
        "alertname": "WouldblockTicket",
        "ticket": "aaa",
        "template": "security_remediation",
        "severity": "critical",
        "policy": "no-root",
        "namespace": "shop",
        "team": "team-a",
    }
    assert fired.alert.annotations["summary"] == "Security remediation: No root, namespace shop"
    assert fired.alert.annotations["description"].startswith("12 to mend: Deployment/web-0, ")
    assert fired.alert.annotations["description"].endswith(" and 2 more")
    assert fired.alert.annotations["due"] == "Tue 2026-11-03 09:00 UTC"
    assert (fired.alert.starts_at, fired.alert.ends_at) == (
        "2026-11-02T09:00:00.000000Z",
        "2026-11-04T11:00:00.000000Z",
    )
    (again,) = todo(ticket("aaa"), current=there(fired))
    assert (again.what, again.alert) == ("refresh", fired.alert)


def test_a_closed_ticket_is_resolved_once() -> None:
    fired = todo(ticket("aaa"))
    (resolved,) = todo(ticket("aaa", state="closed"), current=there(*fired))
    assert resolved.what == "resolve"
    assert resolved.alert.labels == fired[0].alert.labels
    assert resolved.alert.ends_at == "2026-11-03T09:00:00.000000Z"
    assert todo(ticket("aaa", state="closed")) == []


def test_an_owner_that_changes_makes_another_alert() -> None:
    before = there(*todo(ticket("aaa")))
    done = todo(ticket("aaa", owner="team-b"), current=before)
    assert [(each.what, each.alert.labels["team"]) for each in done] == [("fire", "team-b"), ("resolve", "team-a")]


def test_alerts_of_other_folders_are_left_alone() -> None:
    assert todo(ticket("aaa", state="closed"), current=there(*todo(ticket("bbb")))) == []


def test_hostile_names_are_values() -> None:
    hostile = 'x"\n\x1b[2J\u202e' + "y" * 1_000
    (fired,) = todo(ticket("aaa", namespace=hostile, owner=hostile))
    for text in [*fired.alert.labels.values(), *fired.alert.annotations.values()]:
        assert text.isprintable()
    assert len(fired.alert.labels["team"]) == 256


# The client

CREDENTIALS = Credentials()


class Server:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"[]"
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.asked.append((self.command, self.path, dict(self.headers), body))
                self.send_response(owner.status)
                for name, value in {**owner.headers, "Content-Length": str(len(owner.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(owner.body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_asking_and_sending(server: Server) -> None:
    server.body = (
        b'[{"labels":{"alertname":"WouldblockTicket","ticket":"a"},"startsAt":"2026-11-02T09:00:00.000Z","x":1}]'
    )
    client = Client(server.url + "/prefix/", CREDENTIALS)
    assert [each.labels["ticket"] for each in client.current()] == ["a"]
    client.post([each.alert for each in todo(*(ticket(f"{number:03}") for number in range(450)))])
    assert [method for method, *_ in server.asked] == ["GET", "POST", "POST", "POST"]
    assert {path.partition("?")[0] for _, path, *_ in server.asked} == {"/prefix/api/v2/alerts"}
    sent = [each for *_, body in server.asked[1:] for each in json.loads(body)]
    assert len(sent) == 450
    assert set(sent[0]) == {"labels", "annotations", "startsAt", "endsAt"}


def test_credentials_come_from_files_and_are_never_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    Client(server.url, Credentials(token=secret)).current()
    Client(server.url, Credentials(user="alice", password=secret)).current()
    assert [headers["Authorization"] for *_, headers, _ in server.asked] == [
        "Bearer hunter2",
        "Basic YWxpY2U6aHVudGVyMg==",
    ]
    server.status = 401
    with pytest.raises(UserError, match="the credentials are not accepted") as failed:
        Client(server.url, Credentials(token=secret)).current()
    assert "hunter2" not in str(failed.value)
    for wrong in (b"", b"two\nlines", b"\xff"):
        secret.write_bytes(wrong)
        with pytest.raises(UserError, match="expected a single line with the secret"):
            Client(server.url, Credentials(token=secret))


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>", "the answer is no list of alerts"),
        (200, b'{"status":"success"}', "the answer is no list of alerts"),
        (400, b'"bad\x1b[2J filter"', 'HTTP 400 to GET /api/v2/alerts: "bad\\x1b[2J filter"'),
        (302, b"", "HTTP 302"),
        (500, b"x" * 10_000, "HTTP 500"),
    ],
)
def test_odd_answers_are_told(server: Server, status: int, body: bytes, told: str) -> None:
    server.status, server.body, server.headers = status, body, {"Location": "http://127.0.0.1:1/"}
    with pytest.raises(UserError) as failed:
        Client(server.url, CREDENTIALS).current()
    assert str(failed.value).startswith(server.url)
    assert told in str(failed.value)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 500
    assert len(server.asked) == 1, "redirects are not followed"


def test_nobody_there() -> None:
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1: cannot be reached: Connection refused"):
        Client("http://127.0.0.1:1", CREDENTIALS).current()


@pytest.mark.parametrize(
    "url", ["alertmanager:9093", "ftp://x", "http://", "http://x:port", "http://x/?a=b", "x\x1b[2J"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UserError, match="is no address of an Alertmanager") as failed:
        Client(url, CREDENTIALS)
    assert str(failed.value).isprintable()


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UserError, match="process lists") as failed:
        Client("http://alice:hunter2@alertmanager:9093", CREDENTIALS)
    assert "hunter2" not in str(failed.value)


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(UserError, match=r"ca\.crt: "):
        Client("https://127.0.0.1:1", Credentials(ca=tmp_path / "ca.crt"))
    with pytest.raises(UserError, match=r"absent\.crt: "):
        Client("https://127.0.0.1:1", Credentials(ca=tmp_path / "absent.crt"))
