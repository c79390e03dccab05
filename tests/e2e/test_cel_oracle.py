"""Our CEL beside the API server's own code: stored answers, expressions by chance, and the shipped policies' cases.

The oracle is the applet `celeval` of the control-plane binary. `WOULDBLOCK_ORACLE_EXPRESSIONS` says how many
expressions are tried, `WOULDBLOCK_ORACLE_SEED` which ones.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.oracle import comparison
from tests.e2e.oracle.comparison import AGREE, REFUSED, Difference, Question, canonical, compare, difference, smallest
from tests.e2e.oracle.expressions import Generator, Variable
from tests.e2e.oracle.process import Oracle
from tests.e2e.oracle.questions import ANSWERS, Held, decisions, kept, objects, questions
from tests.e2e.oracle.shapes import Shapes
from webhook.cel.types import DYN, INT

EXPRESSIONS = int(os.environ.get("WOULDBLOCK_ORACLE_EXPRESSIONS", "20000"))
SEED = int(os.environ.get("WOULDBLOCK_ORACLE_SEED", "20261125"))
BATCH = 500
SHOWN = 12
"""As many differences are made small and shown."""

TOLERATED: dict[str, float] = {
    "value for error": 0.1,
    "error text": 0.1,
}
"""By kind: as many differences in 10,000 expressions are known, of any other kind none; in 20,000 they are none. Known
are:

* value for error: a step from an optional that stands in a map or list of which nothing is known but `dyn`; bytes that
  are looked for in a map which only one branch of a choice makes
* error text: a list that the expression makes of lists and maps is shown as a list of JSON is; what costs more than can
  be counted
