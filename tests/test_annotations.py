"""The codec: what serving writes is what auditing reads."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import annotations as codec
from webhook.policy import Exempted, Finding, Outcome, Severity

KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
IDS = st.from_regex(r"[a-z][a-z0-9.-]{0,30}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FINDING = st.builds(
    Finding,
    policy=IDS,
    message=TEXT,
    binding=IDS,
    index=st.integers(0, 99),
    severity=st.sampled_from(Severity),
    pre_existing=st.booleans(),
    keys=st.lists(IDS, max_size=3).map(tuple),
)
OUTCOME = st.builds(
    Outcome,
    set_digest=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    evaluated=st.integers(0, 1 << 300),
    findings=st.lists(FINDING, max_size=5).map(tuple),
    exempted=st.lists(st.builds(Exempted, policy=IDS, exemption=IDS, index=st.integers(0, 9)), max_size=3).map(tuple),
    not_comparable=st.lists(st.tuples(IDS, TEXT), max_size=3).map(tuple),
    internal_errors=st.lists(st.tuples(IDS, IDS), max_size=3).map(tuple),
    annotations=st.lists(st.tuples(IDS, TEXT, TEXT), max_size=3).map(tuple),
    notes=st.lists(st.tuples(st.just("pss"), TEXT.filter(bool)), max_size=1).map(tuple),
    owner=TEXT,
    snapshot=st.just("0123456789abcdef"),
)


def logged(values: dict[str, str], name: str = codec.WEBHOOK_NAME) -> dict[str, str]:
    return {f"{name}/{key}": value for key, value in values.items()}


@given(OUTCOME, st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT", ""]), st.booleans())
def test_round_trip(outcome: Outcome, operation: str, dry_run: bool) -> None:
    values = codec.encode(outcome, operation=operation, dry_run=dry_run)
    assert codec.encode(outcome, operation=operation, dry_run=dry_run) == values
    assert all(KEY.fullmatch(key) for key in values)
    read = codec.decode(logged(values))
    assert read == codec.Reviewed(operation=operation, dry_run=dry_run, outcome=outcome)


@given(OUTCOME, st.lists(st.sampled_from(["deadline", "size", "shed", "undecodable"]), min_size=1, max_size=1))
def test_incomplete_round_trip(outcome: Outcome, why: list[str]) -> None:
    cut = Outcome(set_digest=outcome.set_digest, incomplete=why[0], skipped=("a", "b"))
    read = codec.decode(logged(codec.encode(cut, operation="CREATE", dry_run=False)))
    assert read is not None
    assert read.outcome == cut


def test_errors_are_apart_from_violations() -> None:
    broken = Finding(policy="p", message="expression 'x' resulted in error: no such key: y", error=True)
    values = codec.encode(Outcome(findings=(broken,)), operation="CREATE", dry_run=False)
    assert set(values) == {"reviewed", "policy_errors"}
    read = codec.decode(logged(values))
    assert read is not None
    assert read.outcome.findings == (broken,)


def test_reviewed_is_always_there() -> None:
    values = codec.encode(Outcome(set_digest="0" * 16), operation="DELETE", dry_run=False)
    assert values == {"reviewed": "v=1 set=0000000000000000 ran=0 op=DELETE"}


def test_messages_are_cut_ids_never() -> None:
    found = tuple(Finding(policy=f"a-rather-long-policy-id-{number:03}", message="é" * 700) for number in range(100))
    values = codec.encode(Outcome(findings=found), operation="CREATE", dry_run=False)
    assert sum(len(value.encode()) for value in values.values()) <= codec.VALUES_BYTES
    read = codec.decode(logged(values))
    assert read is not None
    assert [each.policy for each in read.outcome.findings] == [each.policy for each in found]
    assert all(each.message.endswith("…") or not each.message for each in read.outcome.findings)


def test_whole_messages_while_there_is_room() -> None:
    found = (Finding(policy="p", message="m" * 5_000),)
    read = codec.decode(logged(codec.encode(Outcome(findings=found), operation="CREATE", dry_run=False)))
    assert read is not None
    assert read.outcome.findings == found


def test_nothing_of_ours() -> None:
    assert codec.decode({"authorization.k8s.io/decision": "allow"}) is None


@pytest.mark.parametrize("forged", ["", "v=2 ran=0 op=CREATE", "garbage", "v=1 ran=xyz op=CREATE", "v=1 op"])
def test_forged_or_later_formats_are_refused(forged: str) -> None:
    with pytest.raises(codec.UnreadableAnnotation):
        codec.decode({f"{codec.WEBHOOK_NAME}/reviewed": forged})


@given(st.text(max_size=80), st.text(max_size=80))
def test_arbitrary_text_never_raises_anything_else(reviewed: str, violations: str) -> None:
    values = {"reviewed": reviewed, "violations": violations, "incomplete": violations, "exempted": violations}
    with contextlib.suppress(codec.UnreadableAnnotation):
        codec.decode(logged(values))
