"""What a ValidatingAdmissionPolicy says of a request: the API server's own steps, one binding and param at a time.

Everything that `validationActions` would make of a failure is the same to us: a finding. Clocks and limits of cost
are the compiled unit's business.

Source: `apiserver pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webhook.cel.unit import EvalError, Inputs, Unit
from webhook.manifest.fields import BindingSpec, PolicySpec
from webhook.manifest.matching import Matcher, never_evaluated
from webhook.manifest.names import trim
from webhook.manifest.params import NotConfigured, Params
from webhook.manifest.request import condition_inputs, inputs, with_params
from webhook.policy import Context, Finding, Verdict

_MESSAGE_BYTES = 5_120
_ANNOTATION_BYTES = 10_240
_UNCONFIGURED = "failed to configure binding: "


class Layout:
    """Which expression of the unit is what."""

    __slots__ = ("annotations", "conditions", "messages", "validations")

    def __init__(
        self,
        *,
        conditions: Sequence[int],
        validations: Sequence[int],
        messages: Sequence[int | None],
        annotations: Sequence[int],
    ) -> None:
        """`messages` runs along `validations`: the message expression of each, if it has one."""
        self.conditions = tuple(conditions)
        self.validations = tuple(validations)
        self.messages = tuple(messages)
        self.annotations = tuple(annotations)


class Evaluator:
    """`Policy.run` of one policy with its bindings. Immutable but for caches; safe from any thread."""

    def __init__(
        self, spec: PolicySpec, bindings: Sequence[BindingSpec], *, unit: Unit, layout: Layout, params: Params | None
    ) -> None:
        self._spec = spec
        self._matcher = Matcher(spec.match)
        self._bindings = tuple((each, None if each.match is None else Matcher(each.match)) for each in bindings)
        self._unit = unit
        self._layout = layout
        self._params = params
        self._static = tuple(
            trim(each.message) if each.message else f"failed expression: {trim(each.expression)}"
            for each in spec.validations
        )

    def __call__(self, context: Context) -> Verdict | None:
        """The verdict; None when policy, bindings or match conditions say that the request is not their business.

        Raises `NeedsState`, `NotComparable`, `DeadlineExceeded`.
        """
        if never_evaluated(context.request) or not self._matcher.covers(context):
            return None
        concerned = False
        findings: list[Finding] = []
        annotations: dict[str, list[str]] = {}
        for binding, matcher in self._bindings:
            if matcher is not None and not matcher.covers(context):
                continue
            try:
                params = self._params_of(binding, context)
            except NotConfigured as error:
                concerned = True
                if self._spec.fail:
                    findings.append(self._error(binding, _UNCONFIGURED + str(error)))
                continue
            for param in params:
                concerned |= self._evaluate(binding, param, context, findings, annotations)
        if not concerned:
            return None
        return Verdict(
            findings=tuple(findings),
            annotations=tuple((key, ", ".join(values)) for key, values in annotations.items()),
        )

    def _params_of(self, binding: BindingSpec, context: Context) -> Sequence[Any]:
        if self._params is None or binding.param_ref is None:
            return _NO_PARAMS
        return self._params.find(binding.param_ref, context)

    def _evaluate(
        self,
        binding: BindingSpec,
        param: Any,
        context: Context,
        findings: list[Finding],
        annotations: dict[str, list[str]],
    ) -> bool:
        """Evaluates one binding with one param; whether its match conditions hold (an error counts as holding)."""
        if self._spec.conditions:
            errors = self._conditions(_given(condition_inputs(context), param))
            if errors is None:
                return False
            if errors:
                if self._spec.fail:
                    findings.append(self._error(binding, errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"))
                return self._spec.fail
        evaluation = self._unit.start(_given(inputs(context), param))
        for index, (number, message) in enumerate(zip(self._layout.validations, self._layout.messages, strict=True)):
            value = evaluation.value(number)
            if value is True:
                continue
            if isinstance(value, EvalError):
                if self._spec.fail:
                    text = _failed(self._spec.validations[index].expression, value)
                    findings.append(self._error(binding, text, index))
                continue
            text = self._static[index] if message is None else _message(evaluation.value(message), self._static[index])
            findings.append(
                Finding(
                    policy=self._spec.id,
                    binding=binding.name,
                    index=index,
                    message=text,
                    severity=self._spec.meta.severity,
                )
            )
        for each, number in zip(self._spec.audit_annotations, self._layout.annotations, strict=True):
            value = evaluation.value(number)
            if isinstance(value, EvalError):
                if self._spec.fail:
                    # The API server denies this request even where the binding only warns.
                    findings.append(self._error(binding, _failed(each.expression, value)))
            elif isinstance(value, str) and (text := _cut(trim(value))):
                values = annotations.setdefault(each.key, [])
                if text not in values:
                    values.append(text)
        return True

    def _conditions(self, given: Inputs) -> list[str] | None:
        """The distinct errors of the match conditions; None when one is false, whatever the others say."""
        evaluation = self._unit.start(given)
        errors: list[str] = []
        for condition, number in zip(self._spec.conditions, self._layout.conditions, strict=True):
            value = evaluation.value(number)
            if value is False:
                return None
            if isinstance(value, EvalError):
                text = _failed(condition.expression, value)
                if text not in errors:
                    errors.append(text)
        return errors

    def _error(self, binding: BindingSpec, message: str, index: int = 0) -> Finding:
        return Finding(
            policy=self._spec.id,
            binding=binding.name,
            index=index,
            message=message,
            severity=self._spec.meta.severity,
            error=True,
        )


_NO_PARAMS = (None,)


def _given(usual: Inputs, param: Any) -> Inputs:
    return usual if param is None else with_params(usual, param)


def _failed(expression: str, error: EvalError) -> str:
    return f"expression '{expression}' resulted in error: {error.text}"


def _message(value: Any, otherwise: str) -> str:
    """What a message expression came to, if the API server would use it."""
    if not isinstance(value, str):
        return otherwise
    text = trim(value)
    return text if text and "\n" not in text and len(text.encode()) <= _MESSAGE_BYTES else otherwise


def _cut(text: str) -> str:
    """At most as many bytes as an audit annotation may have; a character that is cut apart becomes U+FFFD bytewise."""
    if len(text) * 4 <= _ANNOTATION_BYTES:
        return text
    cut = text.encode()[:_ANNOTATION_BYTES]
    whole = cut.decode(errors="ignore")
    return whole + "\ufffd" * (len(cut) - len(whole.encode()))
