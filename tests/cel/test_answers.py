"""Answers that the API server's own code gave, one a kind of mistake that we once made: value, error, cost, complaint.

`answers.jsonl` holds the object in its first line, then expressions with what the server said of them.
`tests/e2e/test_cel_oracle.py` asks the server again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.oracle.comparison import AGREE, Question, difference, ours
from tests.e2e.oracle.expressions import Node
from webhook.cel.types import DYN

FIRST, *ANSWERS = map(json.loads, Path(__file__).with_name("answers.jsonl").read_text().splitlines())


@pytest.mark.parametrize("kept", ANSWERS, ids=lambda kept: kept["expression"])
def test_it_says_what_the_server_says(kept: dict[str, Any]) -> None:
    question = Question(Node(DYN, (kept["expression"],)), json.dumps(FIRST["object"]))
    found = ours(question)
    assert difference(found, kept["answer"]) == AGREE, f"{found}\nnot {kept['answer']}"
