"""Who still calls what an upgrade takes away: by a real log, by a plain reading of it, and with hostile names."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from webhook.audit import upgrade_render as render
from webhook.audit.lifecycle import KNOWN
from webhook.audit.source import Lines, Unreadable
from webhook.audit.upgrade import DEPRECATED, REMOVED, Report, Usage, minor_of, product
from webhook.cli import main

Event = dict[str, Any]


def event(number: int, **fields: Any) -> Event:
    """An event in the API server's field order."""
    verb = fields.pop("verb", "create")
    group, version = fields.pop("group", "networking.k8s.io"), fields.pop("version", "v1beta1")
    reference = {"resource": fields.pop("resource", "ipaddresses"), "namespace": fields.pop("namespace", "")}
    reference |= {"name": "x", "apiGroup": group, "apiVersion": version}
    marks = {DEPRECATED: "true", REMOVED: fields.pop("removed")} if "removed" in fields else {}
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": fields.pop("stage", "ResponseComplete"),
        "requestURI": f"/apis/{group}/{version}/x?n={number}",
        "verb": verb,
        "user": {"username": fields.pop("user", "alice")},
        "userAgent": fields.pop("agent", "kubectl/v1.33.1 (linux/amd64) kubernetes/abc"),
        "objectRef": {key: value for key, value in reference.items() if value},
        "responseStatus": {"metadata": {}, "code": fields.pop("code", 201)},
        "requestReceivedTimestamp": f"2026-11-02T09:{number // 60 % 60:02}:{number % 60:02}.000000Z",
        "stageTimestamp": "2026-11-02T10:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow", **marks},
        **fields,
    }


def line(each: Event) -> bytes:
    return json.dumps(each, separators=(",", ":")).encode()


def report(lines: list[bytes], *, to: int = 37) -> Report:
    usage = Usage(Unreadable())
    usage.add(Lines("test", 0, lines))
    return usage.report(to)


def found(lines: list[bytes], *, to: int = 37) -> dict[tuple[str, str, str], str]:
    """(group/version, resource, client) → effect."""
    return {
        (f"{row.api.group}/{row.api.version}", row.api.resource, row.caller.client): row.effect
        for row in report(lines, to=to).rows
    }


# A real log


@pytest.fixture
def real(corpora: Path) -> list[bytes]:
    return (corpora / "audit" / "raw" / "kube-1.37.jsonl").read_bytes().splitlines()


@pytest.mark.corpus
def test_every_mark_of_the_api_server_is_in_the_report(real: list[bytes]) -> None:
    marked = {
        each["auditID"]: each
        for each in map(json.loads, real)
        if each.get("annotations", {}).get(DEPRECATED) == "true" and "objectRef" in each
    }
    assert marked
    expected = Counter(
        (each["objectRef"].get("apiGroup", ""), each["objectRef"]["apiVersion"], each["objectRef"]["resource"])
        for each in marked.values()
    )
    rows = [row for row in report(real).rows if row.calls.marked]
    assert Counter({(r.api.group, r.api.version, r.api.resource): 0 for r in rows}) | expected == expected
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counted[row.api.group, row.api.version, row.api.resource] += row.calls.requests
    assert counted == expected


@pytest.mark.corpus
def test_the_table_says_what_the_api_server_says(real: list[bytes]) -> None:
    compared = 0
    for each in map(json.loads, real):
        notes, reference = each.get("annotations", {}), each.get("objectRef", {})
        if notes.get(DEPRECATED) == "true" and REMOVED in notes:
            key = (reference.get("apiGroup", ""), reference["apiVersion"], reference["resource"])
            assert KNOWN[key].removed == minor_of(notes[REMOVED]), key
            assert 0 < KNOWN[key].deprecated <= 37
            compared += 1
    assert compared >= 3


@pytest.mark.corpus
def test_order_and_duplicates_do_not_matter(real: list[bytes]) -> None:
    once = render.as_json(report(real, to=39))
    shuffled = [*real, *real[::3]]
    random.Random(7).shuffle(shuffled)  # noqa: S311
    again = render.as_json(report(shuffled, to=39))
    for each in (once, again):
        del each["log"]
        for row in each["rows"]:
            del row["audit_ids"]  # the first that were read
    assert again == once


def test_the_table_is_sound() -> None:
    for key, each in KNOWN.items():
        assert not each.removed or each.deprecated <= each.removed, key
        group, _, version = each.replacement.rpartition("/")
        if version.startswith("v"):
            successor = KNOWN.get((group, version, key[2]))
            assert successor is None or not successor.removed or successor.removed > each.removed, key


# What counts


def test_what_breaks_depends_on_the_target() -> None:
    lines = [
        line(event(1)),
        line(event(2, group="resource.k8s.io", resource="resourceclaims", version="v1beta1")),
        line(event(3, group="apps", version="v1", resource="deployments")),
    ]
    addresses, claims = (
        ("networking.k8s.io/v1beta1", "ipaddresses", "kubectl"),
        (
            "resource.k8s.io/v1beta1",
            "resourceclaims",
            "kubectl",
        ),
    )
    assert found(lines, to=33) == {}
    assert found(lines, to=34) == {addresses: "deprecated"}
    assert found(lines, to=37) == {addresses: "breaks", claims: "deprecated"}
    assert found(lines, to=38) == {addresses: "breaks", claims: "breaks"}


