"""Expressions as policies have them, over objects as clusters have them in which something is missing or different.

`shapes.json` holds the objects, what may stand where a part of one was, the variables and params, and the templates: a
name in `<>` is one of the slot's texts, `<decision>` another template that decides something.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.e2e.oracle.comparison import Question
from tests.e2e.oracle.expressions import Node
from webhook.cel.types import DYN

_SHAPES: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "shapes.json").read_text())
_SLOT: Final = re.compile(r"<([a-z]+)>")
_DECIDING: Final = (".all(", ".exists", "==", "!=", ">=", "<=", " in ", "has(")
_DECISIONS: Final = [text for text in _SHAPES["templates"] if any(sign in text for sign in _DECIDING)]
_EACH: Final = 6
"""Expressions about one object."""


class Shapes:
    """Writes questions from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._choice: Any = self._random.choice

    def __iter__(self) -> Iterator[Question]:
        while True:
            held = json.dumps(self.object())
            for _ in range(_EACH):
                text = self.expression()
                named = "variables." in text or self._random.random() < 0.1
                yield Question(
                    Node(DYN, (text,)),
                    held,
                    "string" if self._random.random() < 0.1 else "any",
                    tuple(_SHAPES["variables"].items()) if named else (),
                    _SHAPES["params"] if self._random.random() < 0.8 else None,
                    "params" in text or self._random.random() < 0.2,
                )

    def expression(self) -> str:
        text = self.filled(self._choice(_SHAPES["templates"]))
        if self._random.random() < 0.3:
            text = f"({text}){self.filled(self._choice((' == <any>', ' || <decision>', ' && <decision>')))}"
        return text

    def filled(self, template: str, depth: int = 2) -> str:
        def one(match: re.Match[str]) -> str:
            if match[1] != "decision":
                return str(self._choice(_SHAPES["slots"][match[1]]))
            return f"({self.filled(self._choice(_DECISIONS), depth - 1)})" if depth else "true"

        return _SLOT.sub(one, template)

    def object(self) -> dict[str, Any]:
        """One of the objects, with up to four changes below `spec` or what it has in its place, or in its metadata."""
        made: dict[str, Any] = copy.deepcopy(self._choice(_SHAPES["objects"]))
        for _ in range(self._choice((0, 0, 1, 1, 2, 4))):
            self.change(made[self._choice([key for key in made if key not in ("apiVersion", "kind", "metadata")])])
        for texts in (made["metadata"]["labels"], made["metadata"]["annotations"]):
            if self._random.random() < 0.3:
                del texts[self._choice(list(texts))]
        return made

    def change(self, held: Any) -> None:
        """Takes something out of what is held, at some depth, or puts something else there."""
        if not held or not isinstance(held, dict | list):
            return
        key = self._choice(list(held)) if isinstance(held, dict) else self._random.randrange(len(held))
        if isinstance(held[key], dict | list) and held[key] and self._random.random() < 0.8:
            self.change(held[key])
        elif self._random.random() < 0.5:
            del held[key]
        else:
            held[key] = copy.deepcopy(self._choice(_SHAPES["others"]))
