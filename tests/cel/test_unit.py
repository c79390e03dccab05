"""Units: shared variables, what a webhook cannot know, deadlines, release of memory."""

from __future__ import annotations

import gc
import linecache
import weakref
from typing import Any

import pytest

from webhook.cel.unit import MISSING, EvalError, Expression, Inputs, Missing, Unit, Variable, compile_unit
from webhook.errors import DeadlineExceeded, NeedsState, NotComparable


def unit_of(*texts: str, variables: dict[str, str] | None = None, params: bool = False) -> Unit:
    return compile_unit(
        [Expression(path=f"e{at}", text=text) for at, text in enumerate(texts)],
        variables=[Variable(name=name, path=name, text=text) for name, text in (variables or {}).items()],
        params=params,
    )


def test_variables_are_computed_once_and_only_when_asked_for() -> None:
    class Counted(dict[str, Any]):
        reads = 0

        def __getitem__(self, key: str) -> Any:
            self.reads += 1
            return super().__getitem__(key)

    unit = unit_of(
        "variables.a + variables.b", "variables.a", "1", variables={"a": "object.x + 0", "b": "variables.a * 2"}
    )
    seen = Counted(x=4)
    evaluation = unit.start(Inputs(object=seen))
    assert evaluation.value(2) == 1
    assert seen.reads == 0
    assert evaluation.value(0) == 12
    assert evaluation.value(1) == 4
    assert seen.reads == 1
    evaluation.forget_variables()
    assert evaluation.value(1) == 4
    assert seen.reads == 2


def test_an_error_of_a_variable_is_remembered_and_named() -> None:
    unit = unit_of(
        "variables.a",
        "has(variables.a)",
        "true || variables.b",
        "variables.b",
        "variables.a == 1 || true",
        variables={"a": "object.nope", "b": "variables.a > 1"},
    )
    evaluation = unit.start(Inputs(object={}))
    text = 'composited variable "a" fails to evaluate: no such key: nope'
    assert evaluation.value(0) == EvalError(text)
    assert evaluation.value(0) == EvalError(text)
    assert evaluation.value(1) == EvalError(text)
    assert evaluation.value(2) is True
    assert evaluation.value(3) == EvalError(f'composited variable "b" fails to evaluate: {text}')
    assert evaluation.value(4) is True


def test_the_authorizer_has_no_answer_and_is_not_absorbed() -> None:
    unit = unit_of(
        "true || authorizer.path('/').check('get').allowed()", "authorizer.path('/').check('get').allowed() || true"
    )
    evaluation = unit.start(Inputs())
    assert evaluation.value(0) is True
    with pytest.raises(NotComparable):
        evaluation.value(1)


@pytest.mark.parametrize(
    ("held", "what"), [(MISSING, "namespace of this request"), (Missing("Namespace shop"), "Namespace shop")]
)
def test_a_missing_namespace_is_named_when_it_is_looked_at(held: Missing, what: str) -> None:
    unit = unit_of("namespaceObject.metadata.name == 'a' || true", "object == null", "namespaceObject == null")
    evaluation = unit.start(Inputs(namespace_object=held))
    assert evaluation.value(1) is True
    for position in (0, 2):
        with pytest.raises(NeedsState, match=what):
            evaluation.value(position)


def test_params_are_declared_on_request() -> None:
    unit = unit_of("params.max > object.n", params=True)
    assert unit.start(Inputs(object={"n": 1}, params={"max": 2})).value(0) is True
    assert unit.start(Inputs(object={"n": 1})).value(0) == EvalError("no such key: max")


@pytest.mark.parametrize(
    "text",
    [
        "object.all(x, object.all(y, x + y >= 0))",
        "object.map(x, object.filter(y, y == x)).size() > 0",
        "lists.range(1000000).all(x, x >= 0)",
        "object.exists(x, object.exists_one(y, y == x && x < 0))",
    ],
)
def test_the_deadline_is_looked_at_inside_loops(text: str) -> None:
    class Clock:
        looks = 0

        def __call__(self) -> None:
            self.looks += 1
            if self.looks > 5:
                raise DeadlineExceeded

    clock = Clock()
    with pytest.raises(DeadlineExceeded):
        unit_of(text).start(Inputs(object=list(range(400)), check_deadline=clock)).value(0)
    assert clock.looks == 6


def test_the_code_of_a_unit_is_freed_with_it() -> None:
    """A frozen heap is not collected: a replaced policy set must hold itself by no cycle."""
    unit = unit_of("object.a.all(x, x > 1 && x.y.z == 7)", variables={"v": "object"})
    unit.start(Inputs(object={"a": [{}]})).value(0)
    call, code = weakref.ref(unit.calls[0]), weakref.ref(unit.calls[0].__code__)
    shown = unit.calls[0].__code__.co_filename
    assert shown in linecache.cache
    gc.disable()
    try:
        del unit
        assert call() is None and code() is None, "a cycle keeps the generated code"
        assert shown not in linecache.cache
    finally:
        gc.enable()


def test_inputs_are_not_changed() -> None:
    held = {"l": [3, 1, 2], "m": {"a": 1}}
    unit = unit_of(
        "object.l.sort() + object.l.map(x, x) + [1]", "object.m.transformMap(k, v, v + 1)", "[[dyn(1)], [object.l]]"
    )
    evaluation = unit.start(Inputs(object=held))
    for position in range(3):
        evaluation.value(position)
    assert held == {"l": [3, 1, 2], "m": {"a": 1}}
    constant = unit_of("[1, 2]")
    first = constant.start(Inputs()).value(0)
    assert constant.start(Inputs()).value(0) == first == [1, 2]
