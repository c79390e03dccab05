"""Tickets on a real Alertmanager: they fire, are notified once, sent again without a word, and resolve. And TLS."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.plane.alertmanager import find, running
from tests.e2e.plane.binaries import CHECKOUT
from tests.e2e.plane.cluster import wait_for
from tests.e2e.plane.pki import Authority
from webhook.audit.tickets.alertmanager import Action, Client, Credentials, actions
from webhook.audit.tickets.model import Ticket, Workload
from webhook.errors import UserError

PASSWORD = "a password of the tests"
BCRYPT = "$2a$04$k1bHf/1O8SFat0vjwixK1eMTFEibLEIBvCNUb.bizcZXS1iWjiDE2"
"""Of `PASSWORD`."""


@pytest.fixture(scope="session")
def programs() -> Path:
    """alertmanager and amtool; built on first use (minutes)."""
    return find(lambda line: print(f"alertmanager: {line}", file=sys.__stderr__, flush=True))


def ticket(fingerprint: str, **fields: Any) -> Ticket:
    now = datetime.datetime.now(datetime.UTC)
    given: dict[str, Any] = {
        "fingerprint": fingerprint,
        "template": "security_remediation",
        "priority": "critical",
        "policy": "no-root",
        "title": "No root",
        "severity": "high",
        "namespace": 'sh"op{}\\,=~',
        "owner": "team-é✓",
        "opened": now - datetime.timedelta(hours=1),
        "due": now,
        "workloads": (Workload(kind="Deployment", name="web"),),
    }
    return Ticket(**{**given, **fields})


def sync(client: Client, *tickets: Ticket) -> list[str]:
    """One run; what it did."""
    now = datetime.datetime.now(datetime.UTC)
    commands = {each.fingerprint: ("true",) for each in tickets}
    done: list[Action] = actions(tickets, client.current(), acceptance=commands, now=now)
    client.post([each.alert for each in done])
    return [f"{each.what} {each.fingerprint}" for each in done]


def test_fired_sent_again_and_resolved(programs: Path, tmp_path: Path) -> None:
    with running(programs, tmp_path) as (address, receiver):
        client = Client(address, Credentials())
        first, second = ticket("aaa"), ticket("bbb", namespace="bank")
        assert sync(client, first, second) == ["fire aaa", "fire bbb"]
        wait_for("both are told", lambda: receiver.told("firing", "aaa") and receiver.told("firing", "bbb"))
        said = next(
            alert for group in receiver.groups for alert in group["alerts"] if alert["labels"]["ticket"] == "aaa"
        )
        assert said["labels"]["namespace"] == 'sh"op{}\\,=~'
        assert said["labels"]["team"] == "team-é✓"
        assert said["annotations"]["description"] == "1 to mend: Deployment/web"

        told = len(receiver.groups)
        assert sync(client, first, second) == ["refresh aaa", "refresh bbb"]
        # A silenced alert is there all the same, and is not fired anew.
        alerts = httpx.get(f"{address}/api/v2/alerts").json()
        assert {each["labels"]["ticket"] for each in alerts} == {"aaa", "bbb"}
        _silence(address, "aaa")
        assert sync(client, first, second) == ["refresh aaa", "refresh bbb"]

        closed = ticket("bbb", namespace="bank", state="closed", closed=first.due)
        assert sync(client, first, closed) == ["refresh aaa", "resolve bbb"]
        wait_for("it is told that the second is resolved", lambda: receiver.told("resolved", "bbb"))
        assert not receiver.told("resolved", "aaa")
        assert sync(client, first, closed) == ["refresh aaa"]
        # Nobody was told of what was only sent again.
        assert len([group for group in receiver.groups if group["status"] == "firing"]) == told

        # Another owner: another alert, and the old one ends.
        assert sync(client, ticket("aaa", owner="team-b"), closed) == ["fire aaa", "resolve aaa"]
        left = httpx.get(f"{address}/api/v2/alerts").json()
        assert [each["labels"]["team"] for each in left] == ["team-b"]


def _silence(address: str, fingerprint: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    made = httpx.post(
        f"{address}/api/v2/silences",
        json={
            "matchers": [{"name": "ticket", "value": fingerprint, "isRegex": False}],
            "startsAt": now.isoformat(),
            "endsAt": (now + datetime.timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "known",
        },
    )
    assert made.status_code == 200, made.text
    wait_for(
        "the alert is silenced",
        lambda: any(each["status"]["state"] == "suppressed" for each in httpx.get(f"{address}/api/v2/alerts").json()),
    )


def test_tls_and_a_password(programs: Path, tmp_path: Path) -> None:
    authority = Authority("tests")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    certificate, key = authority.issue(tmp_path, "server", name="alertmanager", hosts=["127.0.0.1"])
    own, own_key = authority.issue(tmp_path, "client", name="wouldblock")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    web = {
        "tls_server_config": {
            "cert_file": str(certificate),
            "key_file": str(key),
            "client_ca_file": str(tmp_path / "ca.crt"),
            "client_auth_type": "RequireAndVerifyClientCert",
        },
        "basic_auth_users": {"alice": BCRYPT},
    }
    with running(programs, tmp_path, web=web) as (address, _):
        given: dict[str, Any] = {"ca": tmp_path / "ca.crt", "certificate": own, "key": own_key}
        secret: dict[str, Any] = {"user": "alice", "password": tmp_path / "password"}
        assert sync(Client(address, Credentials(**given, **secret)), ticket("aaa")) == ["fire aaa"]
        with pytest.raises(UserError, match="HTTP 401: the credentials are not accepted"):
            Client(address, Credentials(**given)).current()
        with pytest.raises(UserError, match=r"self-signed certificate|unable to get local issuer"):
            Client(address, Credentials(certificate=own, key=own_key, **secret)).current()
        with pytest.raises(UserError, match=r"check --alertmanager-ca, -cert and -key|cannot be reached"):
            Client(address, Credentials(ca=tmp_path / "ca.crt", **secret)).current()


def test_the_sample_routes(programs: Path) -> None:
    sample = CHECKOUT / "deploy" / "alerts" / "alertmanager.yml"
    subprocess.run([programs / "amtool", "check-config", sample], check=True, capture_output=True)

    def routed(**labels: str) -> list[str]:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        run = subprocess.run(
            [programs / "amtool", "config", "routes", "test", f"--config.file={sample}", *wanted],
            check=True,
            capture_output=True,
            text=True,
        )
        return run.stdout.strip().split(",")

    assert routed(alertname="WouldblockTicket", severity="medium") == ["platform-chat"]
    assert routed(alertname="WouldblockTicket", severity="critical", team="team-shop") == [
        "security-pager",
        "team-shop-chat",
    ]
    assert routed(alertname="WouldblockTicket", severity="critical") == ["security-pager"]
    assert routed(alertname="Watchdog") == ["nobody"]
