"""What a view decodes, beside what the whole object has at its paths."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from webhook.paths import Below, Path
from webhook.view import USUAL, WHOLE, together, view_of

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "é"]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc*"), inner, max_size=4)),
    max_leaves=12,
)
paths = st.lists(st.sampled_from([*"abc*", Below.ELEMENT]), min_size=1, max_size=4).flatmap(
    lambda steps: st.sampled_from([tuple(steps), (*steps, Below.PRESENCE)])
)


def seen(value: Any, path: Path) -> Any:
    """What is at a path, in a form that shows the difference between what is not there and what is null."""
    if not path:
        return ("all", value)
    step, *rest = path
    if step is Below.PRESENCE:
        return ("there", type(value), len(value) if isinstance(value, list) else 0)
    if step is Below.ELEMENT:
        if not isinstance(value, list):
            return ("all", value)
        return ("each", [seen(each, tuple(rest)) for each in value])
    if not isinstance(value, dict):
        return ("all", value)
    return ("field", seen(value[step], tuple(rest))) if step in value else ("none",)


@given(values, st.frozensets(paths, min_size=1, max_size=5))
def test_at_its_paths_it_shows_what_is_there(value: Any, asked: frozenset[Path]) -> None:
    found = view_of(asked).decode(Raw(msgspec.json.encode(value)))
    for path in asked | USUAL:
        assert seen(found, path) == seen(value, path)


@given(values)
def test_who_asks_for_everything_sees_it(value: Any) -> None:
    assert WHOLE.decode(Raw(msgspec.json.encode(value))) == value
    assert view_of(frozenset([(), ("a",)])) is WHOLE


def test_what_nobody_asks_for_is_not_there() -> None:
    view = view_of(frozenset([("a", Below.ELEMENT, "b"), ("c", Below.PRESENCE), ("d", Below.ELEMENT, Below.PRESENCE)]))
    value = {"a": [{"b": {"x": 1}, "c": 2}, 3], "c": {"x": 1}, "d": [{"x": 1}, [], 1], "e": 1}
    shown = {"a": [{"b": {"x": 1}}, 3], "c": {}, "d": [{}, [], 1]}
    assert view.decode(Raw(msgspec.json.encode(value))) == shown


def test_together_they_see_what_each_sees() -> None:
    one, other = view_of(frozenset([("a", "b")])), view_of(frozenset([("a", "c"), ("d",)]))
    both = together([one, other])
    assert both.paths == one.paths | other.paths
    assert both.covers(one) and both.covers(other) and not one.covers(both)
    assert together([one]) is one
    assert together([one, WHOLE]) is WHOLE
    assert together([]) is WHOLE
    assert WHOLE.covers(one) and not one.covers(WHOLE)


def test_numbers_that_no_type_holds_are_read_all_the_same() -> None:
    view = view_of(frozenset([("a", "b")]))
    assert view.decode(Raw(b'{"a":{"b":1e308,"c":123456789012345678901234567890},"c":2}'))["a"]["b"] == 1e308


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":[}', b'{"a":tru}', b'{"b":tru}'])
def test_what_is_no_json_is_none(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        view_of(frozenset([("a", "b")])).decode(Raw(raw))


def test_the_last_of_two_fields_of_a_name_counts() -> None:
    raw = Raw(b'{"a":1,"metadata":{"name":"a","name":"b"},"a":{"b":2}}')
    assert view_of(frozenset([("a", "b")])).decode(raw) == WHOLE.decode(raw)


def test_equal_paths_are_one_view_however_many_others_there_are() -> None:
    view = view_of(frozenset([("spec", "a")]))
    others = [view_of(frozenset([("spec", str(number))])) for number in range(1000)]
    assert view_of(frozenset([("spec", "a")])) is view
    assert len({id(each) for each in [view, *others]}) == 1001
