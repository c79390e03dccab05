"""Facts of a real log against what was counted by hand, and that order, copies and cuts do not matter."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.annotations import WEBHOOK_NAME, encode
from webhook.audit.fact import Fact
from webhook.audit.facts import Collector, Facts, Interest
from webhook.audit.source import Lines, Unreadable, read
from webhook.policy import Finding, Outcome

EVERYTHING = Interest(frozenset(), everything=True)


def collect(lines: list[bytes], *names: str, interest: Interest = EVERYTHING) -> tuple[Facts, Unreadable]:
    unreadable = Unreadable()
    ours = names or (WEBHOOK_NAME,)
    collector = Collector(interest=interest, is_ours=lambda name: name in ours, unreadable=unreadable)
    collector.add(Lines("test.log", 0, lines))
    return collector.facts, unreadable


@pytest.fixture(scope="module")
def real(raw: Path) -> list[bytes]:
    return (raw / "kube-1.37.jsonl").read_bytes().splitlines()


def plain(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def test_every_record_has_a_fate(real: list[bytes]) -> None:
    facts, unreadable = collect(real)
    assert sum(facts.counts.values()) + sum(unreadable.counts.values()) == len(real) == 1_391
    assert not unreadable.counts
    writes = {
        (each["auditID"], each["requestReceivedTimestamp"])
        for each in map(plain, real)
        if each["verb"] in ("create", "update", "patch", "delete", "deletecollection")
        or each.get("objectRef", {}).get("subresource") == "exec"
    }
    assert len(list(facts.rows())) == len(writes)
    assert facts.server_minors == {37}


@pytest.mark.parametrize(
    ("name", "count", "unread"),
    [
        ("raw/openshift-requestresponse.jsonl", 63, {}),
        ("raw/derived-openshift-filter.jsonl.gz", 5, {}),
        ("raw/openshift-metadata-pretty.json", 1, {}),
        ("raw/panther-eks.jsonl", 164, {"no_time"}),
        ("legacy/falco-2018.jsonl", 52, {"not_audit_event"}),
    ],
)
def test_other_native_samples(corpora: Path, name: str, count: int, unread: set[str]) -> None:
    """Older versions, bodies, hand-written and pretty-printed events: all is read, or counted with its reason."""
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    for found in read([str(corpora / "audit" / name)], unreadable):
        collector.add(found)
    assert sum(collector.facts.counts.values()) + sum(unreadable.counts.values()) == count
    assert set(unreadable.counts) == set(unread)


def test_what_is_not_of_interest_is_counted_and_not_kept(real: list[bytes]) -> None:
    everything, _ = collect(real)
    pods, unreadable = collect(real, interest=Interest(frozenset({b"pods"})))
    assert sum(pods.counts.values()) == sum(everything.counts.values())
    assert pods.minutes == everything.minutes
    kept = [fact for _, fact in pods.rows() if fact.resource == "pods" and not fact.subresource]
    assert kept == [fact for _, fact in everything.rows() if fact.resource == "pods" and not fact.subresource]
    # What failed a policy is kept whatever it is about.
    assert sum(bool(fact.native.failed) for _, fact in pods.rows()) == 22
    assert not unreadable.counts


def test_the_servers_version_is_seen_in_what_is_skipped(real: list[bytes]) -> None:
    lines = [line for line in real if b'"verb":"list"' in line or b'"resource":"serviceaccounts"' in line]
    facts, _ = collect(lines, interest=Interest(frozenset({b"pods"})))
    assert not facts.table
    assert facts.server_minors == {37}


def test_native_annotations_of_the_real_log(real: list[bytes]) -> None:
    facts, _ = collect(real)
    rows = [fact for _, fact in facts.rows()]
    assert sum(bool(fact.native.failed) for fact in rows) == 22
    assert sum(bool(fact.native.violates) for fact in rows) == 20
    assert sum(bool(fact.native.exempt) for fact in rows) == 3
    assert sum(bool(fact.native.enforced) for fact in rows) == 118
    assert {fact.native.violates for fact in rows} == {"", "restricted:latest"}
    erroring = [fact for fact in rows if "erroring.example.dev" in fact.native.failed]
    assert erroring
    assert all(fact.native.errors == ("erroring.example.dev",) for fact in erroring)
    # Two bindings and two expressions fail, and the list says so; the policy failed once.
    assert max(fact.native.listed for fact in rows) == 5


@pytest.mark.parametrize(
    ("name", "count"), [("down.example.dev", 15), ("badbody.example.dev", 15), ("nosan.example.dev", 3)]
)
def test_failed_open_is_ours_by_name(real: list[bytes], name: str, count: int) -> None:
    facts, _ = collect(real, name)
    assert sum(fact.failed_open for _, fact in facts.rows()) == count
    others, _ = collect(real)
    assert not any(fact.failed_open for _, fact in others.rows())


def test_dry_runs_of_the_real_log(real: list[bytes]) -> None:
    """15 records of 12 requests in the URI, and 2 requests that only the body shows."""
    facts, _ = collect(real)
    assert sum(fact.dry_run for _, fact in facts.rows()) == 14


def test_the_stand_in_of_the_real_log_cannot_be_read_and_says_so(real: list[bytes]) -> None:
    facts, unreadable = collect(real, "check.example.dev")
    assert unreadable.counts == {"unreadable_annotation": 314}
    assert sum(fact.unreadable_review for fact in facts.table) > 0
    assert facts.own_seen


def test_writes_to_the_evidence_chain_are_listed(real: list[bytes]) -> None:
    facts, _ = collect(real)
    expected = [
        (each["verb"], each["objectRef"]["resource"], each["objectRef"]["name"], each["user"]["username"])
        for each in map(plain, real)
        if each.get("objectRef", {}).get("apiGroup") == "admissionregistration.k8s.io"
        and each["stage"] == "ResponseComplete"
        and each["verb"] not in ("get", "list", "watch")
        and each["responseStatus"]["code"] < 400
        and "dryRun" not in each["requestURI"]
    ]
    found = [(each.verb, each.resource, each.name, each.user) for each in sorted(facts.registrations.values())]
    assert sorted(found) == sorted(expected)
    assert found


def tally(facts: Facts) -> Counter[Fact]:
    return Counter(fact for _, fact in facts.rows())


@given(st.randoms(use_true_random=False))
@settings(max_examples=6, deadline=None)
def test_shuffled_copied_and_split_logs_are_one_log(real: list[bytes], random_: random.Random) -> None:
    lines = real[::3]
    expected, _ = collect(lines)
    many = [*lines, *random_.sample(lines, len(lines) // 2)]
    random_.shuffle(many)
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    half = random_.randrange(len(many))
    collector.add(Lines("a", 0, many[:half]))
    collector.add(Lines("b", 0, many[half:]))
    assert list(collector.facts.rows()) == list(expected.rows())
    assert collector.facts.registrations == expected.registrations


def test_gzip_and_plain_are_one_log(real: list[bytes], tmp_path: Path) -> None:
    text = b"\n".join(real) + b"\n"
    (tmp_path / "a.log").write_bytes(text)
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :]))
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    for lines in read([str(tmp_path)], unreadable):
        collector.add(lines)
    expected, _ = collect(real)
    assert list(collector.facts.rows()) == list(expected.rows())
    assert not unreadable.counts


def test_the_stages_of_a_request_are_one_write(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    log = make_log(make_record("p"))
    at = log.now
    log.write(stage="RequestReceived", audit_id="one", at=at, annotations={})
    log.write(audit_id="one", at=at, outcome=log.outcome("p"))
    log.write(stage="RequestReceived", audit_id="one", at=at)
    for lines in (log.lines, log.lines[::-1]):
        facts, _ = collect(lines)
        ((_, fact),) = facts.rows()
        assert fact.review is not None
        assert fact.review.violated == ("p",)


def test_an_id_that_a_client_chose_twice_is_two_writes(
    make_log: Callable[..., Any], make_record: Callable[..., Any]
) -> None:
    log = make_log(make_record("p"))
    log.write(audit_id="same", name="a")
    log.write(audit_id="same", name="b")
    facts, _ = collect(log.lines)
    assert [fact.root for _, fact in facts.rows()] == ["Deployment/a", "Deployment/b"]


def test_cut_garbage_and_foreign_lines_are_named(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    log = make_log(make_record("p"))
    first = log.write()
    cut = log.write(name="cut")[:-60]
    lines = [
        first,
        b"garbage",
        b'{"kind":0}',
        b'{"kind":"Event","apiVersion":"v1","reason":"Pulled"}',
        b"\xff\xfe\x00",
        b"",
        cut,
        b"[" * 100_000,
    ]
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    collector.add(Lines("f", 100, lines))
    assert collector.facts.counts == {"events": 1}
    assert unreadable.counts == {"not_json": 2, "not_audit_event": 3, "cut_event": 1}
    offsets = [100]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    assert [each.offset for each in unreadable.places["not_json"]] == [offsets[1], offsets[4]]
    assert [each.offset for each in unreadable.places["cut_event"]] == [offsets[6]]
    (fact,) = collector.facts.cut_rows()
    assert fact.cut
    assert (fact.namespace, fact.root, fact.operation) == ("shop", "Deployment/cut", "CREATE")


def test_a_half_written_last_line(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    log = make_log(make_record("p"))
    whole = log.write()
    unreadable = Unreadable()
    collector = Collector(interest=EVERYTHING, is_ours=lambda name: False, unreadable=unreadable)
    collector.add(Lines("f", 0, [whole[:-60]], open_end=True))
    assert unreadable.counts == {"incomplete_last_line": 1}
    assert len(collector.facts.cut_rows()) == 1
    # Another copy of the log has the line whole: then nothing was lost.
    collector.add(Lines("g", 0, [whole]))
    assert collector.facts.cut_rows() == []


def test_damaged_text_is_counted_and_read(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    line = make_log(make_record("p")).write(name="w\u00e9b")
    facts, unreadable = collect([line.replace(b"\xc3", b"\xff")])
    assert unreadable.counts == {"invalid_utf8": 1}
    ((_, fact),) = facts.rows()
    assert fact.root == "Deployment/w\ufffd\ufffdb"


def test_times_that_are_none(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    line = make_log(make_record("p")).write()
    facts, unreadable = collect([line.replace(b"2026-11-01T00:00:00.000000Z", b"<ts>")])
    assert unreadable.counts == {"no_time": 1}
    assert not list(facts.rows())


def test_owners_come_from_our_annotation_or_from_the_body(
    make_log: Callable[..., Any], make_record: Callable[..., Any]
) -> None:
    log = make_log(make_record("p"))
    log.pod("", log.outcome(owner="ReplicaSet/web-67b8cd545f"))
    reference = {"kind": "ReplicaSet", "name": "web-67b8cd545f", "controller": True}
    body = {"kind": "Pod", "metadata": {"generateName": "web-67b8cd545f-", "ownerReferences": [reference]}}
    log.pod("", body=body)
    log.pod("")
    facts, _ = collect(log.lines)
    origins = [(fact.root, fact.trial) for _, fact in facts.rows()]
    assert origins == [("Deployment/web", "67b8cd545f")] * 2 + [("", "?")]


def test_names_of_single_api_versions_are_ours_too(
    make_log: Callable[..., Any], make_record: Callable[..., Any], reading: Callable[..., Any]
) -> None:
    log = make_log(make_record("p"))
    log.write(outcome=log.outcome("p"), webhook=f"v2.{WEBHOOK_NAME}")
    log.write(outcome=log.outcome("p"), webhook="evil-" + WEBHOOK_NAME)
    log.write(annotations={"failed-open.validating.webhook.admission.k8s.io/round_0_index_1": f"exact.{WEBHOOK_NAME}"})
    facts, _ = reading(log.lines)
    assert [(fact.review is not None, fact.failed_open) for _, fact in facts.rows()] == [
        (True, False),
        (False, False),
        (False, True),
    ]


def test_a_retry_that_failed_open_beside_a_review(
    make_log: Callable[..., Any], make_record: Callable[..., Any]
) -> None:
    """The very same review with and without: what is remembered of one is not taken for the other."""
    log = make_log(make_record("p"))
    opened = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}
    for notes in ({}, opened, {}):
        log.write(outcome=log.outcome(), annotations=notes)
    facts, _ = collect(log.lines)
    assert [fact.failed_open for _, fact in facts.rows()] == [False, True, False]


def test_texts_do_not_get_in(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    """A canary in every place that may hold a secret."""
    log = make_log(make_record("p"))
    body = {"kind": "Secret", "data": {"password": "SECRET-DATA"}, "stringData": {"x": "SECRET-STRING"}}
    failure = json.dumps([{"policy": "vap", "message": "SECRET-FAILURE", "expressionIndex": 0}])
    notes = {
        "validation.policy.admission.k8s.io/validation_failure": failure,
        "pod-security.kubernetes.io/audit-violations": 'would violate PodSecurity "restricted:latest": SECRET-PSA',
    }
    log.write(outcome=log.outcome("p"), body=body, annotations=notes)
    facts, _ = collect(log.lines)
    assert len(facts.table) == 1
    assert "vap" in repr(facts.table)
    assert "SECRET" not in repr(facts.table)


def test_the_operation_is_the_one_that_was_reviewed(
    make_log: Callable[..., Any], make_record: Callable[..., Any]
) -> None:
    """The audit verb of a server-side apply is `patch`, whether it creates or updates."""
    log = make_log(make_record("p"))
    log.write(verb="patch", code=200, outcome=log.outcome(), operation="CREATE")
    log.write(verb="patch", code=201)
    log.write(verb="patch", code=200)
    facts, _ = collect(log.lines)
    assert [fact.operation for _, fact in facts.rows()] == ["CREATE", "CREATE", "UPDATE"]


def test_replicas_share_their_fact(make_log: Callable[..., Any], make_record: Callable[..., Any]) -> None:
    """Memory grows with what is different, not with writes."""
    log = make_log(make_record("p"))
    outcome = Outcome(set_digest="set-1", evaluated=1, owner="ReplicaSet/web-67b8cd545f")
    outcome = Outcome(
        set_digest="set-1", evaluated=1, owner=outcome.owner, findings=(Finding(policy="p", message="m"),)
    )
    assert encode(outcome, operation="CREATE", dry_run=False)
    for _ in range(500):
        log.pod("", outcome)
    facts, _ = collect(log.lines)
    assert len(facts.times) == 500
    assert len(facts.table) == 1
