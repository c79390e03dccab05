"""Tickets as alerts of an Alertmanager, which routes them to chat and pagers. API v2.

An alert fires for as long as its ticket is open and each run sends it again, with an end far enough ahead for the
next run; a closed ticket's is ended. What is there is asked first, so a resolution that got lost is made up for. Only
alerts of tickets in the folder are touched. Knows tickets and HTTP; no files but those of credentials.

Source: `prometheus/alertmanager api/v2/openapi.yaml`.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from webhook.audit.render import safe
from webhook.audit.tickets.document import due, line
from webhook.audit.tickets.model import Ticket, Time
from webhook.audit.tickets.template import BY_ID
from webhook.errors import UserError

ALERT = "WouldblockTicket"
"""Value of the label `alertname`."""
DEFAULT_TTL = datetime.timedelta(hours=26)
"""How long an alert lasts without another run: a day's, and two hours of grace."""
TIMEOUT_SECONDS = 15.0
BATCH = 200
ANSWER_MAX = 256 << 20
LISTED = 10
_VALUE_MAX = 256

Labels = Mapping[str, str]
What = Literal["fire", "refresh", "resolve"]


class Alert(Struct, frozen=True, rename="camel"):
    """One alert, as it is posted."""

    labels: Labels
    annotations: Labels
    starts_at: str
    ends_at: str


class Action(Struct, frozen=True):
    """What is done about one alert."""

    what: What
    fingerprint: str
    alert: Alert


class Current(Struct, frozen=True, rename="camel"):
    """One alert that an Alertmanager has. Other fields are not read."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""


def alert_of(ticket: Ticket, *, acceptance: Sequence[str], ends: Time) -> Alert:
    """The alert of an open ticket."""
    labels = {
        "alertname": ALERT,
        "ticket": ticket.fingerprint,
        "template": ticket.template,
        "severity": ticket.priority,
        "policy": ticket.policy,
        "cluster": ticket.cluster,
        "namespace": ticket.namespace,
        "team": ticket.owner,
    }
    unsettled = ticket.unsettled
    names = [
        safe(each.title if ticket.scope == "namespace" else f"{each.namespace}/{each.title}") for each in unsettled
    ]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    annotations = {
        "summary": f"{BY_ID[ticket.template].title}: {line(ticket.title)}, {safe(ticket.place)}",
        "description": f"{len(names)} to mend: {', '.join(names[:LISTED])}{more}",
        "due": due(ticket),
        "remediation": line(ticket.remediation),
        "acceptance": acceptance[0],
    }
    return Alert(
        # Empty means absent in Alertmanager: it drops such labels, and with them the alert would not be found again.
        labels={name: _value(value) for name, value in labels.items() if value},
        annotations={name: value for name, value in annotations.items() if value},
        starts_at=_rfc3339(ticket.opened),
        ends_at=_rfc3339(ends),
    )


def actions(
    tickets: Iterable[Ticket],
    current: Sequence[Current],
    *,
    acceptance: Mapping[str, Sequence[str]],
    now: Time,
    ttl: datetime.timedelta = DEFAULT_TTL,
) -> list[Action]:
    """What makes an Alertmanager that has `current` agree with the tickets. `acceptance`: fingerprint → commands."""
    todo: list[Action] = []
    known = {ticket.fingerprint: ticket for ticket in tickets}
    there = {_key(each.labels) for each in current}
    wanted = set()
    for fingerprint, ticket in sorted(known.items()):
        if ticket.state == "open":
            alert = alert_of(ticket, acceptance=acceptance[fingerprint], ends=now + ttl)
            wanted.add(_key(alert.labels))
            todo.append(Action("refresh" if _key(alert.labels) in there else "fire", fingerprint, alert))
    for each in sorted(current, key=lambda alert: _key(alert.labels)):
        fingerprint = each.labels.get("ticket", "")
        if fingerprint in known and _key(each.labels) not in wanted:
            # Closed; or its labels have changed, with the owner, and it is another alert now.
            ended = Alert(each.labels, each.annotations, each.starts_at, _rfc3339(now))
            todo.append(Action("resolve", fingerprint, ended))
    return todo


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _value(text: str) -> str:
    return safe(text)[:_VALUE_MAX]


def _rfc3339(time: Time) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Credentials(Struct, frozen=True, kw_only=True):
    """How to reach an Alertmanager, and as whom."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: Path | None = None
    token: Path | None = None


