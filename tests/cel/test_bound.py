"""Bounds of cost: no expression costs more than was said beforehand, neither by the size of its inputs alone nor by the
iterations that the fast form was granted. Without this the server's limits would be enforced by luck."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cel.conftest import FILES, Case, cost_rows
from tests.e2e.oracle.expressions import NAMESPACE, REQUEST
from tests.e2e.oracle.questions import objects, questions
from webhook.cel import ceiling
from webhook.cel.activation import UNSET, Leave, grant
from webhook.cel.bound import Bound, at_most
from webhook.cel.ceiling import Argument, weigh
from webhook.cel.library import FUNCTIONS
from webhook.cel.limits import BEYOND, SIZES, Demand, VariableLimit, granted, size_class, variable_limits
from webhook.cel.places import UNCOUNTED
from webhook.cel.poly import Poly, Unbounded, at, larger, number, plus, put, root, times
from webhook.cel.program import FAULTS
from webhook.cel.tariff import LIMIT
from webhook.cel.unit import Expression, Inputs, Unit, Variable, compile_unit
from webhook.cel.worst import VALUE
from webhook.errors import NotComparable

GENERATED = 1_500
GRANTS = (0, 1, 5, 40, 400, 4_000, 1 << 40)
UNBOUNDED = ("lists.range(object.i)", "s5.format(", "str_var.format(")
"""Rows of the corpora whose cost hangs on a value, not on a size."""


def size_of(inputs: Inputs) -> int:
    held = (inputs.object, inputs.old_object, inputs.params, inputs.namespace_object, inputs.request)
    written = max(len(msgspec.json.encode(each)) for each in held)
    return max([written, *map(weigh, (inputs.bound or {}).values())])


def asked(unit: Unit, bound: Bound, *, sure: bool) -> dict[int, bool]:
    found: dict[int, bool] = {}

    def ask(bound: Bound, *, sure: bool) -> None:
        for place, skipped in bound.uses.items():
            here = sure and not skipped
            if place not in found or (found[place] and not here):
                found[place] = here
                inner = unit.shared.by_number[place].bound
                assert inner is not None
                ask(inner, sure=here)

    ask(bound, sure=sure)
    return found


def limit_of(unit: Unit, place: int, size: int) -> VariableLimit:
    limit = variable_limits(unit.shared, size_class(size)).limits[place]
    assert limit is not None
    return limit


def broken(unit: Unit, metered: Unit, inputs: Inputs) -> str:
    """What a bound promised and did not keep, of the first expression."""
    bound, size = unit.bounds[0], size_of(inputs)
    if bound is None or size_class(size) == BEYOND:
        return "unbounded"
    try:
        _, units = metered.start(inputs).measure(0)
    except NotComparable:
        return ""
    most = at(bound.whole, size) + sum(limit_of(unit, each, size).whole for each in asked(unit, bound, sure=False))
    if units > most:
        return f"costs {units}, said at most {most}"
    for iterations in GRANTS:
        activation = unit.activation(inputs)
        activation.left, activation.spare = grant(iterations)
        activation.grants = variable_limits(unit.shared, size_class(size)).grants
        failed = False
        try:
            unit.calls[0](activation)
        except Leave:
            continue
        except FAULTS:
            failed = True
        if iterations == GRANTS[-1]:
            continue
        most = at_most(bound.granted, size, iterations + bound.free)
        for place, sure in asked(unit, bound, sure=True).items():
            limit = limit_of(unit, place, size)
            most += limit.granted if sure else limit.whole
        if units > most:
            return f"costs {units}, said at most {most} with {iterations} iterations"
        try:
            places = [*asked(unit, bound, sure=True)]
            for place in places:
                if activation.memo[place] is UNSET and place not in activation.failed:
                    unit.shared.ask(activation, place)
        except Leave:
            continue
        if failed or activation.failed:
            continue
        variables = sum(limit_of(unit, place, size).succeeds for place in places)
        if units > (most := at_most(bound.succeeds, size, iterations + bound.free) + variables):
            return f"costs {units}, said at most {most} with {iterations} iterations and no error"
        weight = max((weigh(activation.memo[place]) for place in bound.uses), default=0)
        if units > (most := at(put(bound.valued, VALUE, number(weight)), size) + variables):
            return f"costs {units}, said at most {most} with variables of {weight}"
        for place in places:
            if weigh(activation.memo[place]) > limit_of(unit, place, size).weight:
                return f"variable {place} weighs more than was said"
    return ""


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["cost", "differential", "specification"])
def test_no_row_of_the_corpora_costs_more_than_its_bound(name: str, corpora: Path) -> None:
    found: dict[str, str] = {}
    tried = 0
    for id, case, _, row in cost_rows(corpora) if name == "cost" else FILES[name](corpora):
        unit, metered = case.compile(), case.compile(metered=True)
        if isinstance(unit, Unit) and isinstance(metered, Unit):
            tried += 1
            what = broken(unit, metered, case.inputs)
            if what and not (what == "unbounded" and any(each in row["expr"] for each in UNBOUNDED)):
                found[id] = f"{row['expr']}: {what}"
    assert not found, "\n".join(found.values())
    assert tried > 500


def generated(corpora: Path) -> Iterator[Case]:
    held = objects(corpora)
    values = {each.text: each.value for each in held}
    for question in questions(7, held):
        yield Case(
            str(question.expression),
            returns=question.returns,
            variables=[{"name": name, "expression": text} for name, text in question.variables],
            params_declared=question.declared,
            object=values[question.object],
            old_object=values[question.object],
            params=question.params,
            namespace_object=NAMESPACE,
            request=REQUEST,
        )


@pytest.mark.corpus
def test_no_generated_expression_costs_more_than_its_bound(corpora: Path) -> None:
    found, tried, unbounded = [], 0, 0
    for case in islice(generated(corpora), GENERATED):
        unit, metered = case.compile(), case.compile(metered=True)
        if isinstance(unit, Unit) and isinstance(metered, Unit):
            tried += 1
            what = broken(unit, metered, case.inputs)
            unbounded += what == "unbounded"
            if what and what != "unbounded":
                found.append(f"{case.text}: {what}")
    assert not found, "\n".join(found)
    assert tried > GENERATED // 2
    assert unbounded < tried // 20


NAMED = st.lists(
    st.builds(lambda length: {"name": "x" * length}, st.one_of(st.integers(0, 9), st.sampled_from([100, 3_000]))),
    max_size=12,
)
NESTED = [
    "object.l.all(a, object.l.all(b, a.name == b.name))",
    "object.l.all(a, object.m.all(b, a.name == b.name))",
    "object.l.exists(a, object.m.all(b, object.l.exists(c, c.name != b.name) || a.name < b.name))",
    "object.n.all(a, a.m.all(b, a.m.all(c, c.name == b.name || object.l.exists(d, d.name > a.m[0].name))))",
    "object.n.map(a, a.m.filter(b, a.m.all(c, object.m.all(d, d.name == c.name))).map(e, e.name == 'x')).size() > 1",
    "object.n.all(a, a.m.all(b, [a, b].all(c, [b].exists(d, d == c))))",
    "object.l.map(a, a.name) == object.m.filter(b, b.name != '')",
]


@pytest.mark.parametrize("text", NESTED)
@given(long=NAMED, other=NAMED, each=st.lists(NAMED, max_size=4))
def test_no_pair_costs_more_than_its_bound(text: str, long: Any, other: Any, each: Any) -> None:
    """Whatever the elements weigh: one that is long and many that are short, or all alike."""
    unit, metered = (compile_unit([Expression(path="x", text=text)], metered=metered) for metered in (False, True))
    inputs = Inputs(object={"l": long, "m": other, "n": [{"m": inner} for inner in each]})
    assert not broken(unit, metered, inputs)


def test_every_function_has_a_bound() -> None:
    """A function that nobody thought of would be evaluated by the slow form, always."""
    without = set()
    for name, rows in FUNCTIONS.items():
        for row in rows:
            given = [Argument(ceiling.INPUTS, type) for type in row.arguments]
            try:
                found = ceiling.result(name, row.result, given)
                ceiling.cost(name, (row,), given, found)
            except Unbounded:
                without.add(name)
    assert without <= {"lists.range", "format", "flatten", "_?_:_", "cel.@mapInsert"}


polys = st.dictionaries(st.sampled_from([(), (0,), (0, 0), (1,), (0, 1)]), st.floats(0, 100), max_size=4)
sizes = st.integers(1, 1_000)


def value(poly: Poly, size: int, element: int) -> float:
    return at(put(poly, 1, number(element)), size)


@given(polys, polys, sizes, sizes)
def test_arithmetic_of_bounds(one: Poly, other: Poly, size: int, element: int) -> None:
    left, right = value(one, size, element), value(other, size, element)
    assert value(plus(one, other), size, element) == pytest.approx(left + right)
    assert value(times(one, other), size, element) == pytest.approx(left * right)
    assert value(larger(one, other), size, element) >= max(left, right) * (1 - 1e-9)
    assert value(root(one), size, element) >= math.sqrt(left) * (1 - 1e-9)


def unit_of(text: str, **variables: str) -> Unit:
    return compile_unit(
        [Expression(path="x", text=text)],
        variables=[Variable(name=name, path=name, text=each) for name, each in variables.items()],
    )


def iterations(unit: Unit, size: int, budget: int = 10 * LIMIT) -> int:
    """How many iterations the first expression is granted; -1: none, it is to be metered."""
    found = granted(unit.bounds, [Demand(budget, run=(0,))], unit.shared, size_class(size))
    return -1 if found is None or found.grants[0] is None else sum(found.grants[0])


class TestGrants:
    """What typical policies get: they must stay in the fast form."""

    def test_a_loop_over_containers_needs_no_guard_at_all(self) -> None:
        unit = unit_of("object.spec.containers.all(c, c.env.all(e, e.name != c.name && !e.name.matches('^[a-z]{3}$')))")
        assert iterations(unit, 12_000) > 1 << 40

    def test_every_pair_is_guarded(self) -> None:
        unit = unit_of("object.spec.l.all(a, object.spec.l.all(b, a.name == b.name))")
        assert 10_000 < iterations(unit, 12_000) < 1 << 40
        assert 1_000 < iterations(unit, 150_000) < 10_000

    def test_what_runs_uncounted_is_reckoned_with(self) -> None:
        unit = unit_of("object.spec.l.all(a, object.spec.l.all(b, a.name == b.name))")
        bound = unit.bounds[0]
        assert bound is not None and bound.free == 2 * UNCOUNTED
        for size in SIZES:
            granted_ = iterations(unit, size)
            if 0 <= granted_ < 1 << 40:
                assert at_most(bound.granted, size, granted_ + bound.free) <= LIMIT

    def test_a_large_object_gets_thousands_of_iterations(self) -> None:
        unit = unit_of("variables.c.all(c, c.image.contains('@'))", c="object.spec.containers.filter(c, c.image != '')")
        assert iterations(unit, 150_000) > 10_000

    def test_what_grows_faster_than_its_input_is_counted(self) -> None:
        for text in ("sets.intersects(object.a, object.b)", "object.a.matches(object.b)", "object.a.distinct()"):
            assert 10_000 < iterations(unit_of(text), 40_000) < LIMIT
            assert iterations(unit_of("variables.v", v=text), 40_000) > 10_000

    def test_what_hangs_on_a_value_is_metered(self) -> None:
        assert iterations(unit_of("lists.range(object.n)"), 1_000) == -1
        assert iterations(unit_of("variables.v == variables.v", v="object.f.format([1])"), 1_000) == -1

    def test_what_is_very_large_is_metered(self) -> None:
        assert iterations(unit_of("true"), SIZES[-1]) > 0
        assert iterations(unit_of("true"), SIZES[-1] + 1) == -1
        assert iterations(unit_of("object.a.matches('^[a-z]{1,40}(.example.com)+$')"), 1 << 20) > 0
        assert iterations(unit_of("object.a.matches('^[a-z]{1,40}(.example.com)+$')"), 1 << 22) == -1

    def test_the_budget_counts_what_the_limits_of_expressions_allow(self) -> None:
        unit = unit_of("object.l.all(a, a.x > 1)")
        assert iterations(unit, 40_000, budget=2) == -1
        assert iterations(unit, 40_000, budget=10_000) < iterations(unit, 40_000)


def test_a_call_that_costs_much_uses_the_grant_up() -> None:
    for text in ("object.distinct()", "sets.contains(object, object)", "object.sortBy(x, int(x))"):
        activation = unit_of(text).activation(Inputs(object=[*range(100)]))
        activation.left, activation.spare = grant(600)
        with pytest.raises(Leave):
            unit_of(text).calls[0](activation)
        activation.left, activation.spare = grant(2_000)
        unit_of(text).calls[0](activation)


def test_the_fast_form_leaves_when_its_grant_is_used_up() -> None:
    unit = unit_of("object.all(x, x >= 0)")
    for length, given_, leaves in ((10, 10, False), (11, 10, True), (300, 300, False), (301, 300, True), (1, 0, True)):
        activation = unit.activation(Inputs(object=[1] * length))
        activation.left, activation.spare = grant(given_)
        if leaves:
            with pytest.raises(Leave):
                unit.calls[0](activation)
        else:
            assert unit.calls[0](activation) is True


def test_a_variable_has_a_grant_of_its_own() -> None:
    """Whoever asks for it next does not run its loops, and must not be charged less for that."""
    unit = unit_of("variables.v.size() > 0 && object.all(x, x >= 0)", v="object.filter(x, x > 0)")
    activation = unit.activation(Inputs(object=[1] * 50))
    activation.left, activation.spare = grant(50)
    activation.grants = [grant(50)]
    assert unit.calls[0](activation) is True
    assert (activation.left, activation.spare) == (0, 0)
    activation = unit.activation(Inputs(object=[1] * 50))
    activation.grants = [grant(49)]
    with pytest.raises(Leave):
        unit.calls[0](activation)
