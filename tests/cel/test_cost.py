"""Cost: the metered form counts the API server's units, one by one, and gives the fast form's results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webhook.cel.unit import EvalError, Expression, Inputs, Variable, compile_unit

FLOORS = {"cost": 817, "differential": 1_487, "specification": 1_312}
"""Rows that pass at least."""

KNOWN = {
    "specification": {
        "macros2/exists/map_key": "the engine's order of a map's keys is random, and so is the cost of an early exit",
    },
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", FLOORS)
def test_costs(name: str, measure_vectors: Callable[[str], Any]) -> None:
    report = measure_vectors(name)
    unexpected = {id: text for id, text in report.wrong.items() if id not in KNOWN.get(name, {})}
    assert not unexpected, "\n".join(f"{id}: {text}" for id, text in unexpected.items())
    assert set(report.wrong) == set(KNOWN.get(name, {})), "a known difference is gone: take it off the list"
    assert report.passed >= FLOORS[name]


def measure(text: str, object: Any = None, **variables: str) -> tuple[Any, int]:
    unit = compile_unit(
        [Expression(path="x", text=text)],
        variables=[Variable(name=name, path=name, text=expression) for name, expression in variables.items()],
        metered=True,
    )
    return unit.start(Inputs(object=object)).measure(0)


def test_a_variable_is_charged_once() -> None:
    assert measure("variables.v + variables.v", {"a": 1}, v="object.a + 1") == (4, 3 + 2 + 2 + 1)
    assert measure("true || variables.v > 1", {"a": 1}, v="object.a + 1") == (True, 0)


@pytest.mark.parametrize(
    "text",
    [
        "object.all(x, object.all(y, object.all(z, x + y + z >= 0)))",
        "object.map(x, object.map(y, object)).size() > 0 || true",
        "object.distinct().size() == object.distinct().size()",
    ],
)
def test_the_limit_ends_an_expression_and_is_not_absorbed(text: str) -> None:
    value, cost = measure(text, [*range(600)])
    assert value == EvalError("operation cancelled: actual cost limit exceeded")
    assert cost > 1_000_000


def test_the_limit_ends_what_doubles_with_each_step() -> None:
    """The target of `optMap` is evaluated twice, as on the server: forty in a row would never end."""
    chain = "object.?a" + "".join(f".optMap(v{each}, v{each} + 1)" for each in range(40))
    value, cost = measure(f"{chain}.hasValue()", {"a": 1})
    assert value == EvalError("operation cancelled: actual cost limit exceeded")
    assert 1_000_000 < cost < 1_001_000


def test_the_limit_of_a_variable_is_its_own() -> None:
    value, _ = measure("variables.v", [*range(1200)], v="object.distinct()")
    assert value == EvalError(
        'composited variable "v" fails to evaluate: operation cancelled: actual cost limit exceeded'
    )
