"""What expressions ask of the objects."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.e2e.oracle.comparison import Question, ours
from tests.e2e.oracle.questions import decisions, objects, questions
from tests.e2e.oracle.shapes import Shapes
from webhook.cel.share import Shared
from webhook.cel.unit import Expression, Unit, Variable, compile_unit
from webhook.paths import Below

NUMBER = 600
"""Expressions of each sort; the oracle's tests ask the API server about many more, seen as here."""

TEXTS = {
    "true": "",
    "object == oldObject": "all",
    "object.spec.replicas > 1": "spec.replicas",
    "object.spec.template.spec.containers.all(c, c.name != '')": "spec.template.spec.containers.*.name",
    "has(object.metadata.labels) && has(oldObject.spec)": "metadata.labels? spec?",
    "object.?metadata.?labels.orValue({}).size() == 0": "metadata.labels.*?",
    "object['metadata'].name == 'x'": "metadata.name",
    "object.metadata['name'] == 'x'": "metadata.name",
    "object.metadata.exists(k, k == 'managedFields')": "metadata.*",
    "object.metadata.exists(k, true)": "metadata.*?",
    "dyn(object).metadata.name == 'x'": "metadata.name",
    "[object].all(o, o.metadata.name == 'x')": "all",
    "[1].all(object, object == 1)": "",
    "request.name == object.metadata.name": "metadata.name",
    "(has(object.a) ? object.a.b : object.c).d": "a.b.d c.d",
    "'x' in object.m && object.l[0].n == object.m[object.k]": "k l.*.n m",
    "object.k in object.m": "k m",
    "object.a.filter(x, x.b == 1).map(x, x.c).size() == 0": "a.*.b a.*.c",
    "(object.a + object.b).exists(x, has(x.c))": "a.*.c? b.*.c?",
    "object.a[?0].?b.optMap(x, x.c).orValue(0) == 0": "a.*.b.c",
    "object.a.first().?b.hasValue()": "a.*.b?",
    "optional.ofNonZeroValue(object.a).orValue([]).all(x, x.b > 0)": "a.*.b",
    "object.a.sortBy(x, x.b)[0].c == 1": "a.*.b a.*.c",
    "object.a.all(k, v, v.b == k)": "a.*.b",
    "object.a.transformMap(k, v, v.b) == {}": "a.*.b",
    "string(object.a.b) == ''": "a.b",
    "[1].all(x, object.a.all(x, x.b)) && [object.a].all(x, x.b)": "a",
}


def written(unit: Unit) -> str:
    """The paths of a unit but for what others imply: `*` is each element, `?` whether it is there."""
    if () in unit.reads:
        return "all"
    marks = {Below.ELEMENT: ".*", Below.PRESENCE: "?"}
    paths = ["".join(marks[step] if isinstance(step, Below) else f".{step}" for step in path) for path in unit.reads]
    bare = [path.rstrip("?") for path in paths]

    def implied(path: str) -> bool:
        above = any(path.startswith((f"{other}.", f"{other}?")) for other in paths)
        return above or (path.endswith("?") and any(other.startswith(f"{path[:-1]}.") for other in bare))

    return " ".join(sorted(path.removeprefix(".") for path in paths if not implied(path)))


@pytest.mark.parametrize("text", TEXTS)
def test_paths(text: str) -> None:
    assert written(compile_unit([Expression(path="x", text=text)])) == TEXTS[text]


def test_of_variables_what_is_asked_of_their_values() -> None:
    shared = Shared()
    for _ in range(2):  # whoever compiled them first
        unit = compile_unit(
            [Expression(path="x", text="variables.two.c == 1 && variables.three == 1")],
            variables=[
                Variable(name="one", path="v", text="object.a.b"),
                Variable(name="two", path="v", text="has(object.d) ? object.d : variables.one"),
                Variable(name="three", path="v", text="object.e.size()"),
                Variable(name="four", path="v", text="object.f"),
            ],
            shared=shared,
        )
        assert written(unit) == "a.b.c d.c e.*? f?"


def test_who_asks_for_all_variables_asks_for_all_that_they_stand_for() -> None:
    variables = [Variable(name="one", path="v", text="object.a")]
    unit = compile_unit([Expression(path="x", text="dyn(variables).one == 1")], variables=variables)
    assert written(unit) == "a"


@pytest.mark.parametrize("sort", ["any", "decisions", "policies"])
def test_what_is_not_asked_for_changes_nothing(sort: str, corpora: Path) -> None:
    """Not the value, not the error, not the cost."""
    asked = {
        "any": lambda: questions(7, objects(corpora)),
        "decisions": lambda: decisions(7),
        "policies": lambda: iter(Shapes(7)),
    }[sort]()

    def same(question: Question) -> bool:
        return ours(question) == ours(question, whole=True)

    assert [each for each in itertools.islice(asked, NUMBER) if not same(each)] == []
