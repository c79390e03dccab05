"""The direct form says what the exact one says, of objects in which anything may be missing or of another type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webhook.cel.activation import Activation, Leave, grant
from webhook.cel.places import UNCOUNTED
from webhook.cel.program import FAULTS, fault
from webhook.cel.unit import MISSING, EvalError, Expression, Inputs, Variable, compile_unit

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


def outcome(call: Any, activation: Activation) -> Any:
    try:
        return call(activation)
    except FAULTS as error:
        return EvalError(fault(error))


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
    exact = unit._namespace.get("x1")
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
            alone = compile_unit([Expression(path="x", text=near.replace("variables.w.", "object."))])
            exact = alone._namespace.get("x1", alone.calls[0])
            told = outcome(exact, alone.activation(Inputs(object=value)))
            assert outcome(call, together) == told, unit.source
        together.forget()
        assert together.places == [None] * len(together.places)


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
    for which, call in enumerate((unit._namespace["x1"], unit.calls[0])):
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
