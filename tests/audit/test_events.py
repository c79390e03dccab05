from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook.audit import events


def event(**fields: Any) -> events.Event:
    base = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "auditID": "a"}
    return events.decode(json.dumps({**base, **fields}).encode())


@pytest.mark.parametrize("name", ["kube-1.37.jsonl", "openshift-requestresponse.jsonl"])
def test_a_glance_says_what_parsing_says(raw: Path, name: str) -> None:
    """On every line of real logs: never a write taken for a read, and the very same resource."""
    told = 0
    for line in (raw / name).read_bytes().splitlines():
        seen = events.glance(line)
        if seen is None:
            continue
        told += 1
        parsed = events.decode(line)
        assert seen[0] == (events.operation(parsed) == "")
        if not seen[0]:
            assert parsed.object_ref is not None
            assert (seen[1].decode(), seen[2].decode()) == (parsed.object_ref.resource, parsed.object_ref.subresource)
        assert events.minute(line).decode() == parsed.request_received_timestamp[:16]
    assert told > 60


def test_no_glance_at_other_orders_or_cut_lines() -> None:
    line = (
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete",'
    )
    line += b'"requestURI":"/x","verb":"get","objectRef":{"resource":"pods"}}'
    assert events.glance(line) == (True, b"", b"")
    assert events.glance(line[:-5]) is None
    assert events.glance(json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode()) is None
    assert events.glance(json.dumps(json.loads(line)).encode()) is None


def test_a_get_that_is_a_connect_is_no_read() -> None:
    line = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseStarted",'
    line += b'"requestURI":"/api/v1/namespaces/shop/pods/solo/exec?command=id","verb":"get",'
    line += b'"objectRef":{"resource":"pods","namespace":"shop","name":"solo","subresource":"exec"}}'
    assert events.glance(line) == (False, b"pods", b"exec")
    assert events.operation(events.decode(line)) == "CONNECT"


@pytest.mark.parametrize(
    ("verb", "subresource", "code", "expected"),
    [
        ("create", "", 201, "CREATE"),
        ("update", "", 200, "UPDATE"),
        ("update", "", 201, "CREATE"),
        ("patch", "", 200, "UPDATE"),
        ("patch", "", 201, "CREATE"),
        ("delete", "", 200, "DELETE"),
        ("deletecollection", "", 200, "DELETE"),
        ("create", "exec", 101, "CONNECT"),
        ("get", "portforward", 101, "CONNECT"),
        ("get", "", 200, ""),
        ("list", "", 200, ""),
        ("create", "eviction", 201, "CREATE"),
    ],
)
def test_operation(verb: str, subresource: str, code: int, expected: str) -> None:
    ref = {"resource": "pods", "subresource": subresource}
    assert events.operation(event(verb=verb, objectRef=ref, responseStatus={"code": code})) == expected


def test_dry_run_by_query_and_by_delete_options() -> None:
    def is_dry(**fields: Any) -> bool:
        each = event(**fields)
        return events.dry_run(each, events.body(each))

    assert is_dry(verb="create", requestURI="/api/v1/pods?dryRun=All&fieldManager=x")
    assert is_dry(verb="delete", requestURI="/x", requestObject={"kind": "DeleteOptions", "dryRun": ["All"]})
    assert not is_dry(verb="create", requestURI="/api/v1/pods?fieldManager=dryRun")
    assert not is_dry(verb="create", requestURI="/api/v1/pods?dryRun=")
    assert not is_dry(verb="delete", requestURI="/x")
    # An object of the user's own may have such a field.
    assert not is_dry(verb="create", requestURI="/x", requestObject={"kind": "Kettle", "dryRun": ["All"]})


def test_what_is_an_event() -> None:
    assert events.is_event(event(verb="create"))
    assert events.is_event(event(apiVersion="audit.k8s.io/v1beta1"))
    assert events.is_event(event(kind="", apiVersion="", verb="create"))  # as items of an EventList are
    assert not events.is_event(event(kind="Event", apiVersion="v1"))
    assert not events.is_event(event(stage="Unheard"))
    assert not events.is_event(event(kind="", apiVersion="", auditID=""))
    with pytest.raises(msgspec.ValidationError):
        event(kind=0)


def test_salvage_from_every_cut(raw: Path) -> None:
    """Whatever a cut line still gives is the whole line's."""
    lines = (raw / "kube-1.37.jsonl").read_bytes().splitlines()
    saved = 0
    for line in lines[::97]:
        whole = events.decode(line)
        for cut in range(1, len(line), 37):
            part = events.salvage(line[:cut])
            if part is None:
                continue
            saved += 1
            assert (part.audit_id, part.verb, part.stage) == (whole.audit_id, whole.verb, whole.stage)
            assert part.object_ref == whole.object_ref
            assert part.response_status in (None, whole.response_status)
    assert saved > 100


def test_times() -> None:
    assert events.microseconds("1970-01-01T00:00:01.000002Z") == 1_000_002
    assert events.microseconds("1970-01-01T01:00:00+01:00") == 0
    assert events.microseconds("1970-01-01 00:00:01") == 1_000_000
    with pytest.raises(ValueError, match="isoformat"):
        events.microseconds("<ts>")


def test_only_the_control_plane_tells_its_version() -> None:
    agent = "kube-controller-manager/v1.37.2 (linux/amd64) kubernetes/0000000"
    assert events.server_minor(event(userAgent=agent, user={"username": "system:kube-controller-manager"})) == 37
    assert events.server_minor(event(userAgent=agent, user={"username": "mallory"})) == 0
    assert events.server_minor(event(userAgent="kubectl/v1.30.0", user={"username": "system:admin"})) == 0


def test_annotation_keys_that_a_shipper_renamed() -> None:
    """Elastic and Fluentd write `_` for `.`; before the `/` there is never a `_` of the API server's own."""
    notes = {
        "check_wouldblock_dev/reviewed": "v=1",
        "failed-open_validating_webhook_admission_k8s_io/round_0_index_0": "check.wouldblock.dev",
        "validation.policy.admission.k8s.io/validation_failure": "[]",
        "no_prefix": "stays",
    }
    line = json.dumps({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "annotations": notes}).encode()
    assert events.decode(line).annotations == {
        "check.wouldblock.dev/reviewed": "v=1",
        "failed-open.validating.webhook.admission.k8s.io/round_0_index_0": "check.wouldblock.dev",
        "validation.policy.admission.k8s.io/validation_failure": "[]",
        "no_prefix": "stays",
    }
