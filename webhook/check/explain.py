"""Why does this policy say this of this request? Every expression with the value of each of its parts.

Evaluates in the trace form (`webhook.cel.trace`), beside the verdict that serving gives. Renders nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from webhook.cel.diagnostics import position
from webhook.cel.metering import Failure
from webhook.cel.trace import Step
from webhook.cel.trace_unit import TraceRun
from webhook.cel.tree import Node
from webhook.cel.unit import Evaluation, Inputs
from webhook.cel.versions import STORED, Version
from webhook.check.forms import Forms
from webhook.check.why import deciding, start
from webhook.errors import InvalidInput, NeedsState, NotComparable, Problem
from webhook.manifest import build
from webhook.manifest.fields import BindingSpec, PolicySpec
from webhook.manifest.matching import Matcher, never_evaluated
from webhook.manifest.params import NotConfigured, Params
from webhook.manifest.request import condition_inputs, inputs, with_params
from webhook.manifest.texts import message_of, static_message
from webhook.policy import Context, Match, Verdict
from webhook.review import Request
from webhook.state import State
from webhook.yamlfile import Document, Steps, path_text

Role = Literal["match condition", "variable", "validation", "message", "audit annotation"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One expression and what it came to."""

    role: Role
    name: str
    """Of a condition or variable, or the key of an annotation; of a validation its index."""
    place: Problem
    """Where it stands, and what decided: without a message."""
    text: str
    step: Step | None = None
    cost: int | None = None
    """In the server's units, variables that it was the first to ask for included."""
    unknown: str = ""
    """Why there is no value: what a webhook cannot know."""

    @property
    def value(self) -> Any:
        return None if self.step is None else self.step.value


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One validation: its expression, and what is said if it fails."""

    part: Part
    message: Part | None = None
    said: str = ""
    """The message; empty where the validation holds."""

    @property
    def fires(self) -> bool:
        return bool(self.said)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One binding with one param."""

    binding: str
    param: str = ""
    problem: str = ""
    """Why the binding does nothing for this request, or could not be set up."""
    conditions: tuple[Part, ...] = ()
    validations: tuple[Judged, ...] = ()
    annotations: tuple[Part, ...] = ()
    variables: tuple[Part, ...] = ()
    """Those that somebody asked for, in that order."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All of it for one request."""

    spec: PolicySpec
    request: Request
    unmatched: str = ""
    """Why the request is not the policy's business; empty if it is."""
    rounds: tuple[Round, ...] = ()
    verdict: Verdict | None = None
    """What serving says: None where the policy says nothing."""
    unknown: str = ""
    """Why there is no verdict that would equal the API server's."""


def explain(
    spec: PolicySpec,
    bindings: Sequence[BindingSpec],
    request: Request,
    *,
    state: State,
    folder: Sequence[Mapping[str, Any]],
    params: Sequence[Mapping[str, Any]] = (),
    version: Version = STORED,
    forms: Forms | None = None,
) -> Explanation:
    """`folder` holds objects that may be params; `params`, if there are any, take their place whatever the bindings
    refer to; `forms` are the policy's, where they are at hand. Raises `InvalidInput` for a policy that does not
    compile."""
    context = Context(request, state=state, clock=time.monotonic, deadline=time.monotonic() + 60)
    policy, problems = build(spec, bindings, folder=folder, state=state, version=version)
    if policy is None:
        raise InvalidInput(problems)
    unmatched = unknown = ""
    verdict: Verdict | None = None
    rounds: tuple[Round, ...] = ()
    try:
        unmatched = _unmatched(spec.match, context)
        if not (unmatched or params):
            verdict = policy.run(context)
    except (NeedsState, NotComparable) as error:
        unknown = str(error)
    if not unmatched:
        rounds = tuple(_rounds(_Explainer(spec, context, forms or Forms(spec, version)), bindings, folder, params))
    return Explanation(spec=spec, request=request, unmatched=unmatched, rounds=rounds, verdict=verdict, unknown=unknown)


def _unmatched(match: Match, context: Context) -> str:
    request = context.request
    if never_evaluated(request):
        return "the API server never asks policies about this resource"
    plain = msgspec.structs.replace(match, object_selector=(), namespace_selector=())
    where = "/".join(filter(None, (request.resource.group, request.resource.version, request.resource.resource)))
    if not Matcher(plain).covers(context):
        subresource = f"/{request.sub_resource}" if request.sub_resource else ""
        return f"no rule is for {request.operation} of {where}{subresource}"
    if not Matcher(msgspec.structs.replace(match, namespace_selector=())).covers(context):
        return "the objectSelector does not select it"
    if not Matcher(match).covers(context):
        return f"the namespaceSelector does not select namespace {request.namespace}"
    return ""


