"""Which params a binding is evaluated with, and what happens when there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webhook.errors import NeedsState
from webhook.manifest import evaluation
from webhook.manifest.layout import Grants
from webhook.policy import PASS
from webhook.state import State, snapshot

Pod = Callable[..., dict[str, Any]]
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}
CUSTOM = {"apiVersion": "example.dev/v1", "kind": "Limit"}


def config(name: str, value: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {**CONFIG_MAP, "metadata": meta, "data": {"v": value}}


def custom(name: str, value: str, namespace: str = "") -> dict[str, Any]:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {**CUSTOM, "metadata": meta, "data": {"v": value}}


def state(*objects: dict[str, Any], kinds: tuple[tuple[str, str], ...] = ()) -> State:
    return snapshot(objects, taken_at=0.0, kinds=kinds)


def policy(bench: Any, kind: dict[str, str] = CONFIG_MAP, **spec: Any) -> Any:
    validation = {"expression": "false", "messageExpression": "params.data.v + ''"}
    return bench.policy([validation], paramKind=kind, **spec)


def ref(**fields: Any) -> dict[str, Any]:
    return {"paramRef": {"parameterNotFoundAction": "Deny"} | fields}


def found(
    bench: Any,
    obj: dict[str, Any],
    binding: dict[str, Any],
    *,
    folder: tuple[dict[str, Any], ...] = (),
    held: State | None = None,
    kind: dict[str, str] = CONFIG_MAP,
    **spec: Any,
) -> list[str] | None:
    verdict = bench.verdict(
        policy(bench, kind, **spec), obj, [bench.binding(**binding)], folder=folder, state=held or state()
    )
    return None if verdict is None else [finding.message for finding in verdict.findings]


def test_by_name_in_the_namespace_of_the_object(bench: Any, pod: Pod) -> None:
    folder = (config("a", "here"), config("a", "there", "other"))
    assert found(bench, pod(), ref(name="a"), folder=folder) == ["here"]
    assert found(bench, pod(), ref(name="a", namespace="other"), folder=folder) == ["there"]


def test_by_selector_each_on_its_own(bench: Any, pod: Pod) -> None:
    folder = (config("b", "two", role="x"), config("a", "one", role="x"), config("c", "three"))
    selector = {"matchLabels": {"role": "x"}}
    assert found(bench, pod(), ref(selector=selector), folder=folder) == ["one", "two"]
    assert found(bench, pod(), ref(selector={}), folder=folder) == ["one", "two", "three"]


def test_the_folder_comes_before_the_snapshot(bench: Any, pod: Pod) -> None:
    held = state(config("a", "snapshot"), config("b", "snapshot"))
    folder = (config("a", "folder"),)
    assert found(bench, pod(), ref(name="a"), folder=folder, held=held) == ["folder"]
    assert found(bench, pod(), ref(name="b"), folder=folder, held=held) == ["snapshot"]
    assert found(bench, pod(), ref(selector={}), folder=folder, held=held) == ["folder", "snapshot"]


def test_a_config_map_without_a_namespace_is_of_the_default_one(bench: Any, pod: Pod) -> None:
    nowhere = {**CONFIG_MAP, "metadata": {"name": "a"}, "data": {"v": "x"}}
    assert found(bench, pod(), ref(name="a", namespace="default"), folder=(nowhere,)) == ["x"]


def test_missing_and_nobody_knows(bench: Any, pod: Pod) -> None:
    with pytest.raises(NeedsState, match="ConfigMap shop/a"):
        found(bench, pod(), ref(name="a"), folder=(config("b", "x"),))


def test_missing_for_certain(bench: Any, pod: Pod) -> None:
    held = state(kinds=(("v1", "ConfigMap"),))
    text = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert found(bench, pod(), ref(name="a"), held=held) == [text]
    assert found(bench, pod(), ref(name="a"), held=held, failurePolicy="Ignore") == []
    assert found(bench, pod(), ref(name="a", parameterNotFoundAction="Allow"), held=held) is None


def test_a_configuration_error_is_an_error(bench: Any, pod: Pod) -> None:
    held = state(kinds=(("v1", "ConfigMap"),))
    verdict = bench.verdict(policy(bench), pod(), [bench.binding(**ref(name="a"))], state=held)
    assert [finding.error for finding in verdict.findings] == [True]


def test_namespaced_params_of_a_cluster_scoped_object(bench: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    text = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
    assert found(bench, node, ref(name="a"), folder=(config("a", "x"),)) == [f"failed to configure binding: {text}"]
    assert found(bench, node, ref(name="a", namespace="shop"), folder=(config("a", "x"),)) == ["x"]


def test_cluster_scoped_params(bench: Any, pod: Pod) -> None:
    folder = (custom("a", "x"),)
    assert found(bench, pod(), ref(name="a"), folder=folder, kind=CUSTOM) == ["x"]
    text = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
    assert found(bench, pod(), ref(name="a", namespace="shop"), folder=folder, kind=CUSTOM) == [
        f"failed to configure binding: {text}"
    ]


def test_namespaced_custom_params_from_the_snapshot(bench: Any, pod: Pod) -> None:
    held = state(custom("a", "x", "shop"), custom("a", "y", "other"))
    assert found(bench, pod(), ref(name="a"), held=held, kind=CUSTOM) == ["x"]


def test_a_param_of_another_kind_is_none(bench: Any, pod: Pod) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "shop"}}
    with pytest.raises(NeedsState):
        found(bench, pod(), ref(name="a"), folder=(secret,))


def test_no_param_ref_is_a_null_param(bench: Any, pod: Pod) -> None:
    checked = bench.policy(["params == null"], paramKind=CONFIG_MAP)
    assert bench.verdict(checked, pod()) == PASS


def test_a_param_ref_without_a_param_kind_is_ignored(bench: Any, pod: Pod) -> None:
    assert bench.verdict(bench.policy(["true"]), pod(), [bench.binding(**ref(name="a"))]) == PASS


def test_the_digest_is_of_the_params_too(bench: Any) -> None:
    def digest(*folder: dict[str, Any], held: State | None = None) -> str:
        binding = bench.binding(**ref(name="a", namespace="shop"))
        made: str = bench.compiled(policy(bench), [binding], folder=folder, state=held or state()).digest
        return made

    base = digest(config("a", "x"))
    assert digest(config("a", "y")) != base
    assert digest(config("a", "x"), config("b", "z")) == base
    assert digest(held=state(config("a", "x"))) == base
    stored = config("a", "x")
    stored["metadata"] |= {"resourceVersion": "7", "uid": "u"}
    assert digest(held=state(stored)) == base


def test_what_a_selector_found_is_not_kept_for_another_snapshot(bench: Any, pod: Pod) -> None:
    one, two = state(config("a", "one")), state(config("a", "two"))
    compiled = bench.compiled(policy(bench), [bench.binding(**ref(selector={}))])
    for held, expected in ((one, "one"), (two, "two"), (one, "one")):
        verdict = bench.run(compiled, bench.request(pod()), held)
        assert [finding.message for finding in verdict.findings] == [expected]


CONDITIONS = {
    "params.data.v == 'a'": ["a"],
    "params.data.v != 'a'": None,
    "params.data.v.matches('^b')": None,
    "params.data.none == 'x'": ["no such key: none"],
    "params.data.v == 'object'": None,
    "params.data.v == 'a' && has(object.spec)": ["a"],
    "params.data.v == 'a' && has(object.nope)": None,
}
"""Match condition → what is said of a pod with the param `a`; part of an error."""


@pytest.mark.parametrize("first", CONDITIONS)
@pytest.mark.parametrize("second", ["", "params.data.none == 'x'", "!has(object.spec)", "params.data.v != 'b'"])
def test_conditions_on_params_alone(
    bench: Any, pod: Pod, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """They are asked once for each param, and say what they would say each time; one that is false decides."""
    texts = [text for text in (first, second) if text]
    conditions = [{"name": f"c{at}", "expression": text} for at, text in enumerate(texts)]
    made = bench.compiled(
        policy(bench, matchConditions=conditions), [bench.binding(**ref(name="a"))], folder=[config("a", "a")]
    )
    said = [bench.run(made, bench.request(pod())) for _ in range(2)]
    assert said[0] == said[1]
    assert said[0] is None or len(said[0].findings) == 1
    if not second:
        expected = CONDITIONS[first]
        assert (said[0] is None) == (expected is None)
        assert expected is None or expected[0] in said[0].findings[0].message
    monkeypatch.setattr(Grants, "at", lambda *_: None)
    exact = bench.compiled(
        policy(bench, matchConditions=conditions), [bench.binding(**ref(name="a"))], folder=[config("a", "a")]
    )
    assert bench.run(exact, bench.request(pod())) == said[0]


def test_what_a_param_declines_is_not_asked_again(bench: Any, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = {"name": "on", "expression": "params.data.v == 'on'"}
    made = bench.compiled(
        policy(bench, matchConditions=[condition]), [bench.binding(**ref(name="a"))], folder=[config("a", "off")]
    )
    assert bench.run(made, bench.request(pod())) is None
    monkeypatch.setattr(evaluation, "_is_false", lambda *_: pytest.fail("asked again"))
    monkeypatch.setattr(evaluation.Evaluator, "_condition_errors", lambda *_: pytest.fail("asked with the others"))
    assert bench.run(made, bench.request(pod())) is None
