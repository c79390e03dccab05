"""Objects that are decoded without what nobody asks for give the outcomes of whole ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from webhook import review, sweep
from webhook.bench import corpus
from webhook.cel.share import Shared
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.policy import Policy
from webhook.policyset import PolicySet
from webhook.review import Request
from webhook.view import WHOLE, View

if TYPE_CHECKING:
    from tests.manifest.conftest import Bench

UID = "00000000-0000-4000-8000-000000000000"
NAMES = [*"abcx", "kind", "name"]

leaves = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", *NAMES]))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=8,
)
metas = st.one_of(
    values, st.fixed_dictionaries({}, optional=dict.fromkeys(["name", "labels", "managedFields"], values))
)
objects = st.one_of(values, st.fixed_dictionaries({"metadata": metas}, optional=dict.fromkeys(["spec", "a"], values)))


def whole(policies: PolicySet) -> PolicySet:
    """The same policies, asked about whole objects."""
    return PolicySet([msgspec.structs.replace(each, view=WHOLE) for each in policies.policies])


def test_the_shipped_set_says_the_same_of_the_corpus() -> None:
    policies = load(shipped())
    other = whole(policies)
    narrow = 0
    for one in corpus.generate(1):
        request = review.decode(one.body.filled(UID)).request
        narrow += () not in policies.plan(request).view.paths
        assert evaluate(policies, request, clock=lambda: 0.0) == evaluate(other, request, clock=lambda: 0.0)
    assert narrow > 100


TEXTS = (
    "object == oldObject",
    "!object.exists(k, k == 'x')",
    "!has(object.metadata.managedFields)",
    "object.metadata.size() < 3",
    "object.metadata.labels == oldObject.metadata.labels",
    "has(object.spec.a)",
    "object.spec.a.all(x, x.b > 1)",
    "object.spec.a.exists(x, has(x.b) && x.b.c == 'x')",
    "object.spec.a.all(k, v, k in object.spec.b)",
    "object.spec.?a[?0].?b.orValue(object.spec.?b) == 1",
    "object.spec.filter(x, has(x.a)).map(x, x.a.b).size() > 0",
    "'x' in object.spec.a || 'x' in oldObject.spec",
    "variables.one.a.b == variables.two",
    "variables.list.all(x, x.name != '')",
)


@pytest.fixture(scope="module")
def pool(bench: Bench) -> list[Policy]:
    variables = [
        {"name": "one", "expression": "has(object.spec) ? object.spec : object.a"},
        {"name": "two", "expression": "variables.one.?a.?c.orValue(1)"},
        {"name": "list", "expression": "variables.one.?a.orValue([]) + variables.one.?b.orValue([])"},
    ]
    shared = Shared()
    return [
        bench.compiled(bench.policy([text], name=f"p{number:02}", variables=variables), shared=shared)
        for number, text in enumerate(TEXTS)
    ]


def written(new: Any, old: Any) -> Request:
    return Request(
        uid=UID,
        kind=review.GroupVersionKind("apps", "v1", "Deployment"),
        resource=review.GroupVersionResource("apps", "v1", "deployments"),
        operation="UPDATE",
        object=Raw(msgspec.json.encode(new)),
        old_object=Raw(msgspec.json.encode(old)),
    )


@given(st.data())
def test_any_policies_say_the_same(pool: list[Policy], data: st.DataObject) -> None:
    chosen = PolicySet(data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4, unique_by=id)))
    asked = written(data.draw(objects), data.draw(objects))
    for _ in range(sweep._OFTEN + 2):  # after a while groups get old objects of their own
        found = evaluate(chosen, asked, clock=lambda: 0.0)
    assert found == evaluate(whole(chosen), asked, clock=lambda: 0.0)


@pytest.mark.parametrize(("views", "old"), [(32, {"a", "b"}), (0, {"a", "b", "c"})])
def test_who_is_often_asked_about_the_old_object_sees_no_more_of_it_than_it_asks_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, views: int, old: set[str]
) -> None:
    """But only so many have a decoder of their own."""
    monkeypatch.setattr(sweep, "_VIEWS", views)
    decoded: list[set[str]] = []
    honest = View.decode

    def noting(view: View, raw: Raw) -> Any:
        value = honest(view, raw)
        decoded.append(set(value["spec"]))
        return value

    monkeypatch.setattr(View, "decode", noting)
    texts = ("object.spec.a == 1", "object.spec.b == 1", "object.spec.c == 1")
    shared = Shared()
    chosen = PolicySet([bench.compiled(bench.policy([text], name=text[12]), shared=shared) for text in texts])
    spec = {"a": 2, "b": 2, "c": 1, "d": 1}
    for _ in range(sweep._OFTEN + 1):
        decoded.clear()
        found = evaluate(chosen, written({"spec": spec}, {"spec": spec}), clock=lambda: 0.0)
    assert [(each.policy, each.pre_existing) for each in found.findings] == [("a", True), ("b", True)]
    assert decoded == [{"a", "b", "c"}, old]
