"""ValidatingAdmissionPolicy, its bindings and params → `Policy`.

Joins what the fields say (`fields`), the compiled expressions (`webhook.cel`) and the evaluation (`evaluation`).
Reads no files: `load` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from webhook.cel.unit import CompileError, CompileErrors, Expression, Returns, Shared, Unit, Variable, compile_unit
from webhook.cel.versions import STORED, Version
from webhook.errors import Problem
from webhook.manifest.evaluation import Evaluator
from webhook.manifest.fields import BindingSpec, Named, PolicySpec
from webhook.manifest.layout import Layout
from webhook.manifest.params import Params
from webhook.manifest.sweeping import Fellows
from webhook.policy import Policy
from webhook.state import EMPTY, State
from webhook.view import view_of
from webhook.yamlfile import Document, Steps, path_text


def build(
    spec: PolicySpec,
    bindings: Sequence[BindingSpec],
    *,
    folder: Iterable[Mapping[str, Any]] = (),
    state: State = EMPTY,
    shared: Shared | None = None,
    version: Version = STORED,
) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy, or what its expressions have wrong. Policies with the same `shared` compute equal variables once.

    `folder` holds the objects of the policy folder that may be params, `state` the snapshot whose params enter the
    digest; at run time the review's own snapshot is asked. `version` says for whom the expressions are.
    """
    parts = _Parts(spec, version)
    try:
        unit = parts.compile(shared)
    except CompileErrors as error:
        return None, tuple(_problem(spec.document, parts.places, each, spec.id) for each in error.errors)
    ordered = sorted(bindings, key=lambda binding: binding.name)
    kept = _without_text(spec)
    params = None if spec.param_kind is None else Params(spec.param_kind, folder)
    refs = [binding.param_ref for binding in ordered if binding.param_ref is not None]
    run = Evaluator(
        kept,
        [_without_text(each) for each in ordered],
        unit=unit,
        layout=parts.layout,
        params=params,
        meter=lambda: _Parts(kept, version).compile(metered=True),
    )
    return Policy(
        id=spec.id,
        digest=_digest(spec, ordered, [] if params is None else params.referenced(refs, state)),
        meta=spec.meta,
        match=spec.match,
        run=run,
        prepare=run.prepare,
        crowd=Fellows(unit.shared, run.asked) if run.simple else None,
        view=view_of(unit.reads),
        bindings=tuple(binding.name for binding in ordered),
        namespace_match=_namespace_match(ordered),
        source=spec.document.file,
        python=unit.source,
    ), ()


class _Parts:
    """A policy's expressions and variables, with the place of each in the file."""

    def __init__(self, spec: PolicySpec, version: Version) -> None:
        self._spec = spec
        self._version = version
        self._expressions: list[Expression] = []
        self.places: dict[str, Steps] = {}
        declared = bool(spec.variables)
        self.layout = Layout(
            conditions=[self._add(each.steps, each.expression, "bool", variables=False) for each in spec.conditions],
            validations=[
                self._add((*each.steps, "expression"), each.expression, "bool", variables=declared, always=True)
                for each in spec.validations
            ],
            messages=[
                self._add((*each.steps, "messageExpression"), text, "string", variables=declared, authorizer=False)
                if (text := each.message_expression)
                else None
                for each in spec.validations
            ],
            annotations=[
                self._add(each.steps, each.expression, "audit", variables=declared) for each in spec.audit_annotations
            ],
        )

    def _add(
        self,
        steps: Steps,
        text: str,
        returns: Returns,
        *,
        variables: bool,
        authorizer: bool = True,
        always: bool = False,
    ) -> int:
        path = path_text(steps)
        self.places[path] = steps
        self._expressions.append(
            Expression(path=path, text=text, returns=returns, variables=variables, authorizer=authorizer, always=always)
        )
        return len(self._expressions) - 1

    def compile(self, shared: Shared | None = None, *, metered: bool = False) -> Unit:
        """Raises `CompileErrors`."""
        return compile_unit(
            self._expressions,
            variables=[self._variable(each) for each in self._spec.variables],
            params=self._spec.param_kind is not None,
            shared=shared,
            metered=metered,
            version=self._version,
        )

    def _variable(self, each: Named) -> Variable:
        path = path_text(each.steps)
        self.places[path] = each.steps
        return Variable(name=each.name, path=path, text=each.expression)


_Spec = TypeVar("_Spec", PolicySpec, BindingSpec)


def _without_text(spec: _Spec) -> _Spec:
    """Without what only problems and the digest need: a set that serves would hold every file and its positions."""
    return msgspec.structs.replace(spec, raw={}, document=Document(file=spec.document.file, value=None))


def _problem(document: Document, places: Mapping[str, Steps], error: CompileError, policy: str) -> Problem:
    """A compile error at its place in the file; the caret stands below the expression's own line."""
    steps = places.get(error.path, ("spec",))
    mark = document.inside(steps, error.line, error.column) if error.line else document.at(steps)
    return Problem(
        file=document.file,
        line=mark.line,
        column=mark.column,
        path=error.path,
        message=f"{error.message}: {error.hint}" if error.hint else error.message,
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
