"""A search for needles says no only where a look at each text would."""

from __future__ import annotations

import pytest
import re2  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cel.outcomes import exactly, outcome
from webhook.cel.needles import literal_of
from webhook.cel.places import RUNS
from webhook.cel.unit import Expression, Inputs, compile_unit


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("(^|_)API_KEY$", "API_KEY"),
        ("^https?://", "http"),
        (r"^quay\.io/", "quay.io/"),
        ("ab+c", "ab"),
        ("a{2}b", "b"),
        ("x[a-z]*yz", "yz"),
        ("(abc)?d", "d"),
        (r"\bcat\b", "cat"),
        ("é+", "é"),
        ("a|bcd", ""),
        ("(?i)abc", ""),
        (r"\x{41}bc", ""),
        (r"\pLbc", ""),
        (r"\Qa*\E", ""),
        ("[[:alpha:]]bc", ""),
        ("[]a]bc", ""),
        ("a{,2}bc", ""),
        ("(abc", ""),
        ("", ""),
    ],
)
def test_what_every_match_holds(pattern: str, literal: str) -> None:
    assert literal_of(pattern) == literal


PIECES = (
    "a",
    "b",
    "ab",
    ".",
    "^",
    "$",
    "[ab]",
    "[^a]",
    "(",
    "(?:",
    ")",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{0,1}",
    r"\.",
    r"\b",
)


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.lists(st.text("ab.", max_size=6), max_size=20))
@settings(max_examples=500)
def test_no_match_is_without_it(pattern: str, texts: list[str]) -> None:
    literal = literal_of(pattern)
    if literal:
        assert [text for text in texts if re2.search(pattern, text) and literal not in text] == []


TESTS = (
    "{}.startsWith('x')",
    "{}.endsWith('y')",
    "{}.contains('xy')",
    "{}.matches('^k+x?$')",
    "{} == 'xy'",
    "'k' == {}",
    "{} in ['x', 'k']",
    "['x', 'k'].exists(r, {}.startsWith(r))",
    "!['y', 'k'].all(r, !{}.endsWith(r))",
    "{} in ['x', '']",
    "{}.startsWith('')",
    "{} == 1",
    "['x', 'k'].all(r, !{}.startsWith(r))",
)
WHERE = (
    ("object.s.l.all(f, {})", "f.a"),
    ("object.s.l.exists(f, !({}))", "f.a"),
    ("object.s.l.all(f, !({}))", "f.a"),
    ("!object.s.l.exists(f, {})", "f.a"),
    ("object.s.l.all(f, !has(f.m) || !({}))", "f.a"),
    ("object.s.l.all(f, !({}) || 1 / size(f.a) == 1)", "f.a"),
    ("object.s.l.all(f, !has(f.l) || f.l.all(g, !({})))", "g"),
)
UNSEARCHED = [form for form, _ in WHERE[:2]]
texts = st.text("xyk\0", max_size=3)
values = texts | st.sampled_from([1, None, True, "xy"])
elements = st.fixed_dictionaries({"a": texts}, optional={"m": st.none(), "l": st.lists(texts)}) | st.fixed_dictionaries(
    {}, optional={"a": values, "l": st.lists(values)}
)


@given(where=st.sampled_from(WHERE), held=st.lists(elements, max_size=4))
@settings(max_examples=300, deadline=None)
def test_who_searches_decides_as_who_looks_at_each(where: tuple[str, str], held: list[object]) -> None:
    form, subject = where
    asked = [form.replace("{}", test.replace("{}", subject)) for test in TESTS]
    unit = compile_unit([Expression(path="x", text=text) for text in (*asked[:1] * RUNS, *asked)])
    assert form in UNSEARCHED or "joined" in unit.source
    value = {"s": {"l": held}}
    together = unit.activation(Inputs(object=value))
    for text, call in zip(asked, unit.calls[RUNS:], strict=True):
        assert outcome(call, together) == exactly(text, value), unit.source
