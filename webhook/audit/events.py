"""The API server's audit event: what of it is read, and what its fields mean for a write.

Typed structs with only the fields that are needed; request and response bodies stay raw bytes and never leave this
module, but for owner references and DeleteOptions. Knows nothing of policies or of our own annotations.

Source: `apiserver pkg/apis/audit/v1/types.go` (names and order of fields), `pkg/endpoints/handlers` (stages, codes).
"""

from __future__ import annotations

import datetime
import re
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Raw, Struct

GROUP = "audit.k8s.io/"


class User(Struct):
    username: str = ""


class ObjectRef(Struct, rename="camel"):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class Status(Struct):
    code: int = 0
    message: str = ""


class Event(Struct, rename="camel"):
    """One stage of one request. `v1beta1` differs by fields that are not read."""

    kind: str = ""
    api_version: str = ""
    audit_id: str = msgspec.field(name="auditID", default="")
    stage: str = ""
    request_uri: str = msgspec.field(name="requestURI", default="")
    verb: str = ""
    user: User | None = None
    impersonated_user: User | None = None
    user_agent: str = ""
    object_ref: ObjectRef | None = None
    response_status: Status | None = None
    request_object: Raw = Raw()
    request_received_timestamp: str = ""
    timestamp: str = ""
    annotations: dict[str, str] | None = None


class OwnerReference(Struct):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(Struct, rename="camel"):
    name: str = ""
    owner_references: list[OwnerReference] | None = None


class Body(Struct, rename="camel"):
    """What is looked at in a request body, of whatever kind it is."""

    kind: str = ""
    metadata: Meta | None = None
    dry_run: list[str] | None = None


_event = msgspec.json.Decoder(Event)
_body = msgspec.json.Decoder(Body)

FINAL = {"ResponseComplete": 3, "Panic": 2, "ResponseStarted": 1, "RequestReceived": 0}
"""Which stage of a request says most; stages that are not in it are no stages."""

CONNECT = frozenset(("exec", "attach", "portforward", "proxy"))
"""Subresources whose requests are CONNECT to admission, whatever the verb."""
CONNECT_PATH = re.compile(rb'/(?:exec|attach|portforward|proxy)[/?"]').search
"""In the URI of a GET that is CONNECT to admission."""
HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/'
"""How the API server begins an event."""
VERB = b'"verb":"'
READ_INITIALS = b"glw"
"""How `get`, `list` and `watch` begin, and no other verb of the API server's."""
_CLOSE = ord("}")
_SUBRESOURCE = b'"subresource":"'

_HEAD = re.compile(
    rb'\{"kind":"Event","apiVersion":"audit\.k8s\.io/v1[a-z0-9]*","level":"[A-Za-z]+","auditID":"[^"]*",'
    rb'"stage":"[A-Za-z]+","requestURI":"([^"]*)","verb":"([a-z]+)"'
)
"""The beginning of an event as the API server writes it: the fields are in struct order, quotes in them escaped."""
_REF = b'"objectRef":{"resource":"'
RECEIVED = b'"requestReceivedTimestamp":"'


def decode(line: bytes) -> Event:
    """Raises `msgspec.DecodeError` (not JSON, not an event's types), `UnicodeDecodeError`, `RecursionError`."""
    return normal(_event.decode(line))


def normal(event: Event) -> Event:
    """The event with its annotations named as the API server names them: some shippers write `_` for `.`.

    What is before the `/` is a DNS name, which holds no `_`.
    """
    notes = event.annotations
    if not notes:
        return event
    for key in notes:
        if "_" in key and "_" in key.partition("/")[0]:
            event.annotations = {_dotted(key): value for key, value in notes.items()}
            break
    return event


def _dotted(key: str) -> str:
    prefix, slash, name = key.partition("/")
    return prefix.replace("_", ".") + slash + name if slash else key


def is_event(event: Event) -> bool:
    """Whether it is an audit event at all. Exporters may strip `kind` and `apiVersion`, and even the stage."""
    if event.stage and event.stage not in FINAL:
        return False
    if event.kind not in ("", "Event"):
        return False
    if event.api_version:
        return event.api_version.startswith(GROUP)
    return bool(event.verb) and bool(event.kind or event.audit_id or event.user or event.object_ref)


def glance(text: bytes, start: int = 0, end: int = -1, verb: int = -1) -> tuple[bool, bytes, bytes] | None:
    """(is a read, resource, subresource) of the event in `text[start:end]`, without parsing; None: parse to know.

    Only for whole events in the API server's own field order: there the first `"verb":"` is the audit verb, since
    every string before it has its quotes escaped, and the first `"objectRef":{` comes before the bodies. `verb` is
    where it is, if that is known.
    """
    if end < 0:
        end = len(text)
    if verb < 0:
        verb = text.find(VERB, start, end)
    if verb < 0 or text[end - 1] != _CLOSE or not text.startswith(HEAD, start):
        return None
    if text[verb + len(VERB)] in READ_INITIALS and CONNECT_PATH(text, start, verb) is None:
        return True, b"", b""
    found = about(text, verb, end)
    return None if found is None else (False, *found)


