"""Limits of cost: what the server says where they are reached, and that nobody pays for them where they are far."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.manifest.conftest import Bench
from webhook.errors import DeadlineExceeded
from webhook.evaluate import evaluate
from webhook.manifest.evaluation import Evaluator
from webhook.manifest.layout import BUDGET, CONDITIONS_BUDGET, Grants
from webhook.manifest.metered import OUT_OF_BUDGET, Metered
from webhook.policy import Context, Policy, Verdict
from webhook.policyset import PolicySet
from webhook.state import EMPTY

EXCEEDED = "operation cancelled: actual cost limit exceeded"
TRIPLE = "object.spec.l.all(a, object.spec.l.all(b, object.spec.l.all(c, a + b + c >= 0)))"
"""At 100 elements about six million units."""
DOUBLE = "object.spec.l.all(a, object.spec.l.all(b, a + b >= 0))"
"""About ninety thousand."""
WIDGET = {
    "apiVersion": "example.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "namespace": "shop"},
    "spec": {"l": [*range(100)], "s": "x" * 2_000, "names": [f"n{each}" for each in range(300)]},
}


@pytest.fixture
def tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets of a tenth, since ten million units take seconds; the corpus has them in full (`test_vap_corpus`)."""
    monkeypatch.setattr(Grants, "at", lambda *_: None)
    monkeypatch.setattr("webhook.manifest.metered.BUDGET", BUDGET // 10)
    monkeypatch.setattr("webhook.manifest.metered.CONDITIONS_BUDGET", CONDITIONS_BUDGET // 10)


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The policies that the counting form was asked about: once an evaluation, or once a validation."""
    asked: list[str] = []

    def spied(call: Any) -> Any:
        def spy(self: Metered, *arguments: Any) -> Any:
            asked.append(self._spec.id)
            return call(self, *arguments)

        return spy

    monkeypatch.setattr(Metered, "decide", spied(Metered.decide))
    monkeypatch.setattr(Metered, "measure", spied(Metered.measure))
    return asked


def said(verdict: Verdict | None) -> list[tuple[int, str, bool]] | None:
    return None if verdict is None else [(each.index, each.message, each.error) for each in verdict.findings]


def run(bench: Bench, obj: dict[str, Any], validations: Any, **spec: Any) -> list[tuple[int, str, bool]] | None:
    return said(bench.verdict(bench.policy(validations, **spec), obj))


def test_the_limit_of_an_expression_is_an_error_of_that_one(bench: Bench, metered: list[str]) -> None:
    found = run(bench, WIDGET, [TRIPLE, "object.metadata.name == 'x'"])
    assert found == [
        (0, f"expression '{TRIPLE}' resulted in error: {EXCEEDED}", True),
        (1, "failed expression: object.metadata.name == 'x'", False),
    ]
    assert metered
    assert run(bench, WIDGET, [TRIPLE], failurePolicy="Ignore") == []


@pytest.mark.usefixtures("tenth")
def test_the_budget_replaces_all_decisions(bench: Bench) -> None:
    found = run(bench, WIDGET, ["false", *[DOUBLE] * 15])
    assert found == [(0, OUT_OF_BUDGET, True)]
    assert run(bench, WIDGET, ["false", *[DOUBLE] * 15], failurePolicy="Ignore") == []


@pytest.mark.usefixtures("tenth")
def test_messages_of_validations_that_pass_count(bench: Bench) -> None:
    costly = {"expression": "true", "messageExpression": f"{DOUBLE} ? 'a' : 'b'"}
    lost = f"failed messageExpression: {OUT_OF_BUDGET}"
    assert run(bench, WIDGET, [costly] * 15) == [(each, lost, True) for each in range(15)]
    assert run(bench, WIDGET, [costly] * 2) == []


def test_a_message_over_its_limit_is_not_used(bench: Bench) -> None:
    validation = {"expression": "false", "message": "static", "messageExpression": f"{TRIPLE} ? 'a' : 'b'"}
    assert run(bench, WIDGET, [validation]) == [(0, "static", False)]


@pytest.mark.usefixtures("tenth")
def test_match_conditions_have_a_budget_of_their_own(bench: Bench) -> None:
    conditions = [{"name": f"c{each}", "expression": DOUBLE} for each in range(4)]
    assert run(bench, WIDGET, ["false"], matchConditions=conditions) == [(0, OUT_OF_BUDGET, True)]
    assert run(bench, WIDGET, ["false"], matchConditions=conditions, failurePolicy="Ignore") is None
    # All of them are evaluated, though the first one is false.
    first = [{"name": "first", "expression": "false"}, *conditions]
    assert run(bench, WIDGET, ["false"], matchConditions=first) == [(0, OUT_OF_BUDGET, True)]
    assert run(bench, WIDGET, ["false"], matchConditions=conditions[:2]) == [(0, "failed expression: false", False)]


@pytest.mark.usefixtures("tenth")
def test_audit_annotations_have_a_budget_of_their_own(bench: Bench) -> None:
    costly = [{"key": f"k{each}", "valueExpression": f"{DOUBLE} ? 'a' : 'b'"} for each in range(20)]
    verdict = bench.verdict(bench.policy(["false"], auditAnnotations=costly), WIDGET)
    assert said(verdict) == [(0, OUT_OF_BUDGET, True)]
    assert verdict is not None
    assert verdict.annotations == ()
    verdict = bench.verdict(bench.policy(["false"], auditAnnotations=costly[:2]), WIDGET)
    assert verdict is not None
    assert verdict.annotations == (("k0", "a"), ("k1", "a"))


def test_a_variable_has_the_limit_of_an_expression(bench: Bench) -> None:
    variables = [{"name": "v", "expression": TRIPLE}]
    text = f"expression 'variables.v' resulted in error: composited variable \"v\" fails to evaluate: {EXCEEDED}"
    assert run(bench, WIDGET, ["variables.v", "true || variables.v"], variables=variables) == [(0, text, True)]


def test_a_call_that_must_exceed_the_limit_is_not_made(bench: Bench) -> None:
    """Ten thousand texts compared with one another would take seconds."""
    many = WIDGET | {"spec": {"l": [f"text {each}" for each in range(1_500)]}}
    for text in ("object.spec.l.distinct().size() > 0", "sets.equivalent(object.spec.l, object.spec.l)"):
        assert run(bench, many, [text]) == [(0, f"expression '{text}' resulted in error: {EXCEEDED}", True)]
    more = WIDGET | {"spec": {"l": [f"text {each}" for each in range(50_000)]}}
    # At once above the budget, too: five thousand million units.
    assert run(bench, more, ["object.spec.l.distinct().size() > 0"]) == [(0, OUT_OF_BUDGET, True)]


TYPICAL = (
    "object.spec.containers.all(c, c.image.matches('^registry[.]example[.]com/') || c.image.startsWith('x'))",
    "object.spec.containers.map(c, c.name).all(n, object.spec.containers.exists_one(c, c.name == n))",
    "object.spec.containers.map(c, c.image).distinct().size() == object.spec.containers.size()",
    "variables.images.filter(i, i.contains(':latest')).size() == 0",
)


def test_what_stays_far_below_is_not_counted(bench: Bench, metered: list[str]) -> None:
    containers = [
        {"name": f"c{each}", "image": f"x{each}", "env": [{"name": f"E{n}", "value": "v" * 20} for n in range(20)]}
        for each in range(9)
    ]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    variables = [{"name": "images", "expression": "object.spec.containers.map(c, c.image)"}]
    policy = bench.policy(
        [{"expression": each, "messageExpression": "'wrong: ' + variables.images.join(', ')"} for each in TYPICAL],
        variables=variables,
        auditAnnotations=[{"key": "images", "valueExpression": "variables.images.join(',')"}],
    )
    assert said(bench.verdict(policy, pod)) == []
    assert metered == []


def test_of_many_validations_each_has_iterations_of_its_own(bench: Bench, metered: list[str]) -> None:
    """One that may run few iterations takes none from those that need many."""
    labels = {f"app.example.com/{each}": f"v{each}" for each in range(6)}
    environment = [{"name": f"E{each}", "value": "v" * 20} for each in range(40)]
    containers = [{"name": f"c{each}", "image": f"x{each}", "env": environment} for each in range(7)]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": labels},
        "spec": {"containers": containers},
    }
    steep = [
        f"object.metadata.labels.all(k, object.metadata.labels[k].matches('^[a-z0-9.-]{{0,{40 + each}}}$'))"
        for each in range(9)
    ]
    flat = [
        f"object.spec.containers.all(c, c.env.all(e, e.name != '{each}' || c.name == e.value))" for each in range(91)
    ]
    assert said(bench.verdict(bench.policy([*steep, *flat]), pod)) == []
    assert metered == []


def numbered(number: int) -> dict[str, Any]:
    spec: Any = WIDGET["spec"]
    return WIDGET | {"spec": {**spec, "n": number}}


class TestCounted:
    """Validations that are counted one by one, in a policy that is not."""

    TEXTS = (
        "object.spec.names.distinct().size() == 300",
        "lists.range(object.spec.n).size() == 3",
        "object.metadata.name == 'w'",
    )
    """The second hangs on a value: no bound is known."""

    def test_only_what_has_to_be_is_counted(self, bench: Bench, metered: list[str]) -> None:
        assert run(bench, numbered(3), list(self.TEXTS)) == []
        assert metered == ["p.example.com"]
        metered.clear()
        assert run(bench, numbered(2), list(self.TEXTS)) == [(1, f"failed expression: {self.TEXTS[1]}", False)]
        assert metered == ["p.example.com"]

    def test_an_error_of_it_is_told_with_all_others(self, bench: Bench, metered: list[str]) -> None:
        found = run(bench, WIDGET, list(self.TEXTS))
        assert found == [(1, f"expression '{self.TEXTS[1]}' resulted in error: no such key: n", True)]
        assert len(metered) == 2

    def test_they_have_what_the_others_leave(
        self, bench: Bench, metered: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grants = Grants.at
        for spare, counted in ((1_000, 1), (5, 2)):
            metered.clear()
            monkeypatch.setattr(
                Grants, "at", lambda self, size, spare=spare: _replaced(grants(self, size), spare=spare)
            )
            assert run(bench, numbered(3), list(self.TEXTS)) == []
            assert len(metered) == counted


class TestLeaving:
    """Policies that the fast form gives up half-way: nothing of what it has said may stay."""

    def test_annotations_are_not_said_twice(self, bench: Bench, metered: list[str]) -> None:
        annotations = [
            {"key": "first", "valueExpression": "'a'"},
            {"key": "second", "valueExpression": "string(object.spec.names.distinct().size())"},
            {"key": "third", "valueExpression": f"string({DOUBLE})"},
        ]
        verdict = bench.verdict(bench.policy(["object.spec.l.size() == 1"], auditAnnotations=annotations), WIDGET)
        assert verdict is not None
        assert metered == ["p.example.com"]
        assert verdict.annotations == (("first", "a"), ("second", "300"), ("third", "true"))
        assert len(verdict.findings) == 1

    def test_more_iterations_than_were_granted(
        self, bench: Bench, metered: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "object.spec.few.all(a, object.spec.few.exists(b, a == b))"
        few = WIDGET | {"spec": {"few": [*range(20)]}}
        assert run(bench, few, [text]) == []
        assert metered == []
        grants = Grants.at
        narrow: dict[str, Any] = {"grants": ((10, 40),)}
        monkeypatch.setattr(Grants, "at", lambda self, size: _replaced(grants(self, size), **narrow))
        assert run(bench, few, [text]) == []
        assert metered == ["p.example.com"]

    def test_what_the_server_goes_on_to_evaluate_after_an_error(self, bench: Bench) -> None:
        text = "object.spec.nope == object.spec.l.distinct().size()"
        many = WIDGET | {"spec": {"l": [f"text {each}" for each in range(1_000)]}}
        assert run(bench, many, [text]) == [(0, f"expression '{text}' resulted in error: {EXCEEDED}", True)]

    @pytest.mark.parametrize("guarded", [False, True])
    def test_variables_that_nobody_needed(
        self, guarded: bool, bench: Bench, metered: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A grant that assumes that they are small makes them, and gives up if they fail."""
        grants = Grants.at
        monkeypatch.setattr(Grants, "at", lambda self, size: _replaced(grants(self, size), ask=(0,)))
        expression = "object.spec.nope" if guarded else "object.spec.l"
        variables = [{"name": "v", "expression": expression}]
        assert run(bench, WIDGET, ["true || variables.v == 1"], variables=variables) == []
        assert metered == (["p.example.com"] if guarded else [])

    def test_an_error_where_none_was_assumed(
        self, bench: Bench, metered: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grants = Grants.at
        monkeypatch.setattr(Grants, "at", lambda self, size: _replaced(grants(self, size), fair=True))
        found = run(bench, WIDGET, ["object.spec.nope == 1"])
        assert found == [(0, "expression 'object.spec.nope == 1' resulted in error: no such key: nope", True)]
        assert metered == ["p.example.com"]

    def test_a_value_that_is_heavier_than_was_assumed(
        self, bench: Bench, metered: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grants = Grants.at
        assumed: dict[str, Any] = {"ask": (0,), "weigh": (0,), "weight": 50}
        monkeypatch.setattr(Grants, "at", lambda self, size: _replaced(grants(self, size), **assumed))
        for expression, heavy in (("object.spec.l", True), ("object.metadata.name", False)):
            metered.clear()
            variables = [{"name": "v", "expression": expression}]
            assert run(bench, WIDGET, ["variables.v != 1"], variables=variables) == []
            assert bool(metered) == heavy


def _replaced(granted: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(granted, **fields)


def compiled(bench: Bench, validations: list[Any], **spec: Any) -> Policy:
    return bench.compiled(bench.policy(validations, **spec))


def test_the_clock_runs_while_cost_is_counted(bench: Bench) -> None:
    """A policy near its limits takes longer than a review may: what is known by then counts."""
    policy = compiled(bench, [DOUBLE] * 15)
    ticks = iter(range(1 << 30))
    context = Context(bench.request(WIDGET), state=EMPTY, clock=lambda: float(next(ticks)), deadline=50.0)
    with pytest.raises(DeadlineExceeded):
        policy.run(context)
    outcome = evaluate(PolicySet([policy]), bench.request(WIDGET), budget=0.02)
    assert outcome.incomplete == "deadline"
    assert outcome.skipped == ("p.example.com",)


@pytest.mark.parametrize("old", [None, WIDGET])
def test_making_the_form_that_counts_is_no_reviews_time(
    bench: Bench, old: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than a review may, once: whoever comes first is not incomplete for it."""
    monkeypatch.setattr(Grants, "at", lambda *_: None)
    now = [0.0]
    unit = Metered.unit

    def slow(self: Metered) -> Any:
        now[0] += 0.0 if self.prepared else 1.0
        return unit(self)

    monkeypatch.setattr(Metered, "unit", slow)
    policies = PolicySet([compiled(bench, ["object.spec.s == 'no'"], name=f"p{number}") for number in range(3)])
    request = bench.request(WIDGET, old=old)
    outcome = evaluate(policies, request, clock=lambda: now[0], budget=0.005)
    assert now[0] == 3.0
    assert outcome.incomplete == ""
    assert len(outcome.findings) == 3


def test_params_are_weighed(bench: Bench, metered: list[str]) -> None:
    """A small object and a large param."""
    kind = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
    binding = bench.binding(paramRef={"name": "c", "namespace": "shop", "parameterNotFoundAction": "Deny"})
    for size, counts in ((100, False), (6_000_000, True)):
        metered.clear()
        param = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "shop"},
            "data": {"k": "x" * size},
        }
        policy = bench.policy(["params.data.k.startsWith('x')"], **kind)
        verdict = bench.verdict(policy, WIDGET, [binding], folder=[param])
        assert verdict is not None
        assert bool(metered) == counts


def test_a_policy_has_no_counting_code_until_it_is_needed(bench: Bench) -> None:
    policy = compiled(bench, ["object.spec.l.size() > 0"])
    bench.run(policy, bench.request(WIDGET))
    assert isinstance(policy.run, Evaluator)
    assert policy.run._metered._unit is None


def test_prepared_policies_make_nothing_during_a_review(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    near = compiled(bench, ["object.spec.names.distinct().size() == 300"])
    far = compiled(bench, ["object.spec.l.all(a, a >= 0)"], name="far.example.com")
    for policy in (near, far):
        assert policy.prepare is not None
        policy.prepare()
    assert isinstance(near.run, Evaluator)
    assert isinstance(far.run, Evaluator)
    assert near.run._metered.prepared
    assert not far.run._metered.prepared
    monkeypatch.setattr(Grants, "at", lambda *_: pytest.fail("what is granted was worked out during a review"))
    for policy in (near, far):
        assert said(bench.run(policy, bench.request(WIDGET))) == []


def test_both_forms_say_the_same_of_the_old_object(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = compiled(bench, ["object.spec.l.size() == 1", "object.metadata.name == 'w'"])
    request = bench.request(WIDGET, old=WIDGET)
    fast = evaluate(PolicySet([policy]), request, budget=10)
    monkeypatch.setattr(Grants, "at", lambda *_: None)
    policy = compiled(bench, ["object.spec.l.size() == 1", "object.metadata.name == 'w'"])
    slow = evaluate(PolicySet([policy]), request, budget=10)
    assert fast.findings == slow.findings
    assert [each.pre_existing for each in fast.findings] == [True]
