"""Verdicts and figures on logs whose figures are known, for they were planted."""

from __future__ import annotations

import datetime
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
from webhook.audit.source import Unreadable
from webhook.audit.verdict import DAY, SECOND, Limits, Readiness, judge
from webhook.policy import Exempted, Finding, Match, Outcome, Rule

Any_ = Callable[..., Any]
LOOSE = Limits(min_window=0, min_writes=1)
FAILED_OPEN = {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": WEBHOOK_NAME}


@pytest.fixture
def log(make_log: Any_, make_record: Any_) -> Any:
    return make_log(make_record("p", "q"))


def test_enforce_after_enough(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(60):
        log.write(name=f"app-{number}", outcome=log.outcome())
    found = row_of(reporting(log.lines, log.sets), "p")
    assert (found.verdict, found.condition) == ("enforce", "")
    assert (found.writes, found.reviewed, found.n, found.k) == (60, 60, 60, 0)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 60))
    assert (found.end - found.start) // SECOND == 59 * 6 * 3600
    assert "0 of 60" in found.reason
    assert "4.9%" in found.reason


def test_planted_figures(log: Any, reporting: Any_, row_of: Any_) -> None:
    random_ = random.Random(7)  # noqa: S311
    planted: Counter[str] = Counter()
    names = [f"app-{number}" for number in range(200)]
    kinds = ["pass"] * 12 + ["violation", "exempt", "error", "incomparable", "internal", "skip", "failed open", "lost"]
    kinds += ["refused", "dry", "not mine", "shed"]
    for name in names:
        kind = random_.choice(kinds)
        planted[kind] += 1
        more: dict[str, Any] = {}
        match kind:
            case "violation":
                more = {"outcome": log.outcome("p")}
            case "exempt":
                more = {"outcome": log.outcome(exempted=(Exempted(policy="p", exemption="e-1"),))}
            case "error":
                finding = Finding(policy="p", message="no such key", error=True)
                more = {"outcome": Outcome(set_digest="set-1", evaluated=3, findings=(finding,))}
            case "incomparable":
                more = {"outcome": log.outcome(ran=["q"], not_comparable=(("p", "needs state"),))}
            case "internal":
                more = {"outcome": log.outcome(ran=["q"], internal_errors=(("p", "KeyError"),))}
            case "skip":
                more = {"outcome": log.outcome(ran=["q"], incomplete="deadline", skipped=("p",))}
            case "failed open":
                more = {"annotations": FAILED_OPEN}
            case "lost":
                more = {}
            case "refused":
                more = {"outcome": log.outcome("p"), "code": 403}
            case "dry":
                more = {"outcome": log.outcome("p"), "dry_run": True}
            case "not mine":
                more = {"outcome": log.outcome(ran=["q"])}
            case "shed":
                more = {"outcome": Outcome(set_digest="set-1", incomplete="shed")}
            case _:
                more = {"outcome": log.outcome()}
        log.write(name=name, **more)
    found = row_of(reporting(log.lines, log.sets), "p")
    bad = planted["violation"] + planted["error"]
    reviewed = planted["pass"] + bad + planted["exempt"] + planted["incomparable"]
    assert all(planted[kind] for kind in kinds)
    assert found.reviewed == reviewed
    assert found.violations == planted["violation"]
    assert found.errors == planted["error"]
    assert found.exempted == found.open_exempted == planted["exempt"]
    assert found.not_comparable == planted["incomparable"]
    assert {outcome: count for outcome, count in found.outcomes.items() if count} == {
        "reviewed": reviewed,
        "incomplete": planted["internal"] + planted["skip"] + planted["shed"],
        "failed_open": planted["failed open"],
        "not_sent": planted["lost"],
        "rejected": planted["refused"],
        "dry_run": planted["dry"],
    }
    assert found.k == bad
    assert found.n == reviewed - planted["incomparable"]
    assert found.verdict == "fix first"
    clean = row_of(reporting(log.lines, log.sets), "q")
    assert (clean.violations, clean.errors, clean.k) == (0, 0, 0)


