"""What log shippers and stores put around a line or an event: Elastic, Loki, Fluent Bit, Vector, Splunk, Graylog.

Elastic's Kubernetes integration writes `_` for `.` in annotation keys and drops `metadata` of bodies; Fluentd's de-dot
filter renames every key. The names of webhooks and groups hold no `_`, so the keys can be told (`events`).
"""

from __future__ import annotations

from webhook.audit.source.envelope import (
    Format,
    Keys,
    Opener,
    Origin,
    items,
    members,
    number,
    of_nanoseconds,
    string,
    typed,
)

_LINES = ("log", "message", "msg", "event", "_raw", "short_message", "full_message", "line", "textPayload", "MESSAGE")
"""Members in which a shipper keeps the line that it read, or the event that was in it."""


def _open_search(keys: Keys, opener: Opener, origin: Origin) -> None:
    for hit in items(members(keys.get("hits")).get("hits")):
        opener.document(hit, origin._replace(format="elastic"))


def _open_hit(keys: Keys, opener: Opener, origin: Origin) -> None:
    opener.document(keys["_source"], origin._replace(format="elastic"))


def _open_beat(keys: Keys, opener: Opener, origin: Origin) -> None:
    cluster = string(members(members(keys.get("orchestrator")).get("cluster")).get("name")) or origin.cluster
    opener.document(
        members(keys.get("kubernetes")).get("audit") or keys["kubernetes.audit"],
        Origin("elastic", cluster, string(keys.get("@timestamp"))),
    )


def _open_loki(keys: Keys, opener: Opener, origin: Origin) -> None:
    streams = items(keys.get("streams")) or items(members(keys.get("data")).get("result"))
    for stream in streams:
        held = members(stream)
        labels = typed(held.get("stream"), dict[str, str]) or {}
        cluster = labels.get("cluster") or origin.cluster
        for value in items(held.get("values")):
            pair = items(value)
            if len(pair) < 2:
                opener.refuse("not_audit_event")
            else:
                opener.text(string(pair[1]), Origin("loki", cluster, of_nanoseconds(number(pair[0]))))


def _open_logcli(keys: Keys, opener: Opener, origin: Origin) -> None:
    cluster = string(members(keys.get("labels")).get("cluster")) or origin.cluster
    opener.text(string(keys.get("line")), Origin("loki", cluster, string(keys.get("timestamp"))))


def _open_line(keys: Keys, opener: Opener, origin: Origin) -> None:
    time = string(keys.get("time")) or string(keys.get("timestamp")) or string(keys.get("@timestamp")) or origin.time
    inside = Origin(origin.format or "shipped", origin.cluster, time)
    for name in _LINES:
        value = keys.get(name)
        if value is None:
            continue
        if bytes(value)[:1] == b'"':
            opener.text(string(value), inside)
            return
        if bytes(value)[:1] == b"{":
            opener.document(value, inside)
            return
    opener.refuse("not_audit_event")


def _open_splunk(keys: Keys, opener: Opener, origin: Origin) -> None:
    opener.document(keys["result"], origin._replace(format="splunk"))


FORMATS = (
    Format("elastic", lambda keys: "hits" in members(keys.get("hits")), _open_search),
    Format("elastic", lambda keys: bytes(keys.get("_source", b""))[:1] == b"{", _open_hit),
    Format(
        "elastic", lambda keys: "audit" in members(keys.get("kubernetes")) or "kubernetes.audit" in keys, _open_beat
    ),
    Format("loki", lambda keys: "streams" in keys or "result" in members(keys.get("data")), _open_loki),
    Format("loki", lambda keys: "line" in keys and "labels" in keys, _open_logcli),
    Format("splunk", lambda keys: "_raw" in members(keys.get("result")), _open_splunk),
    Format("shipped", lambda keys: any(name in keys for name in _LINES), _open_line),
)