class Client:
    """One Alertmanager. Follows no redirect and uses no proxy: credentials go where they were meant to."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        """Raises `UserError` for a URL or files that cannot be used."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
            raise UserError(f"{safe(url)!r} is no address of an Alertmanager: write http://alertmanager:9093")
        if parts.username or parts.password:
            raise UserError(
                f"{safe(parts.hostname)}: a password in the address shows in process lists; give it in a file "
                "(--alertmanager-user, --alertmanager-password-file)"
            )
        self.name = f"{parts.scheme}://{safe(parts.netloc)}{safe(parts.path.rstrip('/'))}"
        self._path = quote(parts.path.rstrip("/"), safe="/%") + "/api/v2/alerts"
        self._host, self._port = parts.hostname, port or (443 if parts.scheme == "https" else 80)
        self._tls = _tls(credentials) if parts.scheme == "https" else None
        self._headers = {"Accept": "application/json", **_authorization(credentials)}

    def current(self) -> list[Current]:
        """The alerts of tickets that fire now, silenced ones too. Raises `UserError`."""
        wanted = quote(f'alertname="{ALERT}"')
        states = "active=true&silenced=true&inhibited=true&unprocessed=true"
        answer = self._ask("GET", f"{self._path}?{states}&filter={wanted}", None)
        try:
            return msgspec.json.decode(answer, type=list[Current])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UserError(
                f"{self.name}: the answer is no list of alerts; is this an Alertmanager (API v2)?"
            ) from None

    def post(self, alerts: Sequence[Alert]) -> None:
        """Sends them. Raises `UserError`."""
        for start in range(0, len(alerts), BATCH):
            self._ask("POST", self._path, msgspec.json.encode(alerts[start : start + BATCH]))

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_MAX)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
            raise UserError(f"{self.name}: {reason}; check --alertmanager-ca, -cert and -key") from None
        except (OSError, http.client.HTTPException) as error:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UserError(f"{self.name}: cannot be reached: {safe(str(what))}") from None
        finally:
            connection.close()
        if response.status in (401, 403):
            raise UserError(f"{self.name}: HTTP {response.status}: the credentials are not accepted")
        if response.status != 200:
            said = safe(answer[:300].decode("utf-8", "replace").strip())
            raise UserError(f"{self.name}: HTTP {response.status} to {method} {path.partition('?')[0]}: {said}")
        return answer


def _tls(credentials: Credentials) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(credentials.ca) if credentials.ca else None)
        if credentials.certificate is not None:
            context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(each) for each in (credentials.ca, credentials.certificate, credentials.key) if each)
        raise UserError(f"{files}: {getattr(error, 'reason', None) or error.strerror or 'cannot be used'}") from None
    return context


def _authorization(credentials: Credentials) -> dict[str, str]:
    if credentials.token is not None:
        return {"Authorization": f"Bearer {_secret(credentials.token)}"}
    if credentials.user:
        password = _secret(credentials.password) if credentials.password is not None else ""
        pair = base64.b64encode(f"{credentials.user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


def _secret(path: Path) -> str:
    """A file's only line. What it holds is never repeated, not even when it is wrong."""
    try:
        text = path.read_text("utf-8").strip("\r\n ")
    except UnicodeDecodeError:
        text = "\n"
    if not text or not text.isprintable():
        raise UserError(f"{path}: expected a single line with the secret")
    return text


def as_json(alerts: Iterable[Alert]) -> Any:
    """As plain values, for showing."""
    return json.loads(msgspec.json.encode(list(alerts)))
