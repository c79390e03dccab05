"""The trace form means what the compiled forms mean, and its texts are the expressions' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.cel.conftest import FILES, Case, canonical
from tests.cel.test_properties import EXPRESSIONS, OBJECT
from tests.fuzz.seeds import expressions
from webhook.cel.diagnostics import Failed
from webhook.cel.metering import Failure
from webhook.cel.parser import parse
from webhook.cel.tagged import encode
from webhook.cel.trace import Step
from webhook.cel.trace_unit import TraceUnit
from webhook.cel.tree import Node
from webhook.cel.unit import CompileErrors, EvalError, Expression, Inputs, Variable, compile_unit
from webhook.cel.unparse import unparse
from webhook.errors import NeedsState, NotComparable


def tracing(case: Case) -> TraceUnit:
    return TraceUnit(
        [Expression(path="expression", text=case.text, returns=case.returns, authorizer=case.authorizer)],
        variables=[Variable(name=each["name"], path="v", text=each["expression"]) for each in case.variables],
        params=case.params_declared,
        declared=case.declared,
    )


def traced(unit: TraceUnit, inputs: Inputs) -> Any:
    try:
        value = unit.start(inputs).trace(0).value
    except (NotComparable, NeedsState) as error:
        return {"none": str(error)}
    return {"error": value.text} if value.__class__ is Failure else canonical(encode(value))


def compiled(unit: Any, inputs: Inputs) -> Any:
    try:
        value = unit.start(inputs).value(0)
    except (NotComparable, NeedsState) as error:
        return {"none": str(error)}
    return {"error": value.text} if isinstance(value, EvalError) else canonical(encode(value))


@pytest.mark.corpus
@pytest.mark.parametrize("name", FILES)
def test_the_corpora_by_the_trace_form(name: str, corpora: Path) -> None:
    seen = 0
    for _, case, _, _ in FILES[name](corpora):
        unit = case.compile()
        if isinstance(unit, list):
            continue
        assert traced(tracing(case), case.inputs) == compiled(unit, case.inputs), case.text
        seen += 1
    assert seen > 40


@settings(max_examples=300)
@given(EXPRESSIONS)
def test_generated_expressions_by_the_trace_form(text: str) -> None:
    try:
        unit = compile_unit([Expression(path="x", text=text)])
    except CompileErrors:
        return
    inputs = Inputs(object=OBJECT)
    assert traced(TraceUnit([Expression(path="x", text=text)]), inputs) == compiled(unit, inputs)


def same(one: Node, other: Node) -> bool:
    """Equal but for places and numbers of nodes."""
    return repr(_shape(one)) == repr(_shape(other))


def _shape(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        parts = msgspec.structs.asdict(value).items()
        return (value.__class__.__name__, [(name, _shape(part)) for name, part in parts if name not in ("id", "at")])
    return [_shape(each) for each in value] if isinstance(value, tuple) else value


def texts(folder: Path) -> Iterator[str]:
    for name in FILES:
        for _, case, _, _ in FILES[name](folder):
            yield case.text


@pytest.mark.corpus
def test_a_tree_as_text_is_the_same_tree(corpora: Path) -> None:
    seen = 0
    for text in [*expressions(), *texts(corpora)]:
        try:
            tree = parse(text)
        except Failed:
            continue
        if "Message(" in repr(tree):
            continue
        assert same(parse(unparse(tree)), tree), (text, unparse(tree))
        seen += 1
    assert seen > 1_000


@settings(max_examples=300)
@given(EXPRESSIONS)
def test_generated_trees_as_text(text: str) -> None:
    tree = parse(text)
    assert same(parse(unparse(tree)), tree)


def test_a_variable_is_traced_once_and_named() -> None:
    unit = TraceUnit(
        [Expression(path="x", text="variables.a > 1 && variables.a < 3")],
        variables=[Variable(name="a", path="a", text="object.k + 1.0"), Variable(name="b", path="b", text="1 / 0")],
    )
    run = unit.start(Inputs(object={"k": 1.5}))
    step = run.trace(0)
    assert step.value is True
    assert list(run.variables) == ["a"]
    assert step.steps[0].steps[0].variable == "a"


def test_what_was_not_evaluated_is_said() -> None:
    step = one("object.a || object.b.c || true", {"a": True})
    assert [unparse(node) for node in step.skipped] == ["object.b.c", "true"]


def test_a_loop_goes_as_far_as_it_went() -> None:
    step = one("object.a.all(x, x < 3)", {"a": [1, 2, 3, 4]})
    assert step.value is False
    assert [dict(turn.names)["x"] for turn in step.turns] == [1, 2, 3]
    assert [turn.steps[0].value for turn in step.turns] == [True, True, False]


def one(text: str, object: Any) -> Step:
    return TraceUnit([Expression(path="x", text=text)]).start(Inputs(object=object)).trace(0)
