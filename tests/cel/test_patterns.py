"""Regular expressions remember what they said, within bounds, and say the same again."""

from __future__ import annotations

import re2  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from webhook.cel.patterns import Answers, Pattern


def test_answers_are_remembered_within_one_bound_for_all_patterns() -> None:
    answers = Answers(room=3)
    one, other = answers.table(lambda text: True), answers.table(lambda text: False)
    assert [one["a"], one["b"], other["c"]] == [True, True, False]
    assert (one, other) == ({"a": True, "b": True}, {"c": False})
    assert other["d"] is False
    assert (one, other) == ({}, {"d": False})


def test_a_long_text_is_answered_and_forgotten() -> None:
    table = Answers(room=3).table(lambda text: True)
    assert table["x" * 1_000]
    assert table == {}


@given(st.lists(st.text(max_size=5), max_size=20))
def test_a_remembered_answer_is_the_answer(texts: list[str]) -> None:
    pattern = Pattern("^a?b*$")
    expected = [bool(re2.search("^a?b*$", text)) for text in texts]
    assert [pattern.search(text) for text in texts] == expected
    assert [pattern.search(text) for text in texts] == expected
