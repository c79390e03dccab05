"""Answers that the API server's own code gave, one a kind of mistake that we once made: value, error, cost, complaint.

`answers.jsonl` holds the object in its first line, then expressions with what the server said of them.
`tests/e2e/test_cel_oracle.py` asks the server again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.oracle.comparison import AGREE, difference, ours
from tests.e2e.oracle.questions import ANSWERS, kept


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["expression"])
def test_it_says_what_the_server_says(answer: dict[str, Any]) -> None:
    found = ours(kept(answer))
    assert difference(found, answer["answer"]) == AGREE, f"{found}\nnot {json.dumps(answer['answer'])}"
