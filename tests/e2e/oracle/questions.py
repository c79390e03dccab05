"""Questions by chance: an expression, an object of the corpus, and, now and then, variables and params."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.cel.decisions import Decisions
from tests.e2e.oracle.comparison import Question, compiles, parsed
from tests.e2e.oracle.expressions import Generator, Node, Variable
from webhook.cel.env import variable_type
from webhook.cel.types import BOOL, DYN, NULL, STRING, list_of, map_of, optional_of
from webhook.cel.unit import Returns

_RETURNS: Final[tuple[Returns, ...]] = ("any", "bool", "string", "audit")
_PARAMS: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "limits", "namespace": "default"},
    "data": {"max": "3", "allowed": "a,b", "pattern": "^[a-z]+$", "size": "1Gi"},
}
_CORNERS: Final = ("corner", "certificate", "destinationrule", "httproute", "kafkanodepool", "virtualservice")
"""Objects of custom resources: every kind of JSON value occurs."""


_DECISIONS: Final[tuple[Callable[[Node], tuple[str | Node, ...]], ...]] = (
    lambda node: ("true && (", node, ")"),
    lambda node: ("!(", node, ") || false"),
    lambda node: ("[object, 1].all(each, ", node, ")"),
    lambda node: ("object == null ? 1 == 1 : (", node, ")"),
)


class Held(NamedTuple):
    """An object of the corpus. `text` is its JSON as it is written: `1.0` is a double."""

    id: str
    value: dict[str, Any]
    text: str

    @property
    def custom(self) -> bool:
        return self.id.startswith(_CORNERS)


def objects(corpora: Path) -> list[Held]:
    """The objects of `k8s-cel/differential-objects.jsonl`."""
    found = []
    for line in (corpora / "k8s-cel" / "differential-objects.jsonl").read_text().splitlines():
        row = json.loads(line)
        text = line[line.index('"object":') + len('"object":') : line.rindex("}")]
        found.append(Held(row["id"], parsed(text), text))
    return found


def questions(seed: int, held: list[Held], *, typed: bool = False) -> Iterator[Question]:
    """Questions without end, the same for the same seed. With `typed` about built-in kinds as typed objects."""
    chance = random.Random(seed)  # noqa: S311
    custom = [each for each in held if each.custom]
    built_in = [each for each in held if not each.custom]
    while True:
        chosen = chance.choice(custom if not typed and chance.random() < 0.75 else built_in)
        usual = [Variable("object", DYN, (chosen.value,)), Variable("oldObject", DYN, (chosen.value,))]
        declared = chance.random() < 0.2
        params = _PARAMS if chance.random() < 0.8 else None
        if declared and params:
            usual.append(Variable("params", DYN, (params,)))
        named = _variables(chance, usual) if chance.random() < 0.04 else []
        # What it takes to make variables is paid once for several expressions.
        for _ in range(8 if named else 1):
            returns = chance.choices(_RETURNS, (14, 4, 1, 1))[0]
            decision = returns in ("any", "bool") and chance.random() < 0.25
            wanted = (
                BOOL
                if decision
                else {"bool": BOOL, "string": STRING, "audit": chance.choice((STRING, NULL))}.get(returns)
            )
            expression = Generator(chance, usual).expression(wanted)
            yield Question(
                # What decides is compiled directly (`direct.py`), also a call that alone would not be.
                Node(BOOL, chance.choice(_DECISIONS)(expression)) if decision else expression,
                chosen.text,
                returns,
                tuple(named),
                params,
                declared,
                chance.random() < 0.4,
                typed,
            )


def decisions(seed: int) -> Iterator[Question]:
    """Questions without end about decisions as policies make them (`tests/cel/decisions.py`)."""
    meta = {"apiVersion": "example.dev/v1", "kind": "Corner", "metadata": {"name": "c", "namespace": "d"}}
    for text, variables, inputs in Decisions(seed):
        named = tuple((each.name, each.text) for each in variables)
        for each in inputs[:2]:
            yield Question(Node(DYN, (text,)), json.dumps(meta | each.object), variables=named)


def _variables(chance: random.Random, usual: list[Variable]) -> list[tuple[str, str]]:
    """Variables of a policy, which compile; what they may be used as is added to `usual`."""
    named: list[tuple[str, str]] = []
    for name in ("items", "total", "last")[: chance.choice((1, 1, 2, 3))]:
        if chance.random() < 0.3:
            # Most variables of policies are names for a part of the object.
            text, value = Generator(chance, usual).path()
            named.append((name, text))
            usual.append(Variable(f"variables.{name}", DYN, (value,)))
            continue
        type = chance.choice((DYN, BOOL, STRING, list_of(DYN), optional_of(DYN), map_of(STRING, optional_of(DYN))))
        for _ in range(10):
            node = Generator(chance, usual).expression(type, chance.choice((1, 2, 3)))
            if compiles(str(node), named):
                named.append((name, str(node)))
                held = node.type if node.type.kind == "optional" else variable_type(node.type)
                usual.append(Variable(f"variables.{name}", held))
                break
    return named


_FIRST, *ANSWERS = map(json.loads, (Path(__file__).parents[2] / "cel" / "answers.jsonl").read_text().splitlines())
"""What the server said of expressions that we once got wrong."""


def kept(answer: dict[str, Any]) -> Question:
    """The question of one of the `ANSWERS`."""
    about = _FIRST[answer["of"]] if "of" in answer else {"object": _FIRST["object"]}
    return Question(
        Node(DYN, (answer["expression"],)),
        json.dumps(about["object"]),
        variables=tuple(answer.get("variables", {}).items()),
        typed="of" in answer,
        old=json.dumps(about["oldObject"]) if "oldObject" in about else "",
    )
