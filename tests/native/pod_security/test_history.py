"""What is stored is judged as a review of its own would judge it, though most of it was judged already."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.pod_security.test_policies import context, request
from tests.native.pod_security.test_screen import ANNOTATIONS, CONTAINER, CONTAINER_SECURITY, SPEC
from webhook.native.pod_security import PodSecurityConfig, policies
from webhook.native.pod_security.admission import Case
from webhook.policy import Context
from webhook.view import WHOLE
from webhook.workload import items

POLICIES = policies(PodSecurityConfig())
PARTS: dict[str, Any] = {
    "containers": st.lists(CONTAINER, max_size=3),
    "securityContext": st.dictionaries(st.sampled_from(["runAsNonRoot", "sysctls"]), st.booleans(), max_size=1),
    "hostPID": st.booleans(),
}


def keys(before: Context) -> list[tuple[str, ...]]:
    verdicts = [policy.run(before) for policy in POLICIES]
    return [finding.keys for verdict in verdicts if verdict is not None for finding in verdict.findings]


def deployment(spec: Any, notes: Any) -> dict[str, Any]:
    return {"spec": {"template": {"metadata": {"annotations": notes}, "spec": spec}}}


@settings(max_examples=500, deadline=None)
@given(spec=SPEC, notes=ANNOTATIONS, changed=st.data())
def test_the_stored_object_is_judged_by_what_it_is(spec: Any, notes: Any, changed: st.DataObject) -> None:
    old, old_notes = copy.deepcopy(spec), notes
    for each, image in ((spec, "new"), (old, "old")):
        for container in items(each.get("containers")):
            if type(container) is dict:
                container["image"] = image
    what = changed.draw(st.sampled_from(["nothing", "annotations", "a container", *PARTS]))
    if what == "annotations":
        old_notes = changed.draw(ANNOTATIONS)
    elif what == "a container":
        for container in items(old.get("containers")):
            if type(container) is dict and "securityContext" in container:
                container["securityContext"] = changed.draw(CONTAINER_SECURITY)
    elif what in PARTS:
        old[what] = changed.draw(PARTS[what])
    asked = request(deployment(spec, notes), "Deployment", "UPDATE", old=deployment(old, old_notes))
    reviewing = context(asked)
    keys(reviewing)
    before = reviewing.before(WHOLE)
    assert before is not None
    alone = context(asked).of_old_object()
    assert keys(before) == keys(alone)


def test_what_differs_only_in_images_is_judged_once() -> None:
    containers = [{"name": "a", "image": "one"}]
    new, old = deployment({"containers": containers}, {}), deployment({"containers": [{"name": "a", "image": "2"}]}, {})
    reviewing = context(request(new, "Deployment", "UPDATE", old=old))
    keys(reviewing)
    before = reviewing.before(WHOLE)
    assert before is not None
    keys(before)
    cases = [case for each in (reviewing, before) for case in each.memo.values() if isinstance(case, Case)]
    assert cases[0] is cases[1]
