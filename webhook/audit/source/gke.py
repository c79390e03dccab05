"""GKE: Cloud Logging's LogEntry, turned back into the event that it was made of.

Lost on the way: level, stage, URI, groups, and the HTTP code, of which a google.rpc code is left. Annotations are the
entry's `labels`, keys unchanged. The resource name has the name also of what was created with generateName.

Sources: `cloudaudit` AuditLog (google.cloud.audit), `GoogleCloudPlatform/khi` for Namespaces' own resource names.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Raw, Struct

from webhook.audit.events import CONNECT, Event, ObjectRef, Status, User
from webhook.audit.source.envelope import Format, Keys, Opener, Origin, members, string

ID = "gke-logentry"
_METHODS = "io.k8s."
_CODES = {0: 200, 3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 409, 10: 409, 13: 500, 14: 503, 16: 401}
"""google.rpc code → the HTTP code that most likely was; others are 500."""


class _Auth(Struct, rename="camel"):
    principal_email: str = ""


class _Status(Struct):
    code: int = 0
    message: str = ""


class _Request(Struct, rename="camel"):
    caller_supplied_user_agent: str = ""


class _Payload(Struct, rename="camel"):
    service_name: str = ""
    method_name: str = ""
    resource_name: str = ""
    authentication_info: _Auth | None = None
    request_metadata: _Request | None = None
    status: _Status | None = None
    request: Raw = Raw()
    response: Raw = Raw()


class _Operation(Struct):
    id: str = ""


class _Resource(Struct):
    labels: dict[str, str] | None = None


class _Entry(Struct, rename="camel"):
    insert_id: str = ""
    timestamp: str = ""
    labels: dict[str, str] | None = None
    operation: _Operation | None = None
    resource: _Resource | None = None
    proto_payload: _Payload | None = None


def _open(keys: Keys, opener: Opener, origin: Origin) -> None:
    try:
        entry = msgspec.json.decode(msgspec.json.encode(keys), type=_Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        opener.refuse("not_audit_event")
        return
    payload = entry.proto_payload
    if payload is None or not payload.method_name.startswith(_METHODS):
        opener.refuse("not_audit_event")
        return
    place = (entry.resource.labels if entry.resource is not None else None) or {}
    cluster = "/".join(place[each] for each in ("project_id", "location", "cluster_name") if place.get(each))
    opener.event(_event(entry, payload), Origin(ID, cluster or origin.cluster))


def _event(entry: _Entry, payload: _Payload) -> Event:
    verb = payload.method_name.rpartition(".")[2]
    ref = _reference(payload)
    notes = dict(entry.labels or {})
    user = payload.authentication_info
    agent = payload.request_metadata
    dry_run = bool(notes.get("command.gke.io/dryRun"))
    return Event(
        kind="Event",
        api_version="audit.k8s.io/v1",
        audit_id=(entry.operation.id if entry.operation is not None else "") or entry.insert_id,
        stage="ResponseStarted" if ref.subresource in CONNECT else "ResponseComplete",
        request_uri=f"/{payload.resource_name}{'?dryRun=All' if dry_run else ''}",
        verb=verb,
        user=User(user.principal_email) if user is not None else None,
        user_agent=agent.caller_supplied_user_agent if agent is not None else "",
        object_ref=ref,
        response_status=_status(payload, verb),
        request_object=payload.request,
        request_received_timestamp=entry.timestamp,
        annotations=notes,
    )


def _status(payload: _Payload, verb: str) -> Status:
    given = payload.status or _Status()
    if given.code == 0:
        return Status(201 if verb == "create" else 200)
    # Some exports hold the HTTP code itself.
    return Status(given.code if given.code >= 100 else _CODES.get(given.code, 500), given.message)


def _reference(payload: _Payload) -> ObjectRef:
    """`<group or core>/<version>[/namespaces/<ns>]/<resource>[/<name>[/<subresource>]]`."""
    method = payload.method_name.split(".")
    parts = payload.resource_name.split("/")
    if len(parts) < 3:
        # io.k8s.<group…>.<version>.<resource>[.<subresource>].<verb>
        version = next((i for i, each in enumerate(method) if i > 2 and each[:1] == "v" and each[1:2].isdigit()), 0)
        named = method[version + 1 : -1] if version else []
        group = ".".join(method[2:version])
        return ObjectRef(
            resource=named[0] if named else "",
            api_group="" if group == "core" else group,
            api_version=method[version] if version else "",
            subresource=named[1] if len(named) > 1 else "",
        )
    group, version_, *path = parts
    namespace = ""
    own = f".{version_}.namespaces." in payload.method_name
    if path[0] == "namespaces" and len(path) > 1:
        namespace = path[1]
        if not own:
            path = path[2:]
    path += ["", "", ""]
    return ObjectRef(
        resource=path[0],
        namespace=namespace,
        name=path[1],
        api_group="" if group == "core" else group,
        api_version=version_,
        subresource="/".join(path[2:]).rstrip("/"),
    )


def _open_pushed(keys: Keys, opener: Opener, origin: Origin) -> None:
    try:
        data = base64.b64decode(string(members(keys.get("message")).get("data")), validate=True)
    except (binascii.Error, ValueError):
        opener.refuse("not_audit_event")
        return
    opener.document(data, origin)


FORMATS = (
    Format(ID, lambda keys: "protoPayload" in keys, _open),
    Format("gke-pubsub", lambda keys: "data" in members(keys.get("message")), _open_pushed),
)
