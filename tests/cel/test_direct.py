"""The direct form says what the exact one says, of objects in which anything may be missing or of another type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.cel.activation import Activation, Leave, grant
from webhook.cel.program import FAULTS, fault
from webhook.cel.unit import EvalError, Expression, Inputs, compile_unit

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
    "e.l.all(f, f.startsWith('x'))",
    "object.l.exists(f, f == e)",
    "e.l.exists(f, f.l.exists(g, g.a == f.a))",
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
    leaf = st.sampled_from(atoms)
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


@given(text=decisions(ATOMS, 3), each=st.lists(objects, min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
def test_both_forms_agree(text: str, each: list[Any]) -> None:
    unit = compile_unit([Expression(path="x", text=text)])
    exact = unit._namespace.get("x1")
    for held in each:
        inputs = Inputs(object=held)
        found = outcome(unit.calls[0], unit.activation(inputs))
        if exact is not None:
            assert found == outcome(exact, unit.activation(inputs)), unit.source


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