def _rounds(
    explainer: _Explainer,
    bindings: Sequence[BindingSpec],
    folder: Sequence[Mapping[str, Any]],
    given: Sequence[Mapping[str, Any]],
) -> Iterator[Round]:
    spec, context = explainer.spec, explainer.context
    held = None if spec.param_kind is None else Params(spec.param_kind, folder)
    if not bindings:
        # A policy that nothing binds does nothing; still somebody asks what it would say.
        yield from (explainer.round("", each) for each in given or (None,))
    for binding in sorted(bindings, key=lambda each: each.name):
        try:
            unmatched = "" if binding.match is None else _unmatched(binding.match, context)
        except (NeedsState, NotComparable) as error:
            unmatched = str(error)
        if unmatched:
            yield Round(binding=binding.name, problem=unmatched)
            continue
        found: Sequence[Any] = (None,)
        if given:
            found = given
        elif held is not None and binding.param_ref is not None:
            try:
                found = held.find(binding.param_ref, context)
            except (NotConfigured, NeedsState) as error:
                yield Round(binding=binding.name, problem=str(error))
                continue
            if not found:
                yield Round(binding=binding.name, problem="there is no param, and parameterNotFoundAction is Allow")
        yield from (explainer.round(binding.name, each) for each in found)


class _Explainer:
    """One request, judged by the forms of one policy."""

    def __init__(self, spec: PolicySpec, context: Context, forms: Forms) -> None:
        self.spec = spec
        self.context = context
        self._forms = forms

    def round(self, binding: str, param: Any) -> Round:
        usual, sparse = inputs(self.context), condition_inputs(self.context)
        name = ""
        if param is not None:
            usual, sparse = with_params(usual, param), with_params(sparse, param)
            name = "/".join(filter(None, (param["metadata"].get("namespace"), param["metadata"].get("name"))))
        spec = self.spec
        asked = self._both(sparse)
        conditions = tuple(
            self._part(asked, number, "match condition", each.name, each.expression, each.steps)
            for number, each in zip(self._forms.conditions, spec.conditions, strict=True)
        )
        if any(part.value is not True for part in conditions):
            return Round(binding=binding, param=name, conditions=conditions)
        asked = self._both(usual)
        return Round(
            binding=binding,
            param=name,
            conditions=conditions,
            validations=tuple(self._judged(asked, index) for index in range(len(spec.validations))),
            annotations=tuple(
                self._part(asked, number, "audit annotation", each.key, each.expression, each.steps)
                for number, each in zip(self._forms.annotations, spec.audit_annotations, strict=True)
            ),
            variables=tuple(self._variables(asked[0])),
        )

    def _both(self, values: Inputs) -> tuple[TraceRun, Evaluation]:
        return self._forms.traced.start(values), self._forms.metered.start(values)

    def _judged(self, asked: tuple[TraceRun, Evaluation], index: int) -> Judged:
        each = self.spec.validations[index]
        number, steps = self._forms.validations[index], (*each.steps, "expression")
        part = self._part(asked, number, "validation", str(index), each.expression, steps)
        if part.step is None or part.value is True:
            return Judged(part=part)
        if part.step.failed:
            return Judged(part=part, said=f"expression '{each.expression}' resulted in error: {part.value.text}")
        message, said, number_ = None, static_message(each), self._forms.messages[index]
        if number_ is not None:
            at = (*each.steps, "messageExpression")
            message = self._part(asked, number_, "message", str(index), each.message_expression, at)
            said = message_of(message.value, said)
        return Judged(part=part, message=message, said=said)

    def _part(
        self, asked: tuple[TraceRun, Evaluation], number: int, role: Role, name: str, text: str, steps: Steps
    ) -> Part:
        run, evaluation = asked
        try:
            step = run.trace(number)
            _, cost = evaluation.measure(number)
        except (NeedsState, NotComparable) as error:
            place = _place(self.spec.document, steps, text, None)
            return Part(role=role, name=name, place=place, text=text, unknown=str(error))
        place = _place(self.spec.document, steps, text, step)
        return Part(role=role, name=name, place=place, text=text, step=step, cost=cost)

    def _variables(self, run: TraceRun) -> Iterator[Part]:
        texts = {each.name: each for each in self.spec.variables}
        for name, step in run.variables.items():
            each = texts[name]
            place = _place(self.spec.document, each.steps, each.expression, step)
            yield Part(role="variable", name=name, place=place, text=each.expression, step=step)


def _place(document: Document, steps: Steps, text: str, step: Step | None) -> Problem:
    """Where the expression stands, with a caret below the part of it that decided."""
    decided = None if step is None else _clause(step)
    line, column, source = position(text, 0 if decided is None else start(decided))
    mark = document.inside(steps, line, column)
    return Problem(
        file=document.file,
        line=mark.line,
        column=mark.column,
        path=path_text(steps),
        message="",
        source=source,
        caret=0 if decided is None else column,
    )


def _clause(step: Step) -> Node | None:
    """The one part of an expression that made it false or fail."""
    if step.value is not False and step.value.__class__ is not Failure:
        return None
    found = deciding(step)
    return found[0].node if found else None
