"""What a ValidatingAdmissionPolicy says of a request: the API server's own steps, one binding and param at a time.

Everything that `validationActions` would make of a failure is the same to us: a finding. Where limits of cost may be
near, `metered` decides; clocks are the compiled unit's business.

Source: `apiserver pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from webhook.cel.activation import NO_END, UNSET, Activation, Inputs, Leave
from webhook.cel.ceiling import weigh
from webhook.cel.limits import Granted, size_class, variable_limits
from webhook.cel.program import FAULTS, fault
from webhook.cel.share import words_of
from webhook.cel.unit import EvalError, Unit
from webhook.manifest.fields import BindingSpec, PolicySpec
from webhook.manifest.layout import Grants, Layout
from webhook.manifest.matching import Matcher, never_evaluated
from webhook.manifest.metered import Metered
from webhook.manifest.params import NotConfigured, Params
from webhook.manifest.request import condition_inputs, input_size, inputs, with_params
from webhook.manifest.texts import Failure, add_annotation, aggregated, failed, message_of, static_message
from webhook.policy import PASS, Context, Finding, Verdict

Call = Callable[[Activation], Any]

_UNCONFIGURED = "failed to configure binding: "


class _Validation(Struct, frozen=True):
    index: int
    call: Call
    message: Call | None
    static: str
    expression: str


class _Param:
    """What is remembered of a param."""

    __slots__ = ("declines", "param", "size")

    def __init__(self, param: Any) -> None:
        self.param = param
        self.size = size_class(weigh(param))
        self.declines: bool | None = None
        """Whether it alone says that no write is the policy's business, once that is known."""


class Run:
    """One review, for all policies whose units share their memory: what is asked of it once, and its activations."""

    __slots__ = ("_conditions", "_unit", "activation", "exact", "met", "outside", "size")

    def __init__(self, unit: Unit, context: Context) -> None:
        reviewed: Run | None = context.reviewed.get(unit.shared)
        self.activation = unit.activation(inputs(context))
        if reviewed is None:
            request = context.request
            self.outside = never_evaluated(request)
            self.exact = request.request_resource in (None, request.resource)
            """Whether the review holds the version that the client sent."""
            self.size: int = size_class(input_size(context))
            self.activation.grants = variable_limits(unit.shared, self.size).grants
        else:  # this is the old object of the same request
            self.outside, self.exact, self.size = reviewed.outside, reviewed.exact, reviewed.size
            self.activation.grants = reviewed.activation.grants
        self.met: dict[tuple[str, ...], list[str] | None] = {}
        """Match conditions without params → their errors, or None where one is false: most policies ask the same."""
        self._unit = unit
        self._conditions: Activation | None = None

    def conditions(self, context: Context) -> Activation:
        """What match conditions are evaluated on, where no params are at hand."""
        if self._conditions is None:
            self._conditions = self._unit.activation(condition_inputs(context))
        return self._conditions


