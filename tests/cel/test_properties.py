"""Properties: whatever the text, the compiler's only exception is its own; and numbers agree with Go's rules."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from webhook.cel.equality import compare, equals
from webhook.cel.error import CelError
from webhook.cel.library import operators
from webhook.cel.library.conversions import double_of_string
from webhook.cel.library.quantity import quantity
from webhook.cel.library.time import duration_of_string, duration_text, timestamp_of_string, timestamp_text
from webhook.cel.tagged import encode, plain
from webhook.cel.text import double_text
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, compile_unit
from webhook.cel.values import INT_MAX, INT_MIN, Duration, Timestamp
from webhook.errors import NotComparable

FRAGMENTS = [
    "object", "oldObject", ".a", ".?a", "['k']", "[0]", "[?0]", "(", ")", "[", "]", "{", "}", ",", ":", "?",
    " ", "\n", "&&", "||", "!", "-", "+", "*", "/", "%", "==", "!=", "<", "<=", " in ", "1", "2u", "1.5",
    "'s'", "b'x'", "null", "true", "has(", "size(", "int(", ".all(x, ", ".exists(x, ", ".map(x, ",
    ".filter(x, ", ".exists_one(x, ", "x", ".all(k, v, ", ".transformMap(k, v, ", ".optMap(o, ", ".orValue(",
    ".startsWith(", ".matches('", "'", "\"", "\\", "`", "variables.v", "request.name", "namespaceObject",
    "params", "quantity(", "timestamp(", ".format([", "authorizer", "//", "\x00", "😀", "ip(", "string(",
    "dyn(", "optional.of(", "[1, 2]", "{'a': 1}", "google.protobuf.Timestamp",
]  # fmt: skip
OBJECT = {"a": [1, "s", None, {"a": True}], "k": {"a": 2.5}, "": []}


def attempt(text: str) -> None:
    try:
        unit = compile_unit([Expression(path="x", text=text)], params=True)
    except CompileErrors as failed:
        assert failed.errors
        for error in failed.errors:
            assert error.message
            if error.line:
                assert 0 <= error.column <= len(error.source) + 1  # 0: in front of everything
        return
    try:
        value = unit.start(Inputs(object=OBJECT, request={"name": "n"})).value(0)
    except NotComparable:
        return
    if not isinstance(value, EvalError):
        plain(encode(value))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_arbitrary_text(text: str) -> None:
    attempt(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
def test_arbitrary_fragments(text: str) -> None:
    attempt(text)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: f"({p[0]} && {p[1]})"),
        pair.map(lambda p: f"({p[0]} || {p[1]})"),
        pair.map(lambda p: f"({p[0]} == {p[1]})"),
        pair.map(lambda p: f"({p[0]} + {p[1]})"),
        pair.map(lambda p: f"({p[0]} < {p[1]})"),
        pair.map(lambda p: f"(dyn({p[0]}) ? {p[1]} : {p[1]})"),
        pair.map(lambda p: f"dyn({p[0]}).all(x, dyn(x == {p[1]}))"),
        pair.map(lambda p: f"dyn({p[0]}).exists(x, dyn({p[1]}))"),
        pair.map(lambda p: f"dyn({p[0]}).map(x, {p[1]})"),
        pair.map(lambda p: f"dyn({p[0]}).filter(x, dyn({p[1]}))"),
        pair.map(lambda p: f"[{p[0]}].exists_one(x, dyn({p[1]}))"),
        pair.map(lambda p: f"optional.of({p[0]}).optMap(o, {p[1]}).orValue({p[1]})"),
        inner.map(lambda p: f"dyn({p}).a"),
        inner.map(lambda p: f"has(dyn({p}).a)"),
        inner.map(lambda p: f"dyn({p})[0]"),
        inner.map(lambda p: f"{{'a': {p}}}"),
        inner.map(lambda p: f"string(dyn({p}))"),
        inner.map(lambda p: f"!dyn({p})"),
    )


EXPRESSIONS = st.recursive(
    st.sampled_from(
        ["object", "object.a", "object.k", "object.zz", "1", "dyn(2.5)", "'s'", "true", "false", "null", "[1]"]
    ),
    _grown,
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS)
def test_well_formed_expressions_and_both_forms(text: str) -> None:
    """An expression means the same whether or not an absorbing operator stands around it: `e || false`, `e && true`."""

    def value(made: str) -> Any:
        try:
            unit = compile_unit([Expression(path="x", text=made)])
        except CompileErrors:
            return None
        return unit.start(Inputs(object=OBJECT)).value(0)

    plainly = value(f"dyn({text}) == true")
    if plainly is None:
        return
    for wrapped in (
        f"(dyn({text}) == true) || false",
        f"(dyn({text}) == true) && true",
        f"[1].exists(y, dyn({text}) == true)",
    ):
        assert value(wrapped) == plainly
    assert value(f"(dyn({text}) == true) || true") is True
    assert value(f"[1, 2].all(y, y == 1 ? dyn({text}) == true : false)") is False


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS)
def test_the_metered_form_agrees(text: str) -> None:
    """Two generators, two ways to hold errors: one meaning."""
    try:
        fast = compile_unit([Expression(path="x", text=text)])
    except CompileErrors:
        return
    metered = compile_unit([Expression(path="x", text=text)], metered=True)
    one = fast.start(Inputs(object=OBJECT)).value(0)
    other, cost = metered.start(Inputs(object=OBJECT)).measure(0)
    assert cost >= 0
    if isinstance(one, EvalError) or isinstance(other, EvalError):
        assert one == other
    else:
        assert encode(one) == encode(other)


INT64 = st.integers(INT_MIN, INT_MAX)


@given(INT64, INT64)
def test_integer_division_is_exact(one: int, other: int) -> None:
    if other == 0 or (one, other) == (INT_MIN, -1):
        return
    quotient, rest = operators.divide_int(one, other), operators.modulo_int(one, other)
    assert quotient * other + rest == one
    assert abs(rest) < abs(other)
    assert rest == 0 or (rest < 0) == (one < 0)


@given(st.floats())
def test_double_texts_round_trip(value: float) -> None:
    text = double_text(value)
    found = double_of_string(text)
    assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.integers(INT_MIN // 10**3, INT_MAX // 10**3))
def test_durations_round_trip(ns: int) -> None:
    ns -= ns % 1000  # as a double of seconds, which is what the server prints, nanoseconds get lost in large ones
    found = duration_of_string(duration_text(Duration(ns))).ns
    assert abs(found - ns) <= 1 + abs(ns) * 2**-52


@given(st.integers(operators.TIMESTAMP_MIN, operators.TIMESTAMP_MAX), st.integers(-18 * 60, 18 * 60))
def test_timestamps_round_trip(ns: int, minutes: int) -> None:
    value = Timestamp(ns, minutes * 60)
    try:
        found = timestamp_of_string(timestamp_text(value))
    except CelError:
        return  # the offset moved it out of the years 1 to 9999
    assert (found.ns, found.offset) == (value.ns, value.offset)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=5,
)


@given(VALUES, VALUES)
def test_equality_is_an_equivalence(one: Any, other: Any) -> None:
    assert equals(one, one)
    assert equals(one, other) == equals(other, one)


@given(st.one_of(INT64, st.floats(allow_nan=False)), st.one_of(INT64, st.floats(allow_nan=False)))
def test_order_agrees_with_equality(one: float, other: float) -> None:
    assert compare(one, other, -2) == -compare(other, one, -2)
    assert (compare(one, other, -2) == 0) == equals(one, other)


@given(
    st.integers(-(10**20), 10**20), st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2"])
)
def test_the_text_of_a_sum_is_the_sum(number: int, suffix: str) -> None:
    value = quantity(f"{number}{suffix}")
    total = operators_sum(value)
    # The server has no suffix above E: 25000E, written so, prints as 25.
    assume(abs(total.exact) < 10**21 or suffix in ("e3", "E-2"))
    assert quantity(total.text()).exact == total.exact


def operators_sum(value: Any) -> Any:
    from webhook.cel.library.quantity import add

    return add(value, quantity("0"))
