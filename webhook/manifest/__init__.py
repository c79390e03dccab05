"""ValidatingAdmissionPolicy, its bindings and params → `Policy`.

Joins what the fields say (`fields`), the compiled expressions (`webhook.cel`) and the evaluation (`evaluation`).
Reads no files: `load` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from webhook.cel.unit import CompileError, CompileErrors, Expression, Returns, Shared, Unit, Variable, compile_unit
from webhook.errors import Problem
from webhook.manifest.evaluation import Evaluator, Layout
from webhook.manifest.fields import BindingSpec, Named, PolicySpec
from webhook.manifest.params import Params
from webhook.policy import Policy
from webhook.state import EMPTY, State
from webhook.yamlfile import Document, Steps, path_text


def build(
    spec: PolicySpec,
    bindings: Sequence[BindingSpec],
    *,
    folder: Iterable[Mapping[str, Any]] = (),
    state: State = EMPTY,
    shared: Shared | None = None,
) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy, or what its expressions have wrong. Policies with the same `shared` compute equal variables once.

    `folder` holds the objects of the policy folder that may be params, `state` the snapshot whose params enter the
    digest; at run time the review's own snapshot is asked.
    """
    unit, layout, problems = _compile(spec, shared)
    if unit is None:
        return None, problems
    ordered = sorted(bindings, key=lambda binding: binding.name)
    params = None if spec.param_kind is None else Params(spec.param_kind, folder)
    refs = [binding.param_ref for binding in ordered if binding.param_ref is not None]
    return Policy(
        id=spec.id,
        digest=_digest(spec, ordered, [] if params is None else params.referenced(refs, state)),
        meta=spec.meta,
        match=spec.match,
        run=Evaluator(spec, ordered, unit=unit, layout=layout, params=params),
        bindings=tuple(binding.name for binding in ordered),
        namespace_match=_namespace_match(ordered),
        source=spec.document.file,
        python=unit.source,
    ), ()


def _compile(spec: PolicySpec, shared: Shared | None) -> tuple[Unit | None, Layout, tuple[Problem, ...]]:
    expressions: list[Expression] = []
    places: dict[str, Steps] = {}

    def add(steps: Steps, text: str, returns: Returns, *, variables: bool, authorizer: bool = True) -> int:
        path = path_text(steps)
        places[path] = steps
        expressions.append(
            Expression(path=path, text=text, returns=returns, variables=variables, authorizer=authorizer)
        )
        return len(expressions) - 1

    declared = bool(spec.variables)

    layout = Layout(
        conditions=[add(each.steps, each.expression, "bool", variables=False) for each in spec.conditions],
        validations=[
            add((*each.steps, "expression"), each.expression, "bool", variables=declared) for each in spec.validations
        ],
        messages=[
            add((*each.steps, "messageExpression"), text, "string", variables=declared, authorizer=False)
            if (text := each.message_expression)
            else None
            for each in spec.validations
        ],
        annotations=[add(each.steps, each.expression, "audit", variables=declared) for each in spec.audit_annotations],
    )
    variables = [_variable(each, places) for each in spec.variables]
    try:
        unit = compile_unit(
            expressions, variables=variables, params=spec.param_kind is not None, name=spec.id, shared=shared
        )
    except CompileErrors as error:
        return None, layout, tuple(_problem(spec.document, places, each, spec.id) for each in error.errors)
    return unit, layout, ()


def _variable(each: Named, places: dict[str, Steps]) -> Variable:
    path = path_text(each.steps)
    places[path] = each.steps
    return Variable(name=each.name, path=path, text=each.expression)


def _problem(document: Document, places: Mapping[str, Steps], error: CompileError, policy: str) -> Problem:
    """A compile error at its place in the file; the caret stands below the expression's own line."""
    steps = places.get(error.path, ("spec",))
    mark = document.inside(steps, error.line, error.column) if error.line else document.at(steps)
    return Problem(
        file=document.file,
        line=mark.line,
        column=mark.column,
        path=error.path,
        message=error.message,
        source=error.source,
        caret=error.column if error.source else 0,
        policy=policy,
    )


def _namespace_match(bindings: Iterable[BindingSpec]) -> tuple[Any, ...]:
    selectors = tuple(() if each.match is None else each.match.namespace_selector for each in bindings)
    return () if () in selectors else selectors


def _digest(spec: PolicySpec, bindings: Iterable[BindingSpec], params: Iterable[Any]) -> str:
    content = {
        "spec": spec.raw,
        "bindings": [{"name": binding.name, "spec": binding.raw} for binding in bindings],
        "params": [_content(each) for each in params],
    }
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def _content(param: Mapping[str, Any]) -> Mapping[str, Any]:
    """A param without what changes at every write of it, or stands there only once it is stored."""
    meta = {key: value for key, value in param["metadata"].items() if key not in _VOLATILE}
    return {**{key: value for key, value in param.items() if key != "status"}, "metadata": meta}


_VOLATILE = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