class Evaluator:
    """`Policy.run` of one policy with its bindings. Immutable but for caches; safe from any thread."""

    def __init__(
        self,
        spec: PolicySpec,
        bindings: Sequence[BindingSpec],
        *,
        unit: Unit,
        layout: Layout,
        params: Params | None,
        meter: Callable[[], Unit],
    ) -> None:
        """`meter` compiles the unit in the form that counts."""
        self._spec = spec
        self._matcher = Matcher(spec.match)
        self._bindings = tuple((each, None if each.match is None else Matcher(each.match)) for each in bindings)
        self._unit = unit
        self._params = params
        self._warn = spec.meta.default != "audit"
        self._grants = Grants(unit, layout)
        self._known: dict[int, Granted | None] = {}
        self._metered = Metered(spec, layout, meter)
        self._seen: dict[int, _Param] = {}
        self._usual: dict[tuple[int, ...], Verdict] = {}
        calls = unit.calls
        self._conditions = tuple(
            (calls[number], each.expression) for each, number in zip(spec.conditions, layout.conditions, strict=True)
        )
        self._asked = tuple(expression for _, expression in self._conditions)
        self._of_params = tuple([call for call, text in self._conditions if _about_params(text)])
        self._validations = tuple(
            _Validation(
                index=index,
                call=calls[number],
                message=None if message is None else calls[message],
                static=static_message(each),
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

    @property
    def simple(self) -> bool:
        """Whether nothing but match conditions and validations decides on a review that was not converted."""
        bound = all(each.param_ref is None for each, _ in self._bindings) and bool(self._bindings)
        return self._whole and self._params is None and bound and self._matcher.plain and not self._annotations

    @property
    def asked(self) -> tuple[str, ...]:
        """The match conditions."""
        return self._asked

    @property
    def validations(self) -> tuple[Call, ...]:
        return tuple(each.call for each in self._validations)

    def prepare(self) -> None:
        """Makes what the first review of a size would wait for, and, where an error or a few hundred iterations may
        call for it, the form that counts."""
        found = [self.granted(size) for size in range(size_class(_USUAL) + 1)]
        if any(each is None or each.fair or _may_leave(each) for each in found):
            self._metered.unit()

    def run_of(self, context: Context) -> Run:
        """The review's, made by the first policy that asks."""
        run: Run | None = context.memo.get(self._unit.shared)
        if run is None:
            run = context.memo[self._unit.shared] = Run(self._unit, context)
        return run

    def granted(self, size: int) -> Granted | None:
        """What the fast form may do at a size class; None: it may not run."""
        try:
            return self._known[size]
        except KeyError:
            found = self._known[size] = self._grants.at(size)
            return found

    def conditions_met(self, run: Run, context: Context) -> list[str] | None:
        """The distinct errors of the match conditions; None when one is false, whatever the others say. Only of a
        policy that is `granted` something. May raise `Leave`."""
        if not self._asked:
            return []
        if self._asked not in run.met:
            activation = run.conditions(context)
            activation.left, activation.spare = NO_END
            run.met[self._asked] = self._condition_errors(activation)
        return run.met[self._asked]

    def __call__(self, context: Context) -> Verdict | None:
        """The verdict; None when policy, bindings or match conditions say that the request is not their business.

        Raises `NeedsState`, `NotComparable`, `DeadlineExceeded`.
        """
        run = self.run_of(context)
        if run.outside or not ((self._matcher.plain and run.exact) or self._matcher.covers(context)):
            return None
        annotations: dict[str, list[str]] | None = {} if context.texts else None
        if self._whole:
            failures = self._decide(run, None, context, annotations)
            if failures is None:
                return None
            if not failures and not annotations:
                return PASS
            return self._verdict(failures, annotations)
        concerned = False
        findings: list[Finding] = []
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
                failures = self._decide(run, param, context, annotations)
                if failures is not None:
                    concerned = True
                    findings.extend(self._finding(binding, failure) for failure in failures)
        if not concerned:
            return None
        return Verdict(findings=tuple(findings), annotations=_joined(annotations))

    def _verdict(self, failures: Sequence[Failure], annotations: Mapping[str, Sequence[str]] | None = None) -> Verdict:
        """Every binding's."""
        findings = [self._finding(binding, failure) for binding, _ in self._bindings for failure in failures]
        return Verdict(findings=tuple(findings), annotations=_joined(annotations))

    def told(self, places: tuple[int, ...], *, texts: bool) -> Verdict | None:
        """The verdict when these validations are false and no other fails; None if a message has to be computed."""
        found = [self._validations[place] for place in places]
        if any(each.message is not None for each in found):
            return None if texts else self._verdict([Failure("", each.index) for each in found])
        verdict = self._usual.get(places)
        if verdict is None:
            verdict = self._verdict([Failure(each.static, each.index) for each in found])
            if len(self._usual) < _VERDICTS:
                self._usual[places] = verdict
        return verdict

    def computed(self, places: tuple[int, ...], activation: Activation) -> Verdict:
        """The same with its messages. Raises what a message expression does, and `Leave`."""
        activation.left, activation.spare = NO_END
        findings = []
        for place in places:
            validation = self._validations[place]
            failure = Failure(_message(validation, activation), validation.index)
            findings += [self._finding(binding, failure) for binding, _ in self._bindings]
        return Verdict(findings=tuple(findings))

    def _params_of(self, binding: BindingSpec, context: Context) -> Sequence[Any]:
        if self._params is None or binding.param_ref is None:
            return _NO_PARAMS
        return self._params.find(binding.param_ref, context)

    def _decide(
        self, run: Run, param: Any, context: Context, annotations: dict[str, list[str]] | None
    ) -> Sequence[Failure] | None:
        """What enforcement would deny, for one param; None when the match conditions do not hold. Adds to
        `annotations`; without them nobody reads the texts of this evaluation, and none are made."""
        activation, size = run.activation, run.size
        seen = None if param is None else self._param(param)
        if seen is not None:
            size = max(size, seen.size)
        granted = self.granted(size)
        if granted is not None:
            if seen is not None:
                if self._declines(seen):
                    return None
                activation = self._unit.activation(with_params(inputs(context), param))
                activation.grants = variable_limits(self._unit.shared, size).grants
            try:
                if self._asked:
                    errors = self._conditions_met(run, param, context)
                    if errors is None:
                        return None
                    if errors:
                        return (Failure(aggregated(errors), error=True),) if self._spec.fail else None
                found = self._quickly(activation, annotations, granted, partial(self._counted, param, context))
                if granted.ask:
                    self.hold(granted, activation)
                return found
            except Leave:
                pass
        self._make_metered(context)
        usual, sparse = inputs(context), condition_inputs(context)
        if param is not None:
            usual, sparse = with_params(usual, param), with_params(sparse, param)
        return self._metered.decide(usual, sparse, annotations)

    def _counted(self, param: Any, context: Context, index: int, left: int) -> tuple[Any, int]:
        """The value of one validation, and what is left of so many units. Raises `Leave` if that is less than nothing,
        or there is no value: only with all others it can be told what the server makes of that."""
        self._make_metered(context)
        usual = inputs(context)
        value, cost = self._metered.measure(usual if param is None else with_params(usual, param), index)
        if cost > left or value.__class__ is EvalError:
            raise Leave
        return value, left - cost

    def _make_metered(self, context: Context) -> None:
        if not self._metered.prepared:
            context.uncounted(self._metered.unit)

    def hold(self, granted: Granted, activation: Activation) -> None:
        """Raises `Leave` unless what the grant assumes of variables is so."""
        memo, failed = activation.memo, activation.failed
        for place in granted.ask:
            if memo[place] is UNSET and place not in failed:
                self._unit.shared.ask(activation, place)
            if place in failed:
                raise Leave
        if any(weigh(memo[place]) > granted.weight for place in granted.weigh):
            raise Leave

    def _conditions_met(self, run: Run, param: Any, context: Context) -> list[str] | None:
        """`conditions_met`, for one param."""
        if param is None:
            return self.conditions_met(run, context)
        activation = self._unit.activation(with_params(condition_inputs(context), param))
        return self._condition_errors(activation)

    def _param(self, param: Any) -> _Param:
        known = self._seen.get(id(param))
        if known is None or known.param is not param:
            if len(self._seen) >= _PARAMS:
                self._seen.clear()
            known = self._seen[id(param)] = _Param(param)
        return known

    def _declines(self, seen: _Param) -> bool:
        """Whether a match condition that looks at nothing but the param is false."""
        if seen.declines is None:
            activation = self._unit.activation(Inputs(params=seen.param))
            activation.left, activation.spare = NO_END
            seen.declines = any(_is_false(call, activation) for call in self._of_params)
        return seen.declines

    def _quickly(
        self,
        activation: Activation,
        annotations: dict[str, list[str]] | None,
        granted: Granted,
        counted: Callable[[int, int], tuple[Any, int]],
    ) -> Sequence[Failure]:
        """Without counting, but for validations that have to be `counted`. Raises `Leave` when limits of cost may be
        near, and where fairness was granted when a validation has an error: what the server goes on to evaluate then
        is not known."""
        failures: list[Failure] = []
        left = granted.spare
        for each, grant in zip(self._validations, granted.grants, strict=True):
            try:
                try:
                    if grant is None:
                        value, left = counted(each.index, left)
                    else:
                        activation.left, activation.spare = grant
                        value = each.call(activation)
                except Leave:
                    if grant is None:
                        raise
                    value, left = counted(each.index, left)
                if value is not True:
                    activation.left, activation.spare = NO_END
                    text = "" if annotations is None else _message(each, activation)
                    failures.append(Failure(text, each.index))
            except FAULTS as error:
                text = failed(each.expression, fault(error))
                if granted.fair:
                    raise Leave from None
                if self._spec.fail:
                    failures.append(Failure(text, each.index, error=True))
        if annotations is None or not self._annotations:
            return failures
        activation.left, activation.spare = NO_END
        found: list[tuple[str, Any]] = []
        for key, call, expression in self._annotations:
            try:
                found.append((key, call(activation)))
            except FAULTS as error:
                text = failed(expression, fault(error))
                if self._spec.fail:
                    # The API server denies this request even where the binding only warns.
                    failures.append(Failure(text, error=True))
        for key, value in found:
            add_annotation(annotations, key, value)
        return failures

    def _condition_errors(self, activation: Activation) -> list[str] | None:
        """The distinct errors of the match conditions; None when one is false, whatever the others say."""
        errors: list[str] = []
        for call, expression in self._conditions:
            try:
                if call(activation) is False:
                    return None
            except FAULTS as error:
                text = failed(expression, fault(error))
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
_USUAL = 512 << 10
"""Bytes of an input that reviews may well have."""
_MANY = 1_000
"""Iterations that expressions on such inputs hardly come to."""
_PARAMS = 1_024
"""Params of which something is remembered."""
_VERDICTS = 64
"""Verdicts of one policy that are remembered."""


_OTHERS = frozenset({"object", "oldObject", "request", "namespaceObject", "authorizer", "variables"})


def _about_params(expression: str) -> bool:
    """Whether it surely looks at nothing else that differs between reviews."""
    words = words_of(expression)
    return "params" in words and not words & _OTHERS


def _is_false(condition: Call, activation: Activation) -> bool:
    try:
        return condition(activation) is False
    except (*FAULTS, Leave):  # what that means is found out with the others
        return False


def _may_leave(granted: Granted) -> bool:
    return any(grant is None or sum(grant) < _MANY for grant in granted.grants)


def _joined(annotations: Mapping[str, Sequence[str]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((key, ", ".join(values)) for key, values in annotations.items()) if annotations else ()


def _message(validation: _Validation, activation: Activation) -> str:
    """What a message expression comes to, if the API server would use it, else the fixed text."""
    if validation.message is None:
        return validation.static
    try:
        value = validation.message(activation)
    except FAULTS as error:
        fault(error)
        return validation.static
    return message_of(value, validation.static)
