"""OTLP logs in JSON: the event is the body, as text or as a map; without a body it is rebuilt from attributes.

Attributes have no auditID: two requests to the same object in the same microsecond would be one.
"""

from __future__ import annotations

import json
from typing import Any

from webhook.audit.events import Event, ObjectRef, Status, User
from webhook.audit.source.envelope import Format, Keys, Opener, Origin, items, members, number, of_nanoseconds, string

ID = "otlp"
_NOTE = "k8s.audit.event.annotation."
_CLUSTERS = ("openshift.cluster.uid", "openshift.cluster_id", "k8s.cluster.uid", "k8s.cluster.name")


def _open(keys: Keys, opener: Opener, origin: Origin) -> None:
    for resource in items(keys.get("resourceLogs")):
        held = members(resource)
        about = _attributes(members(held.get("resource")))
        cluster = next((str(about[each]) for each in _CLUSTERS if about.get(each)), origin.cluster)
        for scope in items(held.get("scopeLogs")):
            for record in items(members(scope).get("logRecords")):
                _record(members(record), opener, cluster)


def _record(keys: Keys, opener: Opener, cluster: str) -> None:
    time = of_nanoseconds(number(keys.get("timeUnixNano")) or number(keys.get("observedTimeUnixNano")))
    origin = Origin(ID, cluster, time)
    body = members(keys.get("body"))
    if text := string(body.get("stringValue")):
        opener.text(text, origin)
    elif "kvlistValue" in body:
        opener.document(json.dumps(_value(body)).encode(), origin)
    else:
        about = _attributes(keys)
        if "k8s.audit.event.request.verb" in about:
            opener.event(_event(about, time), origin)
        else:
            opener.refuse("not_audit_event")


def _event(about: dict[str, Any], time: str) -> Event:
    def told(name: str) -> str:
        return str(about.get(f"k8s.audit.event.{name}", ""))

    code = told("response.code")
    return Event(
        kind="Event",
        api_version="audit.k8s.io/v1",
        stage=told("stage"),
        request_uri=told("request.uri"),
        verb=told("request.verb"),
        user=User(str(about.get("k8s.user.username", ""))),
        user_agent=told("user_agent"),
        object_ref=ObjectRef(
            resource=told("object_ref.resource"),
            namespace=told("object_ref.namespace"),
            name=told("object_ref.name"),
            api_group=told("object_ref.api_group"),
            api_version=told("object_ref.api_version"),
            subresource=told("object_ref.subresource"),
        ),
        response_status=Status(int(code)) if code.isdecimal() else None,
        request_received_timestamp=time,
        annotations={key.removeprefix(_NOTE): str(value) for key, value in about.items() if key.startswith(_NOTE)},
    )


def _attributes(keys: Keys) -> dict[str, Any]:
    found = {}
    for each in items(keys.get("attributes")):
        held = members(each)
        found[string(held.get("key"))] = _value(members(held.get("value")))
    return found


def _value(keys: Keys, depth: int = 0) -> Any:
    """An AnyValue's value."""
    for name, value in keys.items():
        match name:
            case "stringValue" | "bytesValue":
                return string(value)
            case "intValue":
                return number(value)
            case "kvlistValue" | "arrayValue" if depth < _DEPTH:
                inside = [members(each) for each in items(members(value).get("values"))]
                if name == "arrayValue":
                    return [_value(each, depth + 1) for each in inside]
                return {string(each.get("key")): _value(members(each.get("value")), depth + 1) for each in inside}
            case "boolValue" | "doubleValue":
                return json.loads(bytes(value))
    return None


_DEPTH = 200

FORMATS = (Format(ID, lambda keys: "resourceLogs" in keys, _open),)
