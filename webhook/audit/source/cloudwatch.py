"""EKS: CloudWatch Logs, in the shapes in which its exports and subscriptions hand out what was logged.

The event is the message, whole; one that was cut ends in `[Truncated...]`. The cluster is the log group's last but one
segment, `/aws/eks/<cluster>/cluster`.
"""

from __future__ import annotations

import base64
import binascii

from msgspec import Struct, field

from webhook.audit.source.envelope import (
    Format,
    Keys,
    Opener,
    Origin,
    first,
    items,
    members,
    number,
    of_milliseconds,
    string,
    typed,
)

ID = "eks-cloudwatch"


class _Field(Struct):
    name: str = field(name="field", default="")
    value: str = ""


def cluster_of(log_group: str) -> str:
    parts = log_group.split("/")
    return parts[-2] if log_group.startswith("/aws/eks/") and len(parts) >= 4 else ""


def _open_subscription(keys: Keys, opener: Opener, origin: Origin) -> None:
    if string(keys.get("messageType")) == "CONTROL_MESSAGE":
        opener.refuse("control_message")
        return
    cluster = cluster_of(string(keys.get("logGroup"))) or origin.cluster
    for each in items(keys.get("logEvents")):
        _message(members(each), opener, Origin(ID, cluster))


def _open_filtered(keys: Keys, opener: Opener, origin: Origin) -> None:
    for each in items(keys.get("events")):
        _message(members(each), opener, Origin(ID, origin.cluster))


def _message(keys: Keys, opener: Opener, origin: Origin) -> None:
    opener.text(string(keys.get("message")), origin._replace(time=of_milliseconds(number(keys.get("timestamp")))))


def _open_insights(keys: Keys, opener: Opener, origin: Origin) -> None:
    for row in items(keys.get("results")):
        values = {each.name: each.value for each in typed(row, list[_Field]) or ()}
        if "@message" not in values:
            opener.refuse("not_audit_event")
            continue
        cluster = cluster_of(values.get("@log", "").partition(":")[2]) or origin.cluster
        opener.text(values["@message"], Origin(ID, cluster, values.get("@timestamp", "")))


def _open_lambda(keys: Keys, opener: Opener, origin: Origin) -> None:
    _packed(string(members(keys.get("awslogs")).get("data")), opener, origin)


def _open_kinesis(keys: Keys, opener: Opener, origin: Origin) -> None:
    for record in items(keys.get("Records")):
        _packed(string(members(members(record).get("kinesis")).get("data")), opener, origin)


def _packed(text: str, opener: Opener, origin: Origin) -> None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        opener.refuse("not_audit_event")
        return
    opener.packed(data, Origin(ID, origin.cluster))


def _is_filtered(keys: Keys) -> bool:
    return "message" in members(first(keys.get("events"))) or bytes(keys.get("events", b"")) == b"[]"


def _is_kinesis(keys: Keys) -> bool:
    return "kinesis" in members(first(keys.get("Records")))


FORMATS = (
    Format(ID, lambda keys: "messageType" in keys and "logEvents" in keys, _open_subscription),
    Format(ID, lambda keys: "data" in members(keys.get("awslogs")), _open_lambda),
    Format(ID, _is_kinesis, _open_kinesis),
    Format(ID, _is_filtered, _open_filtered),
    Format(ID, lambda keys: bool(items(first(keys.get("results")))), _open_insights),
)
