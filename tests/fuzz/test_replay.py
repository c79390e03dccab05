"""The fuzzer's inputs again, without the fuzzer: what was found once stays repaired. `make fuzz` looks for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import INPUTS, expressions, found, words
from tests.fuzz.target import one


@pytest.mark.parametrize("path", sorted(INPUTS.iterdir()), ids=lambda path: path.name)
def test_inputs_that_were_found(path: Path) -> None:
    one(path.read_bytes())


def test_a_sample_of_what_a_fuzzer_found() -> None:
    inputs = found()
    assert len(inputs) > 300
    for data in inputs:
        try:
            one(data)
        except Exception as error:
            raise AssertionError(f"broken by {data!r}") from error


def test_what_the_fuzzer_starts_from() -> None:
    texts = list(expressions())
    assert len(texts) > 50
    for text in texts:
        one(b"\0" + text.encode())
    assert {"quantity", "matches", "&&"} <= set(words())


@pytest.mark.parametrize("cut", [3, 7])
def test_expressions_cut_in_the_middle(cut: int) -> None:
    """What people type before they are done, and the mistakes that come of it."""
    for text in list(expressions())[::5]:
        for end in range(1, len(text), max(1, len(text) // cut)):
            one(b"\1" + text[:end].encode())
            one(b"\0" + (text[:end] + text[end + 1 :]).encode())