def about(text: bytes, start: int, end: int) -> tuple[bytes, bytes] | None:
    """(resource, subresource) that the first `objectRef` in `text[start:end]` names; None when there is none."""
    at = text.find(_REF, start, end)
    if at < 0:
        return None
    at += len(_REF)
    stop = text.find(b"}", at, end)
    sub = text.find(_SUBRESOURCE, at, stop)
    subresource = b""
    if sub >= 0:
        sub += len(_SUBRESOURCE)
        subresource = text[sub : text.find(b'"', sub, stop)]
    return text[at : text.find(b'"', at, stop)], subresource


def minute(line: bytes) -> bytes:
    """The minute a line's request came in, `2026-11-24T21:43`, without parsing; empty when there is none."""
    at = line.rfind(RECEIVED)
    return line[at + len(RECEIVED) : at + len(RECEIVED) + 16] if at >= 0 else b""


def reviewed(text: bytes, start: int, end: int) -> bool:
    """Whether somebody reviewed the write in `text[:end]`, whatever it is about. `start` is where its last `RECEIVED`
    is, behind which come the annotations; without one, a place before them."""
    return text.find(b'/reviewed":', start, end) >= 0 or text.find(b'/validation_failure":', start, end) >= 0


def salvage(line: bytes) -> Event | None:
    """What a cut line still says. Names and verb come first in an event, annotations and times last."""
    head = _HEAD.match(line)
    if head is None:
        return None
    start = line.find(b'"objectRef":{', head.end())
    stop = line.find(b"}", start)
    if start < 0 or stop < 0:
        return None
    try:
        ref = msgspec.json.decode(line[start + len(b'"objectRef":') : stop + 1], type=ObjectRef)
        audit_id = line[line.find(b'"auditID":"') + 11 :].split(b'"', 1)[0].decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    stage = line[line.find(b'"stage":"') + 9 :].split(b'"', 1)[0].decode("ascii", "replace")
    code = re.compile(
        rb'"responseStatus":\{"metadata":\{\}(?:,"(?:status|message|reason)":"(?:[^"\\]|\\.)*")*,"code":(\d+)[,}]'
    ).search(line, stop)
    return Event(
        audit_id=audit_id,
        stage=stage,
        request_uri=head[1].decode("utf-8", "replace"),
        verb=head[2].decode("ascii"),
        object_ref=ref,
        response_status=Status(int(code[1])) if code else None,
    )


def operation(event: Event) -> str:
    """CREATE, UPDATE, DELETE, CONNECT, or empty for a read. The audit verb does not tell updates that create."""
    ref = event.object_ref
    if ref is None:
        return ""
    if ref.subresource in CONNECT and event.verb not in ("list", "watch"):
        return "CONNECT"
    match event.verb:
        case "create":
            return "CREATE"
        case "update" | "patch":
            return "CREATE" if event.response_status is not None and event.response_status.code == 201 else "UPDATE"
        case "delete" | "deletecollection":
            return "DELETE"
    return ""


def body(event: Event) -> Body:
    """The few fields of the request body; empty at level Metadata and for bodies that are not what they should be."""
    if not bytes(event.request_object):
        return Body()
    try:
        return _body.decode(event.request_object)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Body()


def dry_run(event: Event, sent: Body) -> bool:
    """Whether the event itself shows a dry run: in the URI, or in the DeleteOptions of the body."""
    if "dryRun" in event.request_uri and any(
        key == "dryRun" and value for key, value in parse_qsl(urlsplit(event.request_uri).query)
    ):
        return True
    return event.verb in ("delete", "deletecollection") and bool(sent.dry_run)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def microseconds(text: str) -> int:
    """RFC 3339 → microseconds since the epoch; without a zone, UTC. Raises `ValueError`."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // _MICROSECOND


def received(event: Event) -> int:
    """When the request came in, in microseconds since the epoch. Raises `ValueError`."""
    return microseconds(event.request_received_timestamp or event.timestamp)


def by_controller(event: Event) -> bool:
    """Whether a Kubernetes controller wrote: its writes follow from somebody else's."""
    user = event.user.username if event.user is not None else ""
    return (
        event.user_agent.startswith("kube-controller-manager/")
        or user == "system:kube-controller-manager"
        or (user.startswith("system:serviceaccount:kube-system:") and user.endswith("-controller"))
    )


_SERVER = re.compile(r"kube-(?:apiserver|controller-manager|scheduler)/v1\.(\d+)")


def server_minor(event: Event) -> int:
    """Minor version of the control plane that a component's User-Agent gives away; 0 for none."""
    found = _SERVER.match(event.user_agent)
    return int(found[1]) if found and (event.user is None or event.user.username.startswith("system:")) else 0
