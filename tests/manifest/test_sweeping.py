"""Policies asked together say what each of them says alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifest.test_small_limits import LIMITS
from webhook.cel.share import Shared
from webhook.evaluate import evaluate
from webhook.manifest import sweeping
from webhook.manifest.metered import Metered
from webhook.policy import Outcome, Policy
from webhook.policyset import PolicySet
from webhook.review import GroupVersionResource

if TYPE_CHECKING:
    from tests.manifest.conftest import Bench

VARIABLES = [
    {"name": "level", "expression": "object.spec.level"},
    {"name": "twice", "expression": "variables.level * 2"},
    {"name": "broken", "expression": "object.spec.nothing"},
    {"name": "pairs", "expression": "object.spec.many.map(a, object.spec.many.map(b, string(a + b)))"},
    {"name": "heavy", "expression": "object.spec.many.map(a, string(a) + ' and again')"},
]
HAS_SPEC = [{"name": "spec", "expression": "has(object.spec)"}]
STRANGE = [{"name": "named", "expression": "object.spec.name == 'x'"}]
ANNOTATION = [{"key": "level", "valueExpression": "string(object.spec.level)"}]

JOINED = "variables.heavy.map(a, a + variables.heavy.join('-')).join('+')"
KINDS: Sequence[Mapping[str, Any]] = [
    {"validations": ["variables.level < 5"]},
    {"validations": ["variables.twice < 5", "variables.level != 3", "has(object.spec.name)"]},
    {"validations": [{"expression": "variables.level < 2", "messageExpression": "'level ' + string(variables.level)"}]},
    {
        "validations": [
            {"expression": "variables.level < 2", "messageExpression": "string(variables.broken)", "message": "no"}
        ]
    },
    {"validations": ["object.spec.level < 3", "has(object.spec.name)", "object.spec.many != [1]"]},
    {"validations": [{"expression": "has(object.spec.name)", "messageExpression": "string(object.spec.level)"}]},
    {
        "validations": [
            {"expression": f"variables.level < {n}", "messageExpression": f"string(variables.level) + ' of {n}'"}
            for n in (1, 3, 5)
        ]
    },
    {"validations": ["variables.broken == 1"]},
    {"validations": ["variables.level < 3", "variables.broken == 1"]},
    {"validations": ["variables.broken == 1"], "failurePolicy": "Ignore"},
    {"validations": ["variables.level > 1"], "matchConditions": HAS_SPEC},
    {"validations": ["variables.level > 2"], "matchConditions": HAS_SPEC},
    {"validations": ["variables.level > 1"], "matchConditions": STRANGE},
    {"validations": ["variables.level > 2"], "matchConditions": STRANGE},
    {"validations": ["variables.level > 1"], "auditAnnotations": ANNOTATION},
    {"validations": [{"expression": "variables.level < 2", "messageExpression": "variables.pairs[0].join(',')"}]},
    {"validations": [{"expression": "variables.level < 2", "messageExpression": JOINED}]},
    {"validations": [{"expression": f"variables.level < {n}", "messageExpression": JOINED} for n in range(2, 8)]},
    {"validations": [{"expression": "variables.heavy.size() < 30", "messageExpression": JOINED}]},
    {"validations": ["authorizer.group('').resource('pods').check('get').allowed()"]},
    {"validations": ["namespaceObject.metadata.name == 'a'"]},
    {"validations": ["oldObject == null || oldObject.spec.level <= object.spec.level"]},
    {"validations": ["[1, 2, 3].all(a, [1, 2, 3].all(b, [1, 2, 3].all(c, a + b + c < variables.level * 9)))"]},
    {"validations": ["object.spec.many.all(a, object.spec.many.all(b, a + b >= 0))"]},
]
SPECS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"level": st.one_of(st.integers(0, 6), st.just("high")), "many": st.sampled_from(([], [1], [0] * 40))},
        optional={"name": st.just("x")},
    ),
)


ELSEWHERE = GroupVersionResource("example.com", "v2", "widgets")


def obj(spec: Any) -> dict[str, Any]:
    found = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}}
    return found if spec is None else found | {"spec": spec}


@pytest.fixture(scope="module")
def pool(bench: Bench) -> list[Policy]:
    return made(bench)


def made(bench: Bench) -> list[Policy]:
    """Two of each kind, in one `Shared`."""
    shared = Shared()
    return [
        bench.compiled(bench.policy(name=f"p{number:02}", variables=VARIABLES, **kind), shared=shared)
        for number, kind in enumerate(itertools.chain(KINDS, KINDS))
    ]


def alone(policies: Sequence[Policy]) -> PolicySet:
    return PolicySet([msgspec.structs.replace(policy, crowd=None) for policy in policies])


@pytest.fixture(autouse=True)
def little_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that patterns of failures come, go and come again."""
    monkeypatch.setattr(sweeping, "_REMEMBERED", 12)


