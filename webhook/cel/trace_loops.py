"""Comprehensions in the trace form: what a loop comes to, an element at a time. The error rules are `loops.py`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from webhook.cel import runtime
from webhook.cel.metering import Failure, attempt, either, extended, insert, truth
from webhook.cel.tree import Fold, Node
from webhook.cel.values import Map

if TYPE_CHECKING:
    from webhook.cel.trace import Step

StepOf: TypeAlias = "Callable[[Node], Step]"
"""Evaluates a part with the loop's variables in scope."""


class _Quantifier:
    """`all` and `exists`: an error waits until no element has decided."""

    def __init__(self, node: Fold) -> None:
        self._node = node
        self._decided = node.macro == "exists"
        self._value: Any = not self._decided
        self.done = False

    def turn(self, step_of: StepOf, _: Any) -> tuple[Step, ...]:
        step = step_of(_part(self._node.predicate))
        self._value = either(self._value, truth(step.value), self._decided)
        self.done = self._value is self._decided
        return (step,)

    def result(self) -> Any:
        return self._value


class _ExistsOne:
    done = False

    def __init__(self, node: Fold) -> None:
        self._node = node
        self._count = 0
        self._failed: Any = None

    def turn(self, step_of: StepOf, _: Any) -> tuple[Step, ...]:
        step = step_of(_part(self._node.predicate))
        chosen = truth(step.value)
        self._count += chosen is True
        if chosen.__class__ is Failure:
            self._failed = chosen
        return (step,)

    def result(self) -> Any:
        return self._count == 1 if self._failed is None else self._failed


class _Collect:
    """`map`, `filter` and the transforming macros: the last error of a predicate or the first of a result stays."""

    done = False

    def __init__(self, node: Fold) -> None:
        self._node = node
        self._list = node.macro in ("map", "filter", "transformList")
        self._made: Any = [] if self._list else Map()

    def turn(self, step_of: StepOf, element: Any) -> tuple[Step, ...]:
        steps: tuple[Step, ...] = ()
        if self._node.predicate is not None:
            steps = (step_of(self._node.predicate),)
            chosen = truth(steps[0].value)
            if chosen.__class__ is Failure:
                self._made = chosen
            if chosen is not True:
                return steps
        if self._made.__class__ is Failure:
            return steps
        value = element
        if self._node.body is not None:
            steps = (*steps, step_of(self._node.body))
            value = steps[-1].value
        if self._list:
            self._made = attempt(extended, self._made, value)
        else:
            entry = (element, value) if self._node.macro == "transformMap" else (value,)
            self._made = attempt(insert, self._made, *entry)
        return steps

    def result(self) -> Any:
        return self._made if self._list else attempt(runtime.finish_map, self._made)


def _part(node: Node | None) -> Node:
    assert node is not None  # noqa: S101 - these macros always have one
    return node


LOOPS: Final[dict[str, Any]] = {
    "all": _Quantifier,
    "exists": _Quantifier,
    "existsOne": _ExistsOne,
    **dict.fromkeys(("map", "filter", "transformList", "transformMap", "transformMapEntry"), _Collect),
}