def test_the_api_server_knows_of_apis_that_we_do_not() -> None:
    lines = [line(event(1, group="example.dev", version="v1beta1", resource="widgets", removed="1.37"))]
    assert list(found(lines, to=36).values()) == ["deprecated"]
    assert list(found(lines, to=37).values()) == ["breaks"]


def test_a_removed_api_that_nobody_answers() -> None:
    old = {"group": "batch", "version": "v1beta1", "resource": "cronjobs"}
    assert list(found([line(event(1, code=404, **old))]).values()) == ["gone"]
    # One request was answered: so the API is there.
    assert list(found([line(event(1, code=404, **old)), line(event(2, code=200, verb="get", **old))]).values()) == [
        "breaks"
    ]


def test_each_request_counts_once_whatever_its_stages() -> None:
    lines = [
        line(event(1, stage="RequestReceived")),
        line(event(1, stage="ResponseComplete")),
        line(event(2, stage="ResponseStarted", verb="watch")),
        line(event(2, stage="ResponseComplete", verb="watch")),
        line(event(3, stage="RequestReceived")),
    ]
    for order in (lines, lines[::-1]):
        (row,) = report(order).rows
        assert row.calls.verbs == {"create": 2, "watch": 1}


def test_kubernetes_itself_does_not_stop_the_upgrade() -> None:
    lines = [
        line(
            event(
                1,
                agent="kube-controller-manager/v1.36.0 (linux/amd64) kubernetes/abc/system:serviceaccount",
                user="system:serviceaccount:kube-system:generic-garbage-collector",
            )
        )
    ]
    assert [row.control_plane for row in report(lines).rows] == [True]
    assert report(lines).breaking == ()
    # Whoever only says so is not believed.
    assert report([line(event(1, agent="kube-controller-manager/v1.36.0", user="mallory"))]).breaking


def test_where_reads_are_dropped_it_is_said() -> None:
    write = line(event(1, group="apps", version="v1", resource="deployments"))
    dropped = report([write])
    assert any(each.startswith("writes only:") for each in render.summary(dropped))
    assert render.as_json(dropped)["log"]["writes_only"] is True
    some = report([write, line(event(2, group="", version="v1", resource="pods", verb="watch"))])
    assert render.as_json(some)["log"]["reads_of"] == ["pods"]
    assert any(each.startswith("writes only, but for pods:") for each in render.summary(some))
    kept = [line(event(n, group="", version="v1", resource=f"r{n}", verb="list")) for n in range(12)]
    assert not any(each.startswith("writes only") for each in render.summary(report([write, *kept])))
    # Reads of others say nothing of this one.
    (row,) = report([line(event(1)), line(event(2, group="apps", version="v1", resource="pods", verb="get"))]).rows
    assert not row.reads_seen
    (row,) = report([line(event(1)), line(event(2, version="v1", verb="get"))]).rows
    assert row.reads_seen


@pytest.mark.parametrize(
    ("text", "minor"), [("1.37", 37), ("v1.37", 37), ("1.37.2", 37), ("2.1", 0), ("37", 0), ("", 0), ("1.37-rc", 0)]
)
def test_releases(text: str, minor: int) -> None:
    assert minor_of(text) == minor


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("kubectl/v1.33.1 (linux/amd64) kubernetes/abc", ("kubectl", "v1.33.1")),
        ("Helm/3.12.0", ("Helm", "3.12.0")),
        ("manager", ("manager", "")),
        ("", ("", "")),
        ("(none)", ("", "")),
    ],
)
def test_products(agent: str, name: tuple[str, str]) -> None:
    assert product(agent) == name


# What people see

HOSTILE = ("=cmd|' /C calc'!A0", "a\x1b[2Jb", "`x` <script>", "x\nremoved in", "a\u202eb")


def test_hostile_callers_stay_names() -> None:
    made = report([line(event(number, agent="x/1", user=each)) for number, each in enumerate(HOSTILE)])
    for text in ("\n".join(render.as_text(made)), "\n".join(render.as_markdown(made)), render.as_csv(made)):
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    rows = list(csv.DictReader(io.StringIO(render.as_csv(made))))
    assert len(rows) == len(HOSTILE)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert "\n".join(render.as_markdown(made)).count("`` `x` <script> ``") == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(b"".join(line(event(number)) + b"\n" for number in range(3)) + b'{"half')
    assert main(["upgrade", str(log), "--to", "1.36"]) == 0
    assert "Deprecated: these go on in 1.36" in capsys.readouterr().out
    assert main(["upgrade", str(log), "--to", "v1.37"]) == 1
    out, err = capsys.readouterr()
    assert "networking.k8s.io/v1beta1 ipaddresses: removed in 1.37, use networking.k8s.io/v1" in out
    assert "kubectl v1.33.1  alice  (cluster)  3 requests (create 3)" in out
    assert "1 caller of 1 API will not work in 1.37" in out
    assert "writes only: the log holds no reads" in out
    assert "not read: 1 incomplete_last_line" in err
    assert main(["upgrade", str(log), "--to", "1.37", "--output", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["breaking"], said["rows"][0]["verbs"], said["rows"][0]["replacement"]) == (
        1,
        {"create": 3},
        "networking.k8s.io/v1",
    )
    assert main(["upgrade", str(log), "--to", "1.37", "--output", "csv"]) == 1
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 1
    assert main(["upgrade", str(log), "--to", "next"]) == 2
    assert "is no release of Kubernetes: write 1.37" in capsys.readouterr().err
    log.write_bytes(b"nothing\n")
    assert main(["upgrade", str(log), "--to", "1.37"]) == 2
    assert "no audit event found" in capsys.readouterr().err
