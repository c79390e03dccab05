"""The API server's own JSON, and what leaves it as it is: the audit webhook's EventList, OpenShift's ViaQ.

EventList: the items may lack `kind` and `apiVersion`. ViaQ (OpenShift's collector) adds keys of its own and overwrites
`level`; the audit level is in `k8s_audit_level` or `openshift_audit_level`. Records of auditd and OVN come along.
"""

from __future__ import annotations

from webhook.audit.events import GROUP
from webhook.audit.source.envelope import Format, Keys, Opener, Origin, items, members, string
from webhook.audit.source.record import NATIVE


def _is_event(keys: Keys) -> bool:
    if "kind" in keys and string(keys["kind"]) != "Event":
        return False
    if "apiVersion" in keys:
        return string(keys["apiVersion"]).startswith(GROUP)
    return "verb" in keys and any(each in keys for each in ("kind", "auditID", "user", "objectRef"))


def _is_viaq(keys: Keys) -> bool:
    return "log_type" in keys and ("openshift" in keys or "log_source" in keys)


def _open_viaq(keys: Keys, opener: Opener, origin: Origin) -> None:
    if not _is_event(keys):
        opener.refuse("not_audit_event")
        return
    cluster = string(members(keys.get("openshift")).get("cluster_id"))
    opener.itself(origin._replace(format="openshift-viaq", cluster=cluster or origin.cluster))


def _open_list(keys: Keys, opener: Opener, origin: Origin) -> None:
    inside = origin._replace(format="event-list")
    for item in items(keys.get("items")):
        opener.document(item, inside)


def _open_event(keys: Keys, opener: Opener, origin: Origin) -> None:
    opener.itself(origin if origin.format else origin._replace(format=NATIVE))


FORMATS = (
    Format("openshift-viaq", _is_viaq, _open_viaq),
    Format("event-list", lambda keys: string(keys.get("kind")) == "EventList" and "items" in keys, _open_list),
    Format(NATIVE, _is_event, _open_event),
    Format(
        "admission-review",
        lambda keys: string(keys.get("kind")) == "AdmissionReview" or ("request" in keys and "response" in keys),
        lambda _keys, opener, _origin: opener.refuse("admission_review"),
    ),
)
