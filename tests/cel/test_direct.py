"""The direct form says what the exact one says, of objects in which anything may be missing or of another type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.cel.outcomes import exactly, outcome
from webhook.cel.activation import Leave, grant
from webhook.cel.places import RUNS, UNCOUNTED
from webhook.cel.unit import MISSING, Expression, Inputs, Variable, compile_unit

ATOMS = (
    "has(object.a)",
    "!has(object.b)",
    "object.a == 'x'",
    "object.b != 1",
    "object.n > 2",
    "'y' <= object.a",
    "object.a.startsWith('x')",
    "object.a.contains('x')",
    "object.a.matches('^x+$')",
    "'k' in object.m",
    "object.a in ['x', 'y']",
    "object.m['k'] == 'x'",
    "object.t",
    "object.l.size() > 1",
    "['x', 'xy'].exists(r, object.a.startsWith(r))",
    "['x', 'y'].all(r, !object.a.endsWith(r))",
    "['x', 'y'].exists(r, r.startsWith(r))",
    "object.?a.orValue('') == 'x'",
    "object.m.all(k, object.m[k] == 'x')",
    "object.l.exists(k, object.l[k] == 1)",
    "object.m.exists(k, object.l[k] == object.m[k])",
    "object.m.all(k, object.m[k].exists(l, object.m[k][l] == k))",
    "['k', 'a'].all(k, k in object.m && object.m[k] != 'y')",
    "object.m.exists(k, k in object.l || object.l[k] == object.m[k])",
    "object.m.all(k, object.l.exists(e, k in e && e[k] == object.m[k]))",
    "object.m.all(k, k in object.b && object.b[k] == object.m[k] && object.a != k)",
)
ELEMENT_ATOMS = (
    "has(e.a)",
    "!has(e.m.k)",
    "e.a == 'x'",
    "e == 'x'",
    "e.n < 3",
    "e.a.endsWith('y')",
    "e.t",
    "['x', 'xy'].exists(r, e.a.startsWith(r))",
    "e.l.exists(f, f == e.a)",
    "object.m[e] == 'x'",
    "e.l.all(f, f.startsWith('x'))",
    "object.l.exists(f, f == e)",
    "e.l.exists(f, f.l.exists(g, g.a == f.a))",
)

VALUES = (
    "object.l.map(e, e.a)",
    "object.l.filter(e, {}).map(e, e.a)",
    "object.l.filter(e, {}).size()",
    "object.l.filter(e, e.l.all(f, {})).map(e, e.n + 1)".replace("{}", "f == e.a"),
    "object.l.map(e, {}, e.m)",
    "(has(object.m) ? object.m : object.l).map(e, e)",
    "object.l.map(e, has(e.a) ? e.a : 'none') + ['x']",
    "object.l.map(e, e.l.filter(f, has(f.a)))",
    "object.?a.orValue(object.l.map(e, e.a))",
    "object.l.map(e, e.?a.orValue(e.n))",
    "[object.l.exists(e, {}), object.t == true]",
    "object.l.filter(e, {}) == object.l",
    "object.l.exists(e, {}) ? 'x' : object.a",
    "object.l.map(e, {} || e.t)",
    "object.l.map(e, !({}))",
)

texts = st.sampled_from(["x", "y", "xy", "k", ""])
leaves = st.one_of(texts, st.integers(0, 4), st.booleans(), st.none(), st.floats(0, 4))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abklmnt"), inner, max_size=5)
    ),
    max_leaves=12,
)
elements = st.fixed_dictionaries(
    {}, optional={"a": st.one_of(texts, leaves), "n": leaves, "t": st.booleans(), "l": values, "m": values}
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "a": st.one_of(texts, values),
        "b": values,
        "n": st.one_of(st.integers(0, 4), values),
        "t": st.one_of(st.booleans(), values),
        "m": values,
        "l": st.one_of(st.lists(st.one_of(elements, values), max_size=4), values),
    },
)


def decisions(atoms: tuple[str, ...], depth: int) -> st.SearchStrategy[str]:
    leaf = st.integers(0, len(atoms) - 1).map(lambda number: atoms[number])  # whose repr is short
    if not depth:
        return leaf
    inner = decisions(atoms, depth - 1)
    made = [
        leaf,
        inner.map(lambda text: f"!({text})"),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: "(" + " && ".join(terms) + ")"),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: "(" + " || ".join(terms) + ")"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} ? {parts[1]} : {parts[2]})"),
    ]
    if atoms is ATOMS:
        each = decisions(ELEMENT_ATOMS, depth - 1)
        made.append(st.tuples(st.sampled_from(("all", "exists")), each).map(lambda of: f"object.l.{of[0]}(e, {of[1]})"))
    return st.one_of(made)


expressions = st.one_of(
    decisions(ATOMS, 3),
    st.tuples(st.sampled_from(VALUES), decisions(ELEMENT_ATOMS, 2)).map(lambda both: both[0].replace("{}", both[1])),
)


@given(text=expressions, each=st.lists(objects, min_size=1, max_size=5))
@example(text="object.l.exists(k, object.l[k] == 'x')", each=[{"l": ["x", -1]}, {"l": [True, "x"]}])
@example(text="object.m.exists(k, k in object.l || object.l[k] == object.m[k])", each=[{"m": [1], "l": [True]}])
@example(text="object.l.exists(e, object.m[e] == 'x')", each=[{"m": ["x", "x"], "l": [each]} for each in (-1, True)])
@settings(max_examples=500, deadline=None)
def test_both_forms_agree(text: str, each: list[Any]) -> None:
    unit = compile_unit([Expression(path="x", text=text)])
    exact = unit._functions.get("x1")
    assert exact is not None or "(e, " not in text
    for held in each:
        inputs = Inputs(object=held)
        found = outcome(unit.calls[0], unit.activation(inputs))
        if exact is not None:
            assert found == outcome(exact, unit.activation(inputs)), unit.source


HELD = st.one_of(objects, values)


@given(texts=st.lists(expressions, min_size=1, max_size=3, unique=True), held=HELD, other=HELD)
@example(texts=["has(object.a) || has(object.b)"], held="an a", other={"a": 1})
@example(texts=["has(object.m.a)", "object.m.all(k, object.m[k] == 'x')"], held={"m": []}, other={"m": {"k": "x"}})
@settings(max_examples=100, deadline=None)
def test_what_is_kept_for_others_is_what_they_would_find(texts: list[str], held: Any, other: Any) -> None:
    """Several expressions on one activation, of values far from its root and of variables, say what each says alone."""
    far = [text.replace("object.", f"{start}.") for text in texts for start in ("object.s.t", "variables.v")]
    far += [text.replace("object.", "variables.w.") for text in texts]
    far *= 2  # the first who asks keeps nothing
    unit = compile_unit(
        [Expression(path="x", text=text) for text in far],
        variables=[Variable(name="v", path="v", text="object.s.t"), Variable(name="w", path="w", text="object.s.u")],
    )
    inputs = Inputs(object={"s": {"t": held, "u": other}})
    together = unit.activation(inputs)
    for _ in range(2):
        for text, call in zip(far, unit.calls, strict=True):
            near = text.replace("object.s.t.", "object.").replace("variables.v.", "object.")
            value = other if "variables.w." in text else held
            told = exactly(near.replace("variables.w.", "object."), value)
            assert outcome(call, together) == told, unit.source
        together.forget()
        assert together.places == [None] * len(together.places)


RUN_TERMS = (
    "f.a == 'x'",
    "f.a.startsWith('x')",
    "f.a.matches('^x+$')",
    "f.a in ['x', 'y']",
    "f.a.b == 'x'",
    "f.a != 'k' && f.a.endsWith('y')",
    "!f.a.startsWith('x')",
    "!f.a.matches('x+y')",
    "!(f.a in ['x', 'k'])",
    "['x', 'y'].all(r, !f.a.endsWith(r))",
    "['x', 'y'].exists(r, f.a.startsWith(r))",
    "f.n > 2",
    "f == 'x'",
    "has(f.a)",
    "f.a == f.n",
    "f.l.exists(f, f.a == 'x')",
    "object.b == 'x'",
    "f.a.all(g, g == 'x')",
    "has(f.a.b)",
    "f.a[0] == 'x'",
    "f.a.?b.orValue('x') == 'x'",
    "(f.a == 'x' ? f.a : dyn('y')) in [f.a, dyn('k')]",
)


@st.composite
def runs(draw: st.DrawFn) -> str:
    """Loops that may run over what they ask for alone, and loops that are nearly such ones."""
    macro = draw(st.sampled_from(("all", "exists")))
    joined, guard = (" || ", "!has({})") if macro == "all" else (" && ", "has({})")
    guards = [guard.format(f"f.{field}") for field in draw(st.lists(st.sampled_from("anm"), max_size=2))]
    terms = draw(st.lists(st.sampled_from(RUN_TERMS), min_size=1, max_size=2))
    other = draw(st.sampled_from((joined, joined, " && ", " || ")))
    asked = joined.join([*guards, f"({other.join(terms)})" if other != joined else other.join(terms)])
    path = draw(st.sampled_from(("", "e.l", "e.m.l", "e.m")))
    if path:
        parents = [path[:end] for end in range(3, len(path) + 1, 2)]
        asked = joined.join([*(guard.format(each) for each in parents), f"{path}.{macro}(f, {asked})"])
        return f"{draw(st.sampled_from(('', '!')))}object.l.{macro}(e, {asked})"
    return f"{draw(st.sampled_from(('', '!')))}object.l.{macro}(f, {asked})"


INNER = st.one_of(
    st.fixed_dictionaries({}, optional={"a": st.one_of(texts, texts, values), "n": leaves, "m": leaves, "l": values}),
    st.fixed_dictionaries({"a": texts, "n": st.integers(0, 4)}),
    leaves,
)
LISTED = st.one_of(st.lists(INNER, max_size=3), st.lists(INNER, max_size=3), values)
MAPS = st.one_of(LISTED, st.just({}), st.fixed_dictionaries({"l": LISTED}))
OUTER = st.one_of(st.fixed_dictionaries({"a": texts}, optional={"l": LISTED, "m": MAPS}), INNER)


IN_LISTS = "object.l.all(e, !has(e.l) || e.l.all(f, f != 'z'))"


@given(texts=st.lists(runs(), min_size=1, max_size=3), held=st.lists(OUTER, max_size=4))
@example(texts=["object.l.all(f, f.a == 'x' || f.a.startsWith('y'))"], held=[{"a": "x"}, {"a": "y"}])
@example(texts=["!object.l.exists(f, has(f.m) && f.a == 'x' && f.a != 'y')"], held=[{"a": "x"}, {"a": "y", "m": 1}])
@example(texts=[IN_LISTS], held=[{"l": ["x"]}, {"l": {"z": 1}}])
@example(texts=[IN_LISTS], held=[{"l": ["x"]}, {"l": "y"}])
@settings(max_examples=300, deadline=None)
def test_what_runs_over_what_it_asks_for_decides_the_same(texts: list[str], held: list[Any]) -> None:
    far = [
        text.replace("object.l.", "object.s.l.", 1) for text in texts for _ in range(RUNS + 2)
    ]  # the first keep nothing
    unit = compile_unit([Expression(path="x", text=text) for text in far])
    value = {"s": {"l": held}, "b": "x"}
    together = unit.activation(Inputs(object=value))
    for text, call in zip(far, unit.calls, strict=True):
        assert outcome(call, together) == exactly(text, value), unit.source


def test_what_runs_over_what_it_asks_for_is_counted() -> None:
    inner = "object.a.b.all(c, !has(c.l) || c.l.all(e, e > 0))"
    asked = "object.a.b.all(c, !has(c.n) || c.n > 0)"
    for text, length, turns in (
        (inner, UNCOUNTED, 2),
        (inner, UNCOUNTED + 1, 3),
        (asked, UNCOUNTED, 0),
        (asked, 49, 1),
    ):
        unit = compile_unit([Expression(path="x", text=text)] * (RUNS + 2))
        assert "kept_run" in unit.source
        activation = unit.activation(Inputs(object={"a": {"b": [{"l": [1, 1], "n": 1}] * length}}))
        activation.left, activation.spare = grant(2 * turns * length)
        assert [call(activation) for call in unit.calls[RUNS:]] == [True, True]
        assert activation.left + activation.spare == 0
        assert activation.places[-1] is not None


def test_what_would_take_long_at_once_is_left_to_loops() -> None:
    text = "object.a.b.all(c, !has(c.l) || c.l.all(e, e > 0))"
    unit = compile_unit([Expression(path="x", text=text)] * (RUNS + 1))
    number = len(unit.calls)
    helds: list[list[Any]] = [[{}] * 1_001, [{"l": [1] * 1_001}]]
    for held in helds:
        activation = unit.activation(Inputs(object={"a": {"b": held}}))
        assert [call(activation) for call in unit.calls] == [True] * number
        assert activation.places[-1] is None


def test_a_short_range_is_kept_and_a_long_one_counted() -> None:
    unit = compile_unit([Expression(path="x", text="object.a.b.all(e, e > 0)")] * 3)
    for length in (0, UNCOUNTED, UNCOUNTED + 1):
        activation = unit.activation(Inputs(object={"a": {"b": [1] * length}}))
        activation.left, activation.spare = grant(2 * length)
        assert [call(activation) for call in unit.calls[1:]] == [True, True]
        kept = length <= UNCOUNTED
        assert (activation.left + activation.spare, activation.places[0] is not None) == (2 * length * kept, kept)
    with pytest.raises(Leave):
        unit.calls[1](activation)


def test_a_loop_in_a_loop_is_always_counted() -> None:
    texts = [
        "object.a.b.all(e, object.a.c.all(f, f > e))",
        "object.a.b.all(e, e > 9 || object.a.c.all(f, f > e) || e > 8)",
    ]
    for text in texts:
        unit = compile_unit([Expression(path="x", text=text)] * 2)
        activation = unit.activation(Inputs(object={"a": {"b": [1, 1, 1], "c": [2, 2, 2]}}))
        activation.left, activation.spare = grant(9)
        assert unit.calls[1](activation) is True
        assert activation.left + activation.spare == 0


@pytest.mark.parametrize(
    "text",
    [
        "object.l.all(e, ['x', 'y', 'z'].exists(r, e.startsWith(r)))",
        "object.l.exists(e, ['a', 'b', 'c'].exists(r, e.startsWith(r)))",
        "has(object.l) && ['x', 'y', 'z'].exists(r, object.l[0].startsWith(r)) && object.l.all(e, e != '')",
        "has(object.l) ? ['a', 'b', 'c', 'd', 'e', 'f', 'g'].all(r, !object.l[0].startsWith(r)) : false",
    ],
)
def test_no_more_turns_run_than_were_granted(text: str) -> None:
    """Loops that are none in Python count as what they are: the exact form needs no more than the direct one."""
    unit = compile_unit([Expression(path="x", text=text)])
    least = [0, 0]
    for which, call in enumerate((unit._functions["x1"], unit.calls[0])):
        while True:
            activation = unit.activation(Inputs(object={"l": ["z1", "z2"]}))
            activation.left, activation.spare = grant(least[which])
            try:
                assert call(activation) in (True, False)
                break
            except Leave:
                least[which] += 1
    assert 0 < least[0] <= least[1]


@pytest.mark.parametrize(
    "text",
    [
        "object.l.all(e, e != '') && object.?a.orValue(namespaceObject.metadata.name) == 'x'",
        "object.l.map(e, object.?a.or(optional.of(namespaceObject.metadata.name)).value()) == ['x']",
        "object.l.all(e, e == 'y' || namespaceObject.metadata.name == 'x')",
        "object.l.all(e, [].all(r, !namespaceObject.metadata.name.startsWith(r)))",
        "object.l.map(e, has(object.a) ? e : namespaceObject.metadata.name) == ['y']",
    ],
)
def test_nobody_asks_for_what_is_not_needed(text: str) -> None:
    """State that is missing would end the evaluation, in either form."""
    unit = compile_unit([Expression(path="x", text=text)])
    assert unit.start(Inputs(object={"a": "x", "l": ["y"]}, namespace_object=MISSING)).value(0) is True