"""


@pytest.fixture(scope="session")
def held(corpora: Path) -> list[Held]:
    return objects(corpora)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The oracle itself: it gives back what the engine said when the corpora were made.


def test_it_gives_back_the_stored_answers(oracle: Oracle, corpora: Path, held: list[Held]) -> None:
    texts = {each.id: each.text for each in held}
    rows = _rows(corpora / "k8s-cel" / "differential.jsonl")
    unequal = []
    for row, said in zip(rows, oracle.ask([_stored(row, texts) for row in rows]), strict=True):
        same = all(
            canonical(said.get(key)) == canonical(row.get(key)) for key in ("value", "error", "compile_errors", "cost")
        )
        if not same and not _varies(oracle, row, _stored(row, texts)):
            unequal.append(f"{row}\n  said {said}")
    assert len(rows) > 1_900
    assert not unequal, "\n".join(unequal)


def _stored(row: dict[str, Any], texts: dict[str, str]) -> str:
    bound = {"oldObject" if row.get("delete") else "object": row["obj"]}
    if "old" in row:
        bound["oldObject"] = row["old"]
    if "ns" in row:
        bound["namespaceObject"] = row["ns"]
    asked = {"id": row["id"], "expression": row["expr"], "return": row.get("return", "any")}
    asked["variables"] = row.get("vars", [])
    if "params" in row:
        bound["params"] = row["params"]
    written = [f", {json.dumps(name)}: {texts.get(id, 'null')}" for name, id in bound.items()]
    return json.dumps(asked)[:-1] + "".join(written) + "}"


def _varies(oracle: Oracle, row: dict[str, Any], question: str) -> bool:
    """Whether the cost is now this, now that: maps have no order in Go, and a loop over one ends early."""
    return row.get("cost") in {said.get("cost") for said in oracle.ask([question] * 40)}


def test_it_gives_back_the_stored_costs(oracle: Oracle, corpora: Path) -> None:
    data = (corpora / "k8s-cel" / "cost-data.json").read_text().replace("\n", " ")
    rows = [row for row in _rows(corpora / "k8s-cel" / "cost.jsonl") if "k8s_cost" in row]
    asked = [
        json.dumps({"expression": row["expr"]})[:-1] + (f', "object": {data}}}' if row.get("data") else "}")
        for row in rows
    ]
    unequal = [
        f"{row}\n  said {said}"
        for row, said in zip(rows, oracle.ask(asked), strict=True)
        if said.get("cost") != row["k8s_cost"] or ("error" in row and said.get("error") != row["error"])
    ]
    assert len(rows) > 800
    assert not unequal, "\n".join(unequal)


def test_it_gives_back_the_kept_answers(oracle: Oracle) -> None:
    answers = oracle.ask([kept(each).asked() for each in ANSWERS])
    unequal = [
        f"{answer}\n  said {said}"
        for answer, said in zip(ANSWERS, answers, strict=True)
        if difference(answer["answer"], said) != AGREE
    ]
    assert len(ANSWERS) > 200
    assert not unequal, "\n".join(unequal)


MANY_PARAMS = ("params selector, two", "params empty selector", "auditAnnotations: two bindings, two params")
"""Which of several params comes first is not specified."""
DETAIL_OF_ANOTHER = {
    "cluster scoped: namespaceObject null": "what is stored of each expression was made with a namespace",
    "Namespace object": "as before",
    "params selector, none, Deny": "what is stored of each expression was made with a param that no binding selects",
    "params selector, none, Allow": "as before",
    "params other namespace": "as before",
    "params none": "as before",
}
"""What the server does is the same; what each expression comes to is not what the server would see."""


def test_it_gives_back_the_stored_policies(oracle: Oracle, corpora: Path, held: list[Held]) -> None:
    first, *rows = _rows(corpora / "k8s-cel" / "vap.jsonl")
    # Ten million units of cost take seconds each.
    rows = [row for row in rows if "budget" not in row["name"] and "cost" not in row["name"]]
    known = {each.id: each.value for each in held} | first["objects"]

    def resolved(value: Any) -> Any:
        return known[value] if isinstance(value, str) else value

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {key: row[key] for key in ("policy", "bindings", "subresource") if key in row}
        given |= {key: resolved(row[key]) for key in ("object", "oldObject") if key in row}
        given["namespaceObject"] = resolved(row.get("namespaceObject", "ns"))
        return given | {"params": [resolved(each) for each in row.get("params", [])]}

    unequal = []
    for row, said in zip(rows, oracle.ask(map(asked, rows)), strict=True):
        expected = {**row["result"], **({"invalid": row["invalid"]} if "invalid" in row else {})}
        said.pop("id", None)
        if row["name"] in DETAIL_OF_ANOTHER or row["name"] in MANY_PARAMS:
            for each in (said, expected):
                each.pop("decisions", None)
                each.pop("auditAnnotations", None)
        if row["name"] in MANY_PARAMS:
            for each in (said, expected):
                each.pop("status", None)
                each["warnings"] = sorted(each.get("warnings", []))
                values = each.get("annotations", {})
                each["annotations"] = {key: sorted(values[key].split(", ")) for key in values}
        if said != expected:
            unequal.append(f"{row['name']}\n  said {said}\n  not  {expected}")
    assert len(rows) > 250
    assert not unequal, "\n".join(unequal)


# Our compiler


def _agreement(oracle: Oracle, asked: Iterator[Question], number: int) -> tuple[Counter[str], list[Difference]]:
    kinds: Counter[str] = Counter()
    found: list[Difference] = []
    while kinds.total() < number:
        batch = list(itertools.islice(asked, min(BATCH, number - kinds.total())))
        for kind, each in compare(oracle, batch):
            kinds[kind] += 1
            if each is not None:
                found.append(each)
    return kinds, found


def _check(oracle: Oracle, kinds: Counter[str], found: list[Difference]) -> None:
    """Fails when there are more differences of a kind than are known, with small examples of each sort."""
    number = kinds.total()
    wrong = Counter(each.kind for each in found)
    many = {kind for kind, count in wrong.items() if count > TOLERATED.get(kind, 0) * (number + 5_000) / 10_000}
    if many:
        alike = {each.signature: each for each in reversed(found) if each.kind in many}
        shown = {str(smallest(oracle, each)): None for each in list(alike.values())[:SHOWN]}
        pytest.fail("\n".join((f"{dict(kinds)}: too many {sorted(many)}; {len(alike)} sorts, such as:", *shown)))
    assert kinds[REFUSED] <= 0.001 * number, f"{kinds}: too many were refused to say anything"


def test_expressions_come_to_the_same(
    oracle: Oracle, held: list[Held], record_property: Callable[[str, object], None]
) -> None:
    kinds, found = _agreement(oracle, questions(SEED, held), EXPRESSIONS)
    record_property("kinds", dict(kinds))
    _check(oracle, kinds, found)


def test_decisions_come_to_the_same(oracle: Oracle) -> None:
    kinds, found = _agreement(oracle, decisions(SEED), EXPRESSIONS // 5)
    # A variable that does not compile is nothing that both could be asked about.
    _check(oracle, Counter({kind: count for kind, count in kinds.items() if kind != REFUSED}), found)


def test_what_policies_say_comes_to_the_same(oracle: Oracle) -> None:
    kinds, found = _agreement(oracle, iter(Shapes(SEED)), EXPRESSIONS // 5)
    _check(oracle, kinds, found)


def test_objects_of_built_in_kinds_come_to_the_same(oracle: Oracle, held: list[Held]) -> None:
    kinds, found = _agreement(oracle, questions(SEED + 1, held, typed=True), EXPRESSIONS // 10)
    # Few are left that come of Go's types: the way to a value cannot always be followed (`origin.py`), their names in
    # error texts, and what a list or map that an expression makes of them is compared with.
    assert len(found) <= 3 + 0.001 * kinds.total()
    again = compare(oracle, [each.question._replace(typed=False) for each in found])
    _check(oracle, kinds, [each for each, (_, still) in zip(found, again, strict=True) if still is not None])


# The comparison itself


def test_a_wrong_answer_is_found_and_made_small(
    oracle: Oracle, held: list[Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = comparison.ours

    def lying(question: Question) -> dict[str, Any]:
        answer = honest(question)
        return {"value": {"string": "a lie"}} if "value" in answer and "dyn(" in str(question.expression) else answer

    monkeypatch.setattr(comparison, "ours", lying)
    kinds, found = _agreement(oracle, questions(SEED, held), 1_500)
    lies = [each for each in found if each.kind == "value" and each.ours == {"value": {"string": "a lie"}}]
    assert lies, kinds
    small = str(smallest(oracle, lies[0]).question.expression)
    assert "dyn(" in small and len(small) <= 20


def test_what_is_refused_here_is_not_agreement() -> None:
    refused = {"compile_errors": ["1:1: optional.of is not supported yet"]}
    assert comparison.difference(refused, {"compile_errors": ["1:1: undeclared reference"]}) == REFUSED
    assert comparison.difference({"value": {"int": "1"}}, {"value": {"uint": "1"}}) == "value"
    assert comparison.difference({"value": {"int": "1"}}, {"error": "no such key: a"}) == "value for error"
    assert comparison.difference({"error": "no such key: b"}, {"error": "no such key: a"}) == "error text"


def test_a_crash_is_no_excuse() -> None:
    caught = {"error": "internal error: interface conversion: types.Int is not traits.Lister"}
    assert comparison.difference({"value": {"bool": True}}, caught) == "value for error"
    assert comparison.difference({"error": "no such overload"}, caught) == comparison.CRASH
    assert comparison.difference({**caught, "cost": 2}, {**caught, "cost": 1}) == "cost"
    assert comparison.difference({"error": "a"}, {"panic": "b"}) == comparison.PANIC


def test_the_same_seed_writes_the_same() -> None:
    def written() -> list[str]:
        chance = random.Random(7)  # noqa: S311
        generator = Generator(chance, [Variable("object", DYN, ({"spec": {"replicas": 2}},))])
        return [str(generator.expression(INT)) for _ in range(50)]

    assert written() == written()
    assert len(set(written())) > 20
