"""A unit in the trace form: what `unit.compile_unit` compiles, checked alike and traced (`trace.py`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from webhook.cel.activation import Activation
from webhook.cel.check import Checked, check
from webhook.cel.context import Context
from webhook.cel.diagnostics import Failed
from webhook.cel.emit import Module
from webhook.cel.env import Env, Held, policy_env
from webhook.cel.facts import Facts, analyse
from webhook.cel.fold import fold
from webhook.cel.metering import Failure
from webhook.cel.parser import parse
from webhook.cel.recursion import room
from webhook.cel.sure import sure
from webhook.cel.trace import Step, Tracer
from webhook.cel.types import Type
from webhook.cel.unit import CompileError, CompileErrors, Expression, Inputs, Variable
from webhook.cel.validate import validate
from webhook.cel.versions import STORED, Version


class _Ready(msgspec.Struct, frozen=True):
    checked: Checked
    facts: dict[int, Facts]


class TraceUnit:
    """Expressions and variables, ready to be traced. Takes what `compile_unit` takes and has accepted."""

    def __init__(
        self,
        expressions: Sequence[Expression],
        *,
        variables: Sequence[Variable] = (),
        params: bool = False,
        declared: Mapping[str, Type] | None = None,
        undeclared: Collection[str] = (),
        version: Version = STORED,
    ) -> None:
        """Raises `CompileErrors`."""
        self.context = Context(Module(), Version(version.minor).functions)
        self.variables: dict[str, _Ready] = {}
        held: dict[str, Held] = {}

        def env(*, authorizer: bool = True, with_variables: bool = True) -> Env:
            made = policy_env(
                version.functions,
                params=params,
                authorizer=authorizer,
                variables=dict(held) if with_variables else None,
                typed=version.typed,
            )
            kept = {name: type for name, type in made.variables.items() if name not in undeclared}
            return msgspec.structs.replace(made, variables={**kept, **(declared or {})})

        for variable in variables:
            ready, _, known = _ready(variable.text, env(), variable.path, version)
            self.variables[variable.name] = ready
            held[variable.name] = known
        made = [
            _ready(each.text, env(authorizer=each.authorizer, with_variables=each.variables), each.path, version)
            for each in expressions
        ]
        self.expressions = [ready for ready, _, _ in made]
        self.types = [type for _, type, _ in made]
        """The static type of each."""

    def start(self, inputs: Inputs) -> TraceRun:
        return TraceRun(self, inputs)


class TraceRun:
    """One evaluation. Variables are computed when they are first asked for, and traced once."""

    def __init__(self, unit: TraceUnit, inputs: Inputs) -> None:
        self._unit = unit
        self._activation = Activation(msgspec.structs.replace(inputs, check_deadline=None))
        self.variables: dict[str, Step] = {}
        """The variables that were asked for, in that order, with what they came to."""

    def trace(self, index: int) -> Step:
        """Expression `index`. Raises `NotComparable`, `NeedsState` and `TooLarge`."""
        return self._trace(self._unit.expressions[index])

    def _trace(self, ready: _Ready) -> Step:
        with room():
            return Tracer(self._unit.context, ready.checked, ready.facts, self._activation, self._variable).run()

    def _variable(self, name: str) -> Any:
        step = self.variables.get(name)
        if step is None:
            step = self._trace(self._unit.variables[name])
            self.variables[name] = step
        if step.value.__class__ is Failure:
            return Failure(f'composited variable "{name}" fails to evaluate: {step.value.text}')
        return step.value


def _ready(text: str, env: Env, path: str, version: Version) -> tuple[_Ready, Type, Held]:
    """With its static type, and what a variable of this text holds."""
    try:
        with room():
            checked = check(parse(text, quoted_names=version.quoted_names), env)
            validate(checked)
            folded = fold(checked)
            known, held = sure(checked, env)
            ready = _Ready(known, analyse(known, folded))
            return ready, checked.type(checked.tree), held
    except Failed as failed:
        raise CompileErrors([CompileError(path=path, message=each.message) for each in failed.diagnostics]) from None
    except RecursionError:
        raise CompileErrors([CompileError(path=path, message="expression is nested too deeply")]) from None
