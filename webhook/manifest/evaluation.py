"""What a ValidatingAdmissionPolicy says of a request: the API server's own steps, one binding and param at a time.

Everything that `validationActions` would make of a failure is the same to us: a finding. Clocks and limits of cost
are the compiled unit's business.

Source: `apiserver pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from webhook.cel.activation import Activation
from webhook.cel.program import FAULTS, fault
from webhook.cel.unit import Unit
from webhook.manifest.fields import BindingSpec, PolicySpec
from webhook.manifest.matching import Matcher, never_evaluated
from webhook.manifest.names import trim
from webhook.manifest.params import NotConfigured, Params
from webhook.manifest.request import condition_inputs, inputs, with_params
from webhook.policy import PASS, Context, Finding, Verdict

Call = Callable[[Activation], Any]

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


class Failure(Struct, frozen=True):
    """A validation, match condition or audit annotation that enforcement would deny with `message`."""

    message: str
    index: int = 0
    error: bool = False


class _Validation(Struct, frozen=True):
    index: int
    call: Call
    message: Call | None
    static: str
    expression: str


class _Run:
    """One review, for all policies whose units share their memory: what is asked of it once, and its activations."""

    __slots__ = ("_conditions", "_context", "_unit", "activation", "exact", "outside")

    def __init__(self, unit: Unit, context: Context) -> None:
        request = context.request
        self.outside = never_evaluated(request)
        self.exact = request.request_resource in (None, request.resource)
        """Whether the review holds the version that the client sent."""
        self.activation = unit.activation(inputs(context))
        self._unit = unit
        self._context = context
        self._conditions: Activation | None = None

    def conditions(self) -> Activation:
        """What match conditions are evaluated on, where no params are at hand."""
        if self._conditions is None:
            self._conditions = self._unit.activation(condition_inputs(self._context))
        return self._conditions


class Evaluator:
    """`Policy.run` of one policy with its bindings. Immutable but for caches; safe from any thread."""

    def __init__(
        self, spec: PolicySpec, bindings: Sequence[BindingSpec], *, unit: Unit, layout: Layout, params: Params | None
    ) -> None:
        self._spec = spec
        self._matcher = Matcher(spec.match)
        self._bindings = tuple((each, None if each.match is None else Matcher(each.match)) for each in bindings)
        self._unit = unit
        self._params = params
        self._warn = spec.meta.default != "audit"
        calls = unit.calls
        self._conditions = tuple(
            (calls[number], each.expression) for each, number in zip(spec.conditions, layout.conditions, strict=True)
        )
        self._validations = tuple(
            _Validation(
                index=index,
                call=calls[number],
                message=None if message is None else calls[message],
                static=trim(each.message) if each.message else f"failed expression: {trim(each.expression)}",
                expression=each.expression,
            )
            for index, (each, number, message) in enumerate(
                zip(spec.validations, layout.validations, layout.messages, strict=True)
            )
        )
        self._annotations = tuple(
            (each.key, calls[number], each.expression)
            for each, number in zip(spec.audit_annotations, layout.annotations, strict=True)
        )
        self._whole = all(matcher is None for _, matcher in self._bindings) and (
            params is None or all(each.param_ref is None for each in bindings)
        )
        """Whether every binding asks the same, so that one evaluation answers for all."""

    def __call__(self, context: Context) -> Verdict | None:
        """The verdict; None when policy, bindings or match conditions say that the request is not their business.

        Raises `NeedsState`, `NotComparable`, `DeadlineExceeded`.
        """
        run: _Run | None = context.memo.get(self._unit.shared)
        if run is None:
            run = context.memo[self._unit.shared] = _Run(self._unit, context)
        if run.outside or not ((self._matcher.plain and run.exact) or self._matcher.covers(context)):
            return None
        if self._whole:
            return self._as_one(run)
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
                    findings.append(self._finding(binding, Failure(_UNCONFIGURED + str(error), error=True)))
                continue
            for param in params:
                failures = self._decide(*self._activations(run, param, context), annotations)
                if failures is not None:
                    concerned = True
                    findings.extend(self._finding(binding, failure) for failure in failures)
        if not concerned:
            return None
        return Verdict(findings=tuple(findings), annotations=_joined(annotations))

    def _as_one(self, run: _Run) -> Verdict | None:
        annotations: dict[str, list[str]] = {}
        failures = self._decide(run.activation, run.conditions() if self._conditions else run.activation, annotations)
        if failures is None:
            return None
        if not failures and not annotations:
            return PASS
        return Verdict(
            findings=tuple(self._finding(binding, failure) for binding, _ in self._bindings for failure in failures),
            annotations=_joined(annotations),
        )

    def _params_of(self, binding: BindingSpec, context: Context) -> Sequence[Any]:
        if self._params is None or binding.param_ref is None:
            return _NO_PARAMS
        return self._params.find(binding.param_ref, context)

    def _activations(self, run: _Run, param: Any, context: Context) -> tuple[Activation, Activation]:
        """(for the policy's expressions, for its match conditions)."""
        if param is None:
            return run.activation, run.conditions() if self._conditions else run.activation
        usual = self._unit.activation(with_params(inputs(context), param))
        if not self._conditions:
            return usual, usual
        return usual, self._unit.activation(with_params(condition_inputs(context), param))

    def _decide(
        self, activation: Activation, conditions: Activation, annotations: dict[str, list[str]]
    ) -> Sequence[Failure] | None:
        """What enforcement would deny, for one param; None when the match conditions do not hold. Adds to
        `annotations`."""
        if self._conditions:
            errors = self._condition_errors(conditions)
            if errors is None:
                return None
            if errors:
                text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
                return (Failure(text, error=True),) if self._spec.fail else None
        failures: list[Failure] = []
        for each in self._validations:
            try:
                if each.call(activation) is not True:
                    failures.append(Failure(_message(each, activation), each.index))
            except FAULTS as error:
                text = _failed(each.expression, error)
                if self._spec.fail:
                    failures.append(Failure(text, each.index, error=True))
        for key, call, expression in self._annotations:
            try:
                value = call(activation)
            except FAULTS as error:
                text = _failed(expression, error)
                if self._spec.fail:
                    # The API server denies this request even where the binding only warns.
                    failures.append(Failure(text, error=True))
                continue
            if isinstance(value, str) and (text := _cut(trim(value))):
                values = annotations.setdefault(key, [])
                if text not in values:
                    values.append(text)
        return failures

    def _condition_errors(self, activation: Activation) -> list[str] | None:
        """The distinct errors of the match conditions; None when one is false, whatever the others say."""
        errors: list[str] = []
        for call, expression in self._conditions:
            try:
                if call(activation) is False:
                    return None
            except FAULTS as error:
                text = _failed(expression, error)
                if text not in errors:
                    errors.append(text)
        return errors

    def _finding(self, binding: BindingSpec, failure: Failure) -> Finding:
        return Finding(
            policy=self._spec.id,
            binding=binding.name,
            index=failure.index,
            message=failure.message,
            severity=self._spec.meta.severity,
            error=failure.error,
            warn=self._warn,
        )


_NO_PARAMS = (None,)


def _joined(annotations: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((key, ", ".join(values)) for key, values in annotations.items())


def _failed(expression: str, error: BaseException) -> str:
    """The API server's words for an evaluation error. Raises the exception again when it is none of CEL's."""
    return f"expression '{expression}' resulted in error: {fault(error)}"


def _message(validation: _Validation, activation: Activation) -> str:
    """What a message expression comes to, if the API server would use it, else the fixed text."""
    if validation.message is None:
        return validation.static
    try:
        value = validation.message(activation)
    except FAULTS as error:
        fault(error)
        return validation.static
    if not isinstance(value, str):
        return validation.static
    text = trim(value)
    return text if text and "\n" not in text and len(text.encode()) <= _MESSAGE_BYTES else validation.static


def _cut(text: str) -> str:
    """At most as many bytes as an audit annotation may have; a character that is cut apart becomes U+FFFD bytewise."""
    if len(text) * 4 <= _ANNOTATION_BYTES:
        return text
    cut = text.encode()[:_ANNOTATION_BYTES]
    whole = cut.decode(errors="ignore")
    return whole + "\ufffd" * (len(cut) - len(whole.encode()))
