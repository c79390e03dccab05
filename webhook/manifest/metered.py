"""What a policy says of a request where the API server's limits of cost are near: every expression by the form that
counts, in the server's order and with its budgets.

Says the same as the fast evaluation (`evaluation.py`), far slower, so it is only made and asked where that one is not
sure to stay below the limits.

Source: `apiserver pkg/admission/plugin/cel/condition.go` (`ForInput`), `policy/validating/validator.go`,
`webhook/matchconditions/matcher.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from webhook.cel.unit import EvalError, Inputs, Unit
from webhook.errors import NeedsState, NotComparable, WouldblockError
from webhook.manifest.fields import PolicySpec
from webhook.manifest.layout import BUDGET, CONDITIONS_BUDGET, Layout
from webhook.manifest.texts import Failure, add_annotation, aggregated, failed, message_of, static_message

OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(WouldblockError):
    """A set of expressions has cost more than it may together."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


class _Result(Struct, frozen=True):
    value: Any
    error: str = ""


class Metered:
    """One policy. Its code is made when first asked for; safe from any thread."""

    def __init__(self, spec: PolicySpec, layout: Layout, compile: Callable[[], Unit]) -> None:
        self._spec = spec
        self._layout = layout
        self._compile = compile
        self._unit: Unit | None = None

    @property
    def prepared(self) -> bool:
        return self._unit is not None

    def unit(self) -> Unit:
        """The code, which takes milliseconds the first time."""
        if self._unit is None:
            self._unit = self._compile()  # two threads may make it twice; one of them is forgotten
        return self._unit

    def measure(self, usual: Inputs, validation: int) -> tuple[Any, int]:
        """Of one validation alone, its value or error, and what it cost with all the variables that it asks for."""
        return self.unit().start(usual).measure(self._layout.validations[validation])

    def decide(
        self, usual: Inputs, condition: Inputs, annotations: dict[str, list[str]] | None
    ) -> Sequence[Failure] | None:
        """What enforcement would deny, for one param; None when the match conditions do not hold. Adds to
        `annotations`, where somebody reads them."""
        unit = self.unit()
        try:
            errors = self._condition_errors(unit, condition)
        except OutOfBudget as error:
            errors = [str(error)]
        if errors is None:
            return None
        if errors:
            return (Failure(aggregated(errors), error=True),) if self._spec.fail else None
        try:
            return self._judged(unit, usual, {} if annotations is None else annotations)
        except OutOfBudget as error:
            return (Failure(str(error), error=True),) if self._spec.fail else ()

    def _condition_errors(self, unit: Unit, inputs: Inputs) -> list[str] | None:
        """All are evaluated, though one is false: what they cost together may be too much."""
        texts = [each.expression for each in self._spec.conditions]
        results, _ = _evaluated(unit, inputs, self._layout.conditions, CONDITIONS_BUDGET)
        if any(result.value is False for result in results):
            return None
        return list(
            dict.fromkeys(
                failed(text, result.error) for text, result in zip(texts, results, strict=True) if result.error
            )
        )

    def _judged(self, unit: Unit, inputs: Inputs, annotations: dict[str, list[str]]) -> list[Failure]:
        results, left = _evaluated(unit, inputs, self._layout.validations, BUDGET)
        errors = [
            failed(each.expression, result.error) if result.error else ""
            for each, result in zip(self._spec.validations, results, strict=True)
        ]
        wanted = [result.value is not True and not result.error for result in results]
        try:
            messages, _ = _evaluated(unit, inputs, self._layout.messages, left, wanted)
        except OutOfBudget as error:
            # Takes every validation along that has no error of its own, true ones too.
            errors = [text or f"failed messageExpression: {error}" for text in errors]
            messages = results
        failures: list[Failure] = []
        for index, (each, result, text) in enumerate(zip(self._spec.validations, results, errors, strict=True)):
            if text:
                if self._spec.fail:
                    failures.append(Failure(text, index, error=True))
            elif result.value is not True:
                failures.append(Failure(message_of(messages[index].value, static_message(each)), index))
        self._annotate(unit, inputs, annotations, failures)
        return failures

    def _annotate(self, unit: Unit, inputs: Inputs, annotations: dict[str, list[str]], failures: list[Failure]) -> None:
        """Raises `OutOfBudget`, which replaces all decisions."""
        results, _ = _evaluated(unit, inputs, self._layout.annotations, BUDGET)
        for each, result in zip(self._spec.audit_annotations, results, strict=True):
            if not result.error:
                add_annotation(annotations, each.key, result.value)
            elif self._spec.fail:
                failures.append(Failure(failed(each.expression, result.error), error=True))


def _evaluated(
    unit: Unit, inputs: Inputs, numbers: Sequence[int | None], budget: int, wanted: Sequence[bool] = ()
) -> tuple[list[_Result], int]:
    """One set: the results of these expressions of the unit, with fresh variables, and what is left of the budget.

    `wanted` says which results somebody needs: what a webhook cannot know does not matter in the others. Raises
    `OutOfBudget`.
    """
    evaluation = unit.start(inputs)
    results: list[_Result] = []
    for at, number in enumerate(numbers):
        if number is None:
            results.append(_Result(None))
            continue
        try:
            value, cost = evaluation.measure(number)
        except (NeedsState, NotComparable):
            if not wanted or wanted[at]:
                raise
            results.append(_Result(None))
            continue
        budget -= cost
        if budget < 0:
            raise OutOfBudget
        results.append(_Result(None, value.text) if isinstance(value, EvalError) else _Result(value))
    return results, budget
