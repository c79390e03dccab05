"""What is cut out of a body is what reading all of it gives."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import envelope, review
from webhook.bench import corpus
from webhook.review import Request

UID = "00000000-0000-4000-8000-000000000000"
MISLEADING = ["object", "oldObject", "dryRun", "options", "a", ',"oldObject":{', '"}},']

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(MISLEADING),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MISLEADING), inner, max_size=4),
    max_leaves=12,
)
maps = st.dictionaries(st.sampled_from(MISLEADING), values, max_size=4)


def body_of(**changes: Any) -> bytes:
    """A review as the API server writes it."""
    request: dict[str, Any] = {
        "uid": UID,
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "operation": "UPDATE",
        "userInfo": {"username": "alice", "extra": {"object": ["x"], "oldObject": ["y"]}},
        "object": {},
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "UpdateOptions"},
    }
    whole = {"kind": "AdmissionReview", "apiVersion": review.API_VERSION, "request": request | changes}
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def shown(request: Request) -> dict[str, Any]:
    return {
        name: bytes(value) if isinstance(value, msgspec.Raw) else value
        for name, value in msgspec.structs.asdict(request).items()
    }


def check(body: bytes) -> bool:
    """Whether the objects were spared; then they are the right ones, or the first is no JSON."""
    cut, whole = envelope._cut(body), review.decode(body).request
    if cut is None:
        return False
    try:
        review.decode_object(cut.object)
    except msgspec.DecodeError:
        return False
    assert shown(cut) == shown(whole)
    assert (len(cut.object), len(cut.old_object)) == (len(whole.object), len(whole.old_object))
    return True


def test_the_corpus() -> None:
    bodies = [one.body.filled(UID) for one in corpus.generate(1)]
    spared = sum(map(check, bodies))
    assert spared > 0.9 * len(bodies)


@pytest.mark.parametrize("file", ["reviews.jsonl", "recorded.jsonl"])
def test_what_api_servers_sent_is_cut(file: str, corpora: Path) -> None:
    seen = Counter[str]()
    for body in (corpora / "reviews" / file).read_bytes().splitlines():
        operation = review.decode(body).request.operation
        assert check(body) or operation == "CONNECT"
        seen[operation] += 1
    assert min(seen[operation] for operation in ("CREATE", "UPDATE", "DELETE")) > 10


@pytest.mark.parametrize("old", [None, {}, {"metadata": {"name": "a"}}])
def test_reviews_as_they_come_are_cut(old: Any) -> None:
    assert check(body_of(object={"metadata": {"name": "a"}}, oldObject=old))


def test_a_deletion_is_cut() -> None:
    assert check(body_of(object=None, oldObject={"metadata": {"name": "a"}}, operation="DELETE"))


def test_versions_of_unequal_length_are_cut() -> None:
    assert check(body_of(object={"data": "x" * 9_000}, oldObject={"data": "y"}))


@given(
    new=st.none() | maps, old=st.none() | maps, options=maps, extra=st.dictionaries(st.sampled_from(MISLEADING), values)
)
def test_fields_that_are_called_like_the_reviews_own(new: Any, old: Any, options: Any, extra: Any) -> None:
    check(body_of(object=new, oldObject=old, options=options, later=extra))


@given(
    order=st.permutations(["object", "oldObject", "dryRun", "options"]),
    objects=st.fixed_dictionaries({}, optional=dict.fromkeys(["object", "oldObject", "options"], maps)),
)
def test_other_writers_have_other_orders(order: list[str], objects: dict[str, Any]) -> None:
    given: dict[str, Any] = {"dryRun": False} | objects
    request = json.loads(body_of())["request"]
    for name in order:
        request.pop(name)
    request |= {name: given[name] for name in order if name in given}
    whole = {"kind": "AdmissionReview", "apiVersion": review.API_VERSION, "request": request}
    check(json.dumps(whole, separators=(",", ":")).encode())


@given(length=st.integers(0, len(body_of(object={"a": 1}, oldObject={"a": 2})) - 2))
def test_a_torn_review_is_none(length: int) -> None:
    with pytest.raises(msgspec.DecodeError):
        envelope.decode(body_of(object={"a": 1}, oldObject={"a": 2})[:length])