@given(st.data())
@settings(deadline=None)
def test_together_is_what_each_says_alone(bench: Bench, pool: list[Policy], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(pool) - 1), min_size=2, max_size=12, unique=True))
    chosen = [pool[number] for number in numbers]
    sets = PolicySet(chosen), alone(chosen)
    for spec, old in data.draw(st.lists(st.tuples(SPECS, st.one_of(st.just(False), SPECS)), min_size=1, max_size=4)):
        converted: dict[str, Any] = {"request_resource": ELSEWHERE} if data.draw(st.integers(0, 9)) == 0 else {}
        request = bench.request(obj(spec), old=None if old is False else obj(old), **converted)
        together, single = (evaluate(policies, request, clock=lambda: 0.0) for policies in sets)
        assert together == single


@pytest.mark.parametrize("limit", [10, 40, 200, 332, 448, 605, 1_100, 2_000, 3_600, 10_000])
def test_together_near_the_limits_of_cost(bench: Bench, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same verdicts, and the same policies counted for them."""
    for name, times in LIMITS.items():
        monkeypatch.setattr(name, limit * times)
    decide = Metered.decide
    counted: list[Metered] = []

    def spy(self: Metered, *arguments: Any) -> Any:
        counted.append(self)
        return decide(self, *arguments)

    monkeypatch.setattr(Metered, "decide", spy)
    pool = made(bench)
    specs = [{"level": level, "many": many} for level in (0, 3, "high") for many in ([], [1], [0] * 15, [0] * 40)]
    for spec, old in itertools.product(specs, [None, {"level": 3, "many": [0] * 40}]):
        request = bench.request(obj(spec), old=None if old is None else obj(old))
        together = evaluate(PolicySet(pool), request, clock=lambda: 0.0), list(map(id, counted))
        counted.clear()
        single = evaluate(alone(pool), request, clock=lambda: 0.0), list(map(id, counted))
        counted.clear()
        assert together == single


def test_crowds_are_asked_together(bench: Bench, pool: list[Policy], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that pass, or plainly fail, are not run by themselves."""
    ran: list[str] = []

    def noting(policy: Policy) -> Policy:
        def run(context: Any) -> Any:
            ran.append(policy.id)
            return policy.run(context)

        return msgspec.structs.replace(policy, run=run, crowd=None if policy.crowd is None else Noting(policy.crowd))

    class Noting:
        def __init__(self, crowd: Any) -> None:
            self.crowd = crowd

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Noting) and self.crowd == other.crowd

        def __hash__(self) -> int:
            return hash(self.crowd)

        def sweep(self, runs: Sequence[Callable[[Any], Any]], /) -> Any:
            return self.crowd.sweep([by_run[run] for run in runs])

    noted = [noting(policy) for policy in pool]
    by_run = {new.run: policy.run for new, policy in zip(noted, pool, strict=True)}
    outcome = evaluate(
        PolicySet(noted), bench.request(obj({"level": 4, "many": []}), old=obj({"level": 4, "many": []})),
        clock=lambda: 0.0,
    )  # fmt: skip
    passed = outcome.evaluated & ~sum(1 << number for number, each in enumerate(pool) if each.id in ran)
    assert passed.bit_count() >= 10
    assert len({each.policy for each in outcome.findings} - set(ran)) >= 10


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
def test_when_time_runs_out_nobody_is_lost(bench: Bench, pool: list[Policy], ticks: int) -> None:
    """Whoever has no verdict is named as skipped, and what passed had its turn."""
    clock = itertools.count()
    request = bench.request(obj({"level": 1, "many": [0] * 40}), old=obj({"level": 3, "many": [1]}))
    full = evaluate(PolicySet(pool), request, clock=lambda: 0.0)
    outcome = evaluate(PolicySet(pool), request, clock=lambda: float(next(clock)), budget=float(ticks))
    skipped = _bits(pool, outcome.skipped)
    assert outcome.evaluated & skipped == 0
    assert outcome.evaluated & ~full.evaluated == 0
    assert full.evaluated & ~outcome.evaluated & ~skipped == 0
    assert (outcome.incomplete == "deadline") == bool(outcome.skipped)
    assert _findings(outcome) <= _findings(full)


def _bits(pool: Sequence[Policy], names: Sequence[str]) -> int:
    return sum(1 << number for number, policy in enumerate(pool) if policy.id in names)


def _findings(outcome: Outcome) -> set[tuple[str, int, str]]:
    return {(each.policy, each.index, each.message) for each in outcome.findings}
