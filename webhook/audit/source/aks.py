"""AKS: diagnostic records (Storage, Event Hub), and the tables of Log Analytics as rows, API answer or CSV.

A record holds the event as text in `properties.log`, or as an object after some pipelines. `AKSAudit` rows have a
column for each field, whose objects are JSON text; a body that was too large is the text `skipped-too-big-size-object`.
A table of `AzureDiagnostics` has the event in `log_s`. The cluster is the last segment of the resource id.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from webhook.audit.events import Event, ObjectRef, Status, User
from webhook.audit.source.envelope import Format, Keys, Opener, Origin, first, items, members, string, typed

ID = "aks"
_COLUMNS = ("AuditId", "RequestUri", "Verb")


def cluster_of(resource_id: str) -> str:
    return resource_id.rstrip("/").rpartition("/")[2].lower()


def is_table(columns: frozenset[str]) -> bool:
    """Whether a table with these columns holds events of an API server."""
    return columns.issuperset(_COLUMNS) or "log_s" in columns


def _open_record(keys: Keys, opener: Opener, origin: Origin) -> None:
    inside = Origin(ID, cluster_of(string(keys.get("resourceId"))) or origin.cluster, string(keys.get("time")))
    log = members(keys.get("properties")).get("log")
    if log is None or not string(keys.get("category")).startswith("kube-audit"):
        opener.refuse("not_audit_event")
    elif bytes(log)[:1] == b'"':
        opener.text(string(log), inside)
    else:
        opener.document(log, inside)


def _open_records(keys: Keys, opener: Opener, origin: Origin) -> None:
    for record in items(keys.get("records")):
        opener.document(record, origin)


def _open_tables(keys: Keys, opener: Opener, origin: Origin) -> None:
    for table in items(keys.get("tables")):
        held = members(table)
        names = [string(members(column).get("name")) for column in items(held.get("columns"))]
        for row in items(held.get("rows")):
            opener.document(msgspec.json.encode(dict(zip(names, items(row), strict=False))), origin)


def _open_row(keys: Keys, opener: Opener, origin: Origin) -> None:
    cluster = cluster_of(string(keys.get("_ResourceId")) or string(keys.get("ResourceId"))) or origin.cluster
    inside = Origin("aks-log-analytics", cluster, string(keys.get("TimeGenerated")))
    if "log_s" in keys:
        opener.text(string(keys["log_s"]), inside)
        return
    opener.event(
        Event(
            kind="Event",
            api_version="audit.k8s.io/v1",
            audit_id=string(keys.get("AuditId")),
            stage=string(keys.get("Stage")),
            request_uri=string(keys.get("RequestUri")),
            verb=string(keys.get("Verb")),
            user=typed(_dynamic(keys, "User"), User),
            user_agent=string(keys.get("UserAgent")),
            object_ref=typed(_dynamic(keys, "ObjectRef"), ObjectRef),
            response_status=typed(_dynamic(keys, "ResponseStatus"), Status),
            request_object=Raw(_dynamic(keys, "RequestObject")),
            request_received_timestamp=string(keys.get("RequestReceivedTime")) or string(keys.get("TimeGenerated")),
            annotations=typed(_dynamic(keys, "Annotations"), dict[str, str]),
        ),
        inside,
    )


def _dynamic(keys: Keys, name: str) -> bytes:
    """A `dynamic` column's object: JSON text in exports, or the object itself."""
    value = keys.get(name)
    if value is None:
        return b""
    data = string(value).encode() if bytes(value)[:1] == b'"' else bytes(value)
    return data if data[:1] == b"{" else b""


FORMATS = (
    Format(ID, lambda keys: "category" in keys and "properties" in keys, _open_record),
    Format(ID, lambda keys: bytes(keys.get("records", b""))[:1] == b"[", _open_records),
    Format("aks-log-analytics", lambda keys: "columns" in members(first(keys.get("tables"))), _open_tables),
    Format("aks-log-analytics", lambda keys: is_table(frozenset(keys)), _open_row),
)
