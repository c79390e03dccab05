"""Objects that are decoded without what nobody asks for give the outcomes of whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from webhook import review
from webhook.bench import corpus
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.policy import Policy
from webhook.policyset import PolicySet
from webhook.review import Request

if TYPE_CHECKING:
    from tests.manifest.conftest import Bench

UID = "00000000-0000-4000-8000-000000000000"
META = tuple(review.Meta.__annotations__)
TOP = tuple(review._Sparse.__annotations__)

leaves = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "x", "managedFields"]))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from([*"abx", "managedFields"]), inner, max_size=3)
    ),
    max_leaves=5,
)
metas = st.one_of(
    values, st.dictionaries(st.sampled_from([*META, "managedFields", "clusterName", ""]), values, max_size=5)
)
objects = st.one_of(
    values,
    st.fixed_dictionaries({}, optional={"metadata": metas, **dict.fromkeys([*TOP[3:], "managedFields", "x"], values)}),
)


def whole(policies: PolicySet) -> PolicySet:
    """The same policies, asked about whole objects."""
    return PolicySet([msgspec.structs.replace(each, view=review.WHOLE) for each in policies.policies])


@given(objects)
def test_what_is_decoded_sparsely_is_there_and_is_the_same(value: Any) -> None:
    raw = Raw(msgspec.json.encode(value))
    found = review.decode_sparse(raw)
    if not isinstance(value, dict) or not isinstance(value.get("metadata", {}), dict):
        assert found == value, "nothing that an API server writes is left as it is"
        return
    kept = {key: each for key, each in value.items() if review.is_sparse([key])}
    if "metadata" in value:
        kept["metadata"] = {k: v for k, v in value["metadata"].items() if review.is_sparse(["metadata", k])}
    assert found == kept
    assert "managedFields" not in found.get("metadata", {})


def test_the_last_of_two_fields_of_a_name_counts_as_ever() -> None:
    raw = Raw(b'{"spec":1,"metadata":{"name":"a","name":"b"},"spec":{"x":2}}')
    assert review.decode_sparse(raw) == review.decode_object(raw)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"metadata":{"managedFields":[}}', b'{"spec":tru}'])
def test_what_is_no_json_is_none_either_way(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        review.decode_sparse(Raw(raw))


def test_the_shipped_set_says_the_same_of_the_corpus() -> None:
    policies = load(shipped())
    other = whole(policies)
    sparsely = 0
    for one in corpus.generate(1):
        request = review.decode(one.body.filled(UID)).request
        sparsely += policies.plan(request).view is review.USUAL
        assert evaluate(policies, request, clock=lambda: 0.0) == evaluate(other, request, clock=lambda: 0.0)
    assert sparsely > 100


WHOLE: Sequence[str] = (
    "!has(object.metadata.managedFields)",
    "!has(object.metadata.clusterName)",
    "object.metadata.size() < 3",
    "!object.exists(k, k == 'x')",
    "object.metadata.all(k, k != 'managedFields')",
    "!has(object.x)",
    "!('managedFields' in object.metadata)",
    "object.?metadata.?managedFields.orValue('') == ''",
    "object == oldObject",
    "dyn(object).metadata.?managedFields == optional.none()",
    "variables.meta.?managedFields == optional.none()",
)
"""May ask for what is left out."""
SPARSE: Sequence[str] = (
    "has(object.spec.a)",
    "object.metadata.labels == oldObject.metadata.labels",
    "object.status == null || object.data == 'x'",
    "has(object.metadata.?annotations.value().a)",
    "variables.labels.all(k, k != 'x')",
)


@pytest.fixture(scope="module")
def pool(bench: Bench) -> list[Policy]:
    def made(number: int, text: str) -> Policy:
        name = next((each for each in ("meta", "labels") if f"variables.{each}" in text), "")
        path = "object.metadata" + (".labels" if name == "labels" else "")
        variables = [{"name": name, "expression": path}] if name else []
        return bench.compiled(bench.policy([text], name=f"p{number:02}", variables=variables))

    return [made(number, text) for number, text in enumerate([*WHOLE, *SPARSE])]


def test_who_may_ask_for_what_is_left_out(pool: list[Policy]) -> None:
    assert [each.view for each in pool] == [review.WHOLE] * len(WHOLE) + [review.USUAL] * len(SPARSE)
    request = Request(
        uid=UID,
        kind=review.GroupVersionKind("apps", "v1", "Deployment"),
        resource=review.GroupVersionResource("apps", "v1", "deployments"),
        operation="CREATE",
    )
    assert PolicySet(pool[len(WHOLE) :]).plan(request).view is review.USUAL
    assert PolicySet(pool[len(WHOLE) - 1 :]).plan(request).view is review.WHOLE


@given(st.data())
def test_any_policy_says_the_same(pool: list[Policy], data: st.DataObject) -> None:
    some = pool if data.draw(st.booleans()) else pool[len(WHOLE) :]
    chosen = PolicySet(data.draw(st.lists(st.sampled_from(some), min_size=1, max_size=3, unique_by=id)))
    request = Request(
        uid=UID,
        kind=review.GroupVersionKind("apps", "v1", "Deployment"),
        resource=review.GroupVersionResource("apps", "v1", "deployments"),
        operation="UPDATE",
        object=Raw(msgspec.json.encode(data.draw(objects))),
        old_object=Raw(msgspec.json.encode(data.draw(objects))),
    )
    assert evaluate(chosen, request, clock=lambda: 0.0) == evaluate(whole(chosen), request, clock=lambda: 0.0)
