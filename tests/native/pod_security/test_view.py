"""What is decoded for Pod Security alone gives the outcomes of whole objects."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.pod_security.test_policies import RESOURCES, request
from tests.native.pod_security.test_screen import ANNOTATIONS, SPEC, oddly
from webhook import review, view
from webhook.bench import corpus
from webhook.evaluate import evaluate
from webhook.native.pod_security import PodSecurityConfig, policies
from webhook.native.pod_security.view import POD
from webhook.policyset import PolicySet
from webhook.review import Request
from webhook.workload import CONTAINER_LISTS, TEMPLATE_PATH, items

CONFIG = PodSecurityConfig(exempt_runtime_classes=("kata",))
SET = PolicySet(policies(CONFIG))
WHOLE = PolicySet([msgspec.structs.replace(each, view=view.WHOLE) for each in policies(CONFIG)])
OWNERS: dict[str, Any] = {
    "ownerReferences": oddly(st.just([{"kind": "ReplicaSet", "name": "r", "controller": True}])),
    "managedFields": st.just([]),
}


def same(asked: Request) -> bool:
    assert SET.plan(asked).view is POD
    return evaluate(SET, asked, clock=lambda: 0.0) == evaluate(WHOLE, asked, clock=lambda: 0.0)


def holding(holder: Any, kind: str, meta: Any) -> Any:
    """An object of that kind with the pod that the holder describes."""
    made = holder
    for step in reversed(TEMPLATE_PATH[kind]):
        made = {step: made, "x": 1}
    return {**made, "metadata": meta} if kind != "Pod" else made


@settings(max_examples=500, deadline=None)
@given(
    kind=st.sampled_from(sorted(RESOURCES)),
    spec=oddly(SPEC),
    old=oddly(SPEC),
    notes=oddly(ANNOTATIONS),
    meta=oddly(st.fixed_dictionaries({}, optional=OWNERS)),
    more=st.sampled_from(["", "env", "image", "runtimeClassName"]),
)
def test_any_object_gets_the_same_outcome(kind: str, spec: Any, old: Any, notes: Any, meta: Any, more: str) -> None:
    rolled = copy.deepcopy(spec)
    for each, value in ((spec, "new"), (old, "old"), (rolled, "old")):
        if type(each) is dict and more:
            each[more] = "kata"
            for container in items(each.get("containers")):
                if type(container) is dict:
                    container[more] = value
    new, stored, before = (
        holding({"metadata": {"annotations": notes}, "spec": each}, kind, meta) for each in (spec, old, rolled)
    )
    assert same(request(new, kind))
    assert same(request(new, kind, "UPDATE", stored))
    assert same(request(new, kind, "UPDATE", before))


@pytest.mark.parametrize("name", CONTAINER_LISTS)
def test_the_update_of_an_image_is_judged(name: str) -> None:
    def pod(image: str) -> Any:
        return {"spec": {name: [{"name": "a", "image": image, "securityContext": {"privileged": True}}]}}

    asked = request(pod("new"), "Pod", "UPDATE", pod("old"))
    assert evaluate(SET, asked).findings
    assert same(asked)


def test_the_corpus_gets_the_same_outcomes() -> None:
    looked_at = 0
    for one in corpus.generate(1):
        asked = review.decode(one.body.filled("00000000-0000-4000-8000-000000000000")).request
        if SET.plan(asked).pairs:
            looked_at += 1
            assert same(asked)
    assert looked_at > 100


def test_what_nobody_looks_at_is_not_decoded() -> None:
    pod = {
        "kind": "Pod",
        "spec": {"containers": [{"name": "a", "env": [{"name": "x"}]}], "nodeName": "n"},
        "status": {},
    }
    assert POD.decode(msgspec.Raw(msgspec.json.encode(pod))) == {"spec": {"containers": [{"name": "a"}]}}