def test_replicas_of_one_template_are_one_change(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(name="web", outcome=log.outcome())
    for hash_ in ("67b8cd545f", "84c5d7f9b"):
        log.write(name=f"web-{hash_}", resource="replicasets", outcome=None)
        for _ in range(250):
            log.pod("", log.outcome(owner=f"ReplicaSet/web-{hash_}"))
    found = row_of(reporting(log.lines, log.sets), "p")
    assert found.reviewed == 501
    assert found.n == 2
    assert found.verdict == "not enough evidence"
    assert found.condition == "sample"


def test_writes_of_controllers_are_no_changes(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(name="web", outcome=log.outcome())
    for _ in range(40):
        controller = "system:serviceaccount:kube-system:deployment-controller"
        log.write(name="web", verb="update", code=200, outcome=log.outcome(), user=controller)
    found = row_of(reporting(log.lines, log.sets), "p")
    assert (found.reviewed, found.n) == (41, 1)


def test_repaired_is_not_open(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.verdict, found.condition, found.k) == ("fix first", "open_violations", 1)
    log.write(verb="update", code=200, outcome=log.outcome())
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.verdict, found.violations, found.k) == ("enforce", 1, 0)
    assert found.last_violation is not None
    assert found.last_violation.workload == "Deployment/web"
    # The order of the lines is not the order of the writes.
    assert row_of(reporting(log.lines[::-1], log.sets, limits=LOOSE), "p") == found


def test_a_fit_pod_does_not_repair_its_deployment(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    log.pod("", log.outcome(owner="ReplicaSet/web-67b8cd545f"))
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.verdict, found.k) == ("fix first", 1)


def test_a_dry_run_or_a_refused_write_repairs_nothing(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    log.write(verb="update", code=200, outcome=log.outcome(), dry_run=True)
    log.write(verb="update", code=409, outcome=log.outcome())
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1


def test_a_dry_run_that_only_our_annotation_shows(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    encoded = encode(log.outcome(), operation="UPDATE", dry_run=True)
    log.write(verb="update", code=200, annotations={f"{WEBHOOK_NAME}/{key}": text for key, text in encoded.items()})
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.k, found.outcomes["dry_run"]) == (1, 1)


def test_gone_is_not_open(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    log.write(name="other", outcome=log.outcome())
    log.write(verb="delete", code=404)
    log.write(name="web-67b8cd545f", resource="replicasets", verb="delete", code=200)
    log.write(verb="delete", code=200, dry_run=True)
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1
    log.write(verb="delete", code=200)
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 0
    log.write(outcome=log.outcome("p"))
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1
    log.write(name="shop", resource="namespaces", group="", verb="delete", code=200)
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 0


def test_a_delete_that_would_be_denied_is_open(
    make_log: Any_, make_record: Any_, reporting: Any_, row_of: Any_
) -> None:
    rule = Rule(operations=("DELETE",), groups=("apps",), versions=("v1",), resources=("deployments",))
    log = make_log(make_record("p", match=Match(rules=(rule,))))
    log.write(verb="delete", code=200, outcome=log.outcome("p"))
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1
    # That it may be created says nothing of the next delete.
    log.write(outcome=log.outcome())
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1
    log.write(verb="deletecollection", name=None, code=200, outcome=log.outcome())
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.reviewed, found.outcomes["incomplete"]) == (2, 1)


def test_a_workload_without_a_name_cannot_be_repaired(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.pod("", log.outcome("p"))
    log.pod("", log.outcome())
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").k == 1


@pytest.mark.parametrize(
    ("change", "verdict", "condition"),
    [
        ({}, "enforce", ""),
        ({"k": 1}, "fix first", "open_violations"),
        ({"open_exempted": 1}, "fix first", "open_exempted"),
        ({"outcomes": {"reviewed": 98, "failed_open": 2}}, "blind", "coverage"),
        ({"outcomes": {"reviewed": 99, "failed_open": 1}}, "enforce", ""),
        ({"not_comparable": 1}, "blind", "not_comparable"),
        ({"outcomes": {}}, "not enough evidence", "no_reviews"),
        ({"outcomes": {"failed_open": 1}}, "blind", "coverage"),
        ({"start": 7 * DAY}, "not enough evidence", "window"),
        ({"n": 29}, "not enough evidence", "sample"),
        # The first that applies.
        ({"k": 1, "outcomes": {"failed_open": 9}, "n": 2}, "fix first", "open_violations"),
        ({"outcomes": {"reviewed": 1, "not_sent": 1}, "n": 1}, "blind", "coverage"),
    ],
)
def test_the_first_condition_that_fails(change: dict[str, Any], verdict: str, condition: str) -> None:
    fields: dict[str, Any] = {
        "policy": "p",
        "namespace": "shop",
        "verdict": "enforce",
        "condition": "",
        "reason": "",
        "start": 0,
        "end": 20 * DAY,
        "outcomes": {"reviewed": 100},
        "n": 100,
        **change,
    }
    found = judge(Readiness(**fields), Limits(), now=20 * DAY)
    assert found[:2] == (verdict, condition)
    assert found[2]


def test_an_old_log_or_one_with_a_hole_is_blind(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(60):
        log.write(name=f"app-{number}", outcome=log.outcome())
    now = int(log.now.timestamp() * 1e6)
    assert row_of(reporting(log.lines, log.sets, now=now), "p").verdict == "enforce"
    late = row_of(reporting(log.lines, log.sets, now=now + 8 * DAY), "p")
    assert (late.verdict, late.condition) == ("blind", "log_age")
    hole = [*log.lines[:30], *log.lines[36:]]
    found = row_of(reporting(hole, log.sets, now=now), "p")
    assert (found.verdict, found.condition) == ("blind", "log_gap")
    assert "2026-11-08T06:01:00Z to 2026-11-10T00:00:00Z" in found.reason
    # A hole before the evidence begins is none of its business.
    begin = int((datetime.datetime(2026, 11, 10, tzinfo=datetime.UTC)).timestamp() * 1e6)
    limits = Limits(min_window=0, min_writes=10)
    assert row_of(reporting(hole, log.sets, since=begin, now=now, limits=limits), "p").verdict == "enforce"


def test_a_hole_before_the_first_review_is_no_hole_in_the_evidence(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(name="before")
    log.now += 10 * log.step
    for number in range(60):
        log.write(name=f"app-{number}", outcome=log.outcome())
    found = reporting(log.lines, log.sets)
    assert len(found.gaps) == 1
    assert row_of(found, "p").verdict == "enforce"


def test_the_window_begins_with_the_first_review(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(20):
        log.write(name=f"before-{number}")
    for number in range(40):
        log.write(name=f"app-{number}", outcome=log.outcome())
    found = row_of(reporting(log.lines, log.sets), "p")
    assert (found.before_start, found.writes, found.reviewed) == (20, 40, 40)
    assert (found.verdict, found.condition) == ("not enough evidence", "window")
    assert found.start == int((datetime.datetime(2026, 11, 6, tzinfo=datetime.UTC)).timestamp() * 1e6)


def test_an_edit_resets_the_evidence_of_that_policy_only(
    make_log: Any_, make_record: Any_, reporting: Any_, row_of: Any_
) -> None:
    old = make_record("p", "q", digest="old", versions={"p": "v0"})
    new = make_record("new", "p", "q", digest="new")  # another order, and one more
    log = make_log(old)
    for number in range(30):
        log.write(name=f"old-{number}", outcome=log.outcome("p", "q"))
    log.sets = new
    for number in range(30):
        log.write(name=f"new-{number}", outcome=log.outcome())
    found = reporting(log.lines, old, new)
    p, q, added = (row_of(found, policy) for policy in ("p", "q", "new"))
    assert (p.before_start, p.reviewed, p.violations, p.k) == (30, 30, 0, 0)
    assert (q.before_start, q.reviewed, q.violations, q.k) == (0, 60, 30, 30)
    assert (added.before_start, added.reviewed) == (30, 30)
    assert not found.unknown_sets
    # Two replicas, one not updated yet: what it reviews later resets p again.
    log.sets = old
    log.write(outcome=log.outcome())
    assert row_of(reporting(log.lines, old, new), "p").reviewed == 0


def test_a_set_that_nobody_knows_is_blind_not_guessed(
    log: Any, make_record: Any_, reporting: Any_, row_of: Any_
) -> None:
    for number in range(60):
        log.write(name=f"app-{number}", outcome=log.outcome())
    found = reporting(log.lines, make_record("p", digest="other"))
    assert found.unknown_sets == {"set-1": 60}
    assert row_of(found, "p").outcomes["unknown_set"] == 60
    assert row_of(found, "p").verdict == "blind"


def test_stages_without_an_end(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(stage="RequestReceived")
    log.write(name="b", outcome=log.outcome())
    log.write(name="c", stage="RequestReceived")  # under way when the log ends
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    # It began before the first review: by then nothing was installed that could have seen it.
    assert (found.before_start, found.outcomes.get("truncated", 0), found.reviewed) == (1, 0, 1)
    log.write(name="d", outcome=log.outcome())
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p").outcomes["truncated"] == 1


def test_only_a_delete_that_is_known_to_have_happened_ends_a_workload(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome("p"))
    log.lines.append(log.write(verb="delete", code=200).partition(b',"requestReceived')[0])
    del log.lines[-2]
    log.write(verb="delete", stage="RequestReceived")
    log.now += log.step
    log.write(name="other", outcome=log.outcome())
    found = reporting(log.lines, log.sets, limits=LOOSE)
    assert (found.cut, row_of(found, "p").k) == (1, 1)


def test_a_cut_line_counts_where_it_belongs(log: Any, reporting: Any_, row_of: Any_) -> None:
    for number in range(40):
        log.write(name=f"app-{number}", outcome=log.outcome())
    log.write("store", outcome=log.outcome())
    lines = [*log.lines[:-1], log.lines[-1][:-40]]
    found = reporting(lines, log.sets, limits=LOOSE)
    assert found.cut == 1
    assert row_of(found, "p", "store").outcomes["truncated"] == 1
    assert row_of(found, "p", "store").verdict == "blind"
    assert row_of(found, "p", "shop").verdict == "enforce"


def test_namespaces_that_the_webhook_leaves_out(log: Any, reporting: Any_, row_of: Any_) -> None:
    log.write(outcome=log.outcome())
    log.write("kube-system")
    found = reporting(log.lines, log.sets, limits=LOOSE, excluded=frozenset({"kube-system"}))
    assert row_of(found, "p", "kube-system").outcomes["exempt_namespace"] == 1
    assert row_of(found, "p", "kube-system").condition == "no_reviews"
    assert row_of(reporting(log.lines, log.sets, limits=LOOSE), "p", "kube-system").verdict == "blind"


def test_a_failure_that_the_server_recorded_counts_against_a_pass_of_ours(
    log: Any, reporting: Any_, row_of: Any_
) -> None:
    failure = json.dumps([{"policy": "p", "message": "m", "binding": "b", "expressionIndex": 0}])
    notes = {"validation.policy.admission.k8s.io/validation_failure": failure}
    log.write(outcome=log.outcome(), annotations=notes)
    log.write(name="open", annotations={**notes, **FAILED_OPEN})
    found = row_of(reporting(log.lines, log.sets, limits=LOOSE), "p")
    assert (found.verdict, found.k, found.violations) == ("fix first", 2, 2)
    assert (found.reviewed, found.outcomes["failed_open"]) == (1, 1)


def test_pod_security_has_a_verdict_for_each_version(make_log: Any_, make_record: Any_, reporting: Any_) -> None:
    log = make_log(make_record("pod-security-baseline"))
    for number, version in enumerate(("latest", "v1.30", "latest")):
        violated = ["pod-security-baseline"] if version == "v1.30" else []
        log.write(name=f"app-{number}", outcome=log.outcome(*violated, notes=(("pss", f"restricted:{version}/label"),)))
    log.write(name="lost")
    rows = reporting(log.lines, log.sets, limits=LOOSE).rows
    assert [(row.version, row.verdict, row.reviewed, row.outcomes["not_sent"]) for row in rows] == [
        ("latest", "blind", 2, 1),
        ("v1.30", "fix first", 1, 1),
    ]


def test_a_pod_security_violation_that_only_the_server_saw(make_log: Any_, make_record: Any_, reporting: Any_) -> None:
    log = make_log(make_record("pod-security-baseline"))
    violates = {"pod-security.kubernetes.io/audit-violations": 'would violate PodSecurity "baseline:latest": x (y)'}
    log.write(name="fit", outcome=log.outcome(notes=(("pss", "restricted:latest/config"),)))
    log.write(name="bad", annotations={**FAILED_OPEN, **violates})
    (row,) = reporting(log.lines, log.sets, limits=LOOSE).rows
    assert (row.version, row.verdict, row.k, row.reviewed, row.outcomes["failed_open"]) == (
        "latest",
        "fix first",
        1,
        1,
        1,
    )


def test_cluster_scoped_objects_are_judged_apart(
    make_log: Any_, make_record: Any_, reporting: Any_, row_of: Any_
) -> None:
    rule = Rule(operations=("*",), groups=("*",), versions=("*",), resources=("roles", "clusterroles"))
    log = make_log(make_record("p", match=Match(rules=(rule,))))
    log.write(resource="roles", group="rbac.authorization.k8s.io", outcome=log.outcome())
    log.write("", resource="clusterroles", group="rbac.authorization.k8s.io", outcome=log.outcome("p"))
    found = reporting(log.lines, log.sets, limits=LOOSE)
    assert row_of(found, "p", "shop").verdict == "enforce"
    assert row_of(found, "p", "").verdict == "fix first"


Writes = st.lists(
    st.tuples(
        st.sampled_from(["shop", "store"]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["pass", "p", "q", "open", "none", "dry", "refused", "pod"]),
    ),
    min_size=1,
    max_size=25,
)


@given(Writes, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_and_copies_change_nothing(
    make_log: Any_,
    make_record: Any_,
    reporting: Any_,
    writes: list[tuple[str, str | None, str]],
    random_: random.Random,
) -> None:
    log = make_log(make_record("p", "q"))
    for namespace, name, kind in writes:
        match kind:
            case "p" | "q":
                log.write(namespace, name, outcome=log.outcome(kind))
            case "open":
                log.write(namespace, name, annotations=FAILED_OPEN)
            case "none":
                log.write(namespace, name)
            case "dry":
                log.write(namespace, name, outcome=log.outcome("p"), dry_run=True)
            case "refused":
                log.write(namespace, name, code=403, outcome=log.outcome("p"))
            case "pod":
                log.pod("", log.outcome("p", owner="ReplicaSet/web-67b8cd545f"), namespace)
            case _:
                log.write(namespace, name, outcome=log.outcome())
    expected = reporting(log.lines, log.sets)
    lines = [*log.lines, *random_.choices(log.lines, k=5)]
    random_.shuffle(lines)
    assert reporting(lines, log.sets) == expected
    for row in expected.rows:
        assert row.k <= row.writes
        assert row.reviewed <= row.writes
        assert row.verdict == "enforce" or row.condition


def test_the_real_log_by_a_count_of_its_own(raw: Path, make_record: Any_, reporting: Any_) -> None:
    """The stand-in's annotations of a real API server, put into our codec: coverage by another, plainer count."""
    everything = Match(rules=(Rule(operations=("*",), groups=("*",), versions=("*",), resources=("*", "*/*")),))
    sets = make_record("privileged", match=everything)
    lines: list[bytes] = []
    expected: dict[str, Counter[str]] = {}
    opened = "failed-open.validating.webhook.admission.k8s.io/"
    # The webhook of the sample was registered for these namespaces only.
    for line in (raw / "kube-1.37.jsonl").read_bytes().splitlines():
        event = json.loads(line)
        notes = event.get("annotations", {})
        reviewed = notes.pop("check.example.dev/reviewed", None)
        violated = notes.pop("check.example.dev/violations", None)
        dry = event["requestURI"].find("dryRun=") >= 0 or (reviewed or "").endswith("dry=True")
        if reviewed is not None:
            outcome = Outcome(
                set_digest=sets.digest,
                evaluated=1,
                findings=(Finding(policy="privileged", message="m"),) if violated else (),
                owner=reviewed.partition(" own=")[2].partition(" ")[0],
            )
            verb = event["verb"]
            operation = {"create": "CREATE", "delete": "DELETE", "deletecollection": "DELETE"}.get(verb, "UPDATE")
            operation = "CONNECT" if event["objectRef"].get("subresource") == "exec" else operation
            encoded = encode(outcome, operation=operation, dry_run=dry)
            notes |= {f"{WEBHOOK_NAME}/{key}": text for key, text in encoded.items()}
        lines.append(json.dumps(event, separators=(",", ":")).encode())
        if event["stage"] != "ResponseComplete" or event["verb"] in ("get", "list", "watch") or dry:
            continue
        if event["responseStatus"]["code"] >= 400 or event["verb"] == "deletecollection":
            continue
        count = expected.setdefault(event["objectRef"].get("namespace", ""), Counter())
        count["writes"] += 1
        count["reviewed"] += reviewed is not None
        count["violations"] += violated is not None
    assert not any(
        opened in line.decode() and WEBHOOK_NAME in line.decode().partition(opened)[2][:60] for line in lines
    )
    first = min(json.loads(line)["requestReceivedTimestamp"] for line in lines if b"/reviewed" in line)
    rows = {row.namespace: row for row in reporting(lines, sets).rows if row.policy == "privileged"}
    for namespace in ("shop", "rr", "req", "stages", "vap", "psa-audit"):
        row, count = rows[namespace], expected.get(namespace, Counter())
        assert count["reviewed"], namespace
        assert row.reviewed == count["reviewed"], namespace
        assert row.violations == count["violations"], namespace
        in_flight = row.outcomes.get("incomplete", 0)
        assert row.writes - in_flight + row.before_start == count["writes"], (namespace, first)


def test_no_such_thing_as_an_unread_file(reading: Any_) -> None:
    facts, unreadable = reading([b"garbage"])
    assert isinstance(unreadable, Unreadable)
    assert not facts.table
