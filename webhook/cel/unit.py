"""A unit: the expressions that share variables and inputs, compiled together into one Python module.

The API that `manifest.py` and `cel eval` use; see the package docstring.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from webhook.cel import metering, program
from webhook.cel.activation import MISSING, Activation, Deferred, Inputs, Missing
from webhook.cel.bound import Bound, Variables, bound
from webhook.cel.check import check
from webhook.cel.codegen import generate
from webhook.cel.context import Context
from webhook.cel.diagnostics import Diagnostic, Failed, position
from webhook.cel.direct import generate_direct, has_direct
from webhook.cel.emit import Module
from webhook.cel.env import Env, Held, policy_env
from webhook.cel.facts import analyse
from webhook.cel.fold import fold
from webhook.cel.parser import parse
from webhook.cel.places import UNCOUNTED
from webhook.cel.reads import Reads, reads
from webhook.cel.recursion import room
from webhook.cel.share import Key, Shared, Slot
from webhook.cel.sure import sure
from webhook.cel.types import DYN, Type, unwrapped
from webhook.cel.validate import validate
from webhook.cel.versions import STORED, Version
from webhook.errors import WouldblockError
from webhook.paths import Path

Returns = Literal["bool", "string", "audit", "any"]
"""Required static result type: `audit` is string or null."""


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """One expression of a unit."""

    path: str
    """Where it stands, such as `spec.validations[0].expression`; names it in errors and in generated code."""
    text: str
    returns: Returns = "any"
    variables: bool = True
    """Whether `variables` is declared (not in match conditions)."""
    authorizer: bool = True
    """Whether `authorizer` is declared (not in message expressions)."""
    always: bool | None = None
    """Whether whoever has the server's budgets to keep evaluates it whenever the server does, if that is known."""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: str
    text: str


class CompileError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with an expression. Line and column count from 1, in code points; 0: no position."""

    path: str
    line: int = 0
    column: int = 0
    message: str
    source: str = ""
    """The expression's line, for the caret."""
    hint: str = ""
    """What the API server does not say: since when there is what is missing."""


class CompileErrors(WouldblockError):
    """All that is wrong with a unit."""

    def __init__(self, errors: Sequence[CompileError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(error.message for error in errors))


class EvalError(msgspec.Struct, frozen=True):
    """A run-time error as a value. `text` is the API server's own, without the wrapper
    `expression '…' resulted in error: `."""

    text: str


class Unit:
    """A compiled unit. Immutable; evaluate it from any thread.

    `source` is the generated Python. `expressions` are in the order given to `compile_unit`.
    """

    def __init__(
        self, module: Module, expressions: Sequence[Expression], functions: Sequence[str], shared: Shared
    ) -> None:
        sources = module.functions()
        self.source = "\n".join(sources.values())
        self.expressions = tuple(expressions)
        self.shared = shared
        self.bounds: tuple[Bound | None, ...] = ()
        """What each expression may cost; None: no telling. Empty if the unit is metered."""
        self._functions = program.load(sources, module.namespace)
        self.reads: frozenset[Path] = frozenset()
        """What all of it asks of the objects; nothing if the unit is metered."""
        self.calls: tuple[Callable[[Activation], Any], ...] = tuple([self._functions[name] for name in functions])
        """The expressions as functions of an activation, which raise `program.FAULTS` for CEL errors: for callers that
        evaluate many units on one activation. Others use `start`."""

    def start(self, inputs: Inputs) -> Evaluation:
        """A new evaluation with fresh variables."""
        return Evaluation(self.calls, self.activation(inputs))

    def activation(self, inputs: Inputs) -> Activation:
        """Inputs and empty memory for this unit, and for all that were compiled into the same `Shared`."""
        return Activation(inputs, self.shared.size, len(self.shared.places))


class Evaluation:
    """One run of a unit over one set of inputs. Variables are computed lazily and remembered (values and errors)
    until `forget_variables`."""

    __slots__ = ("_activation", "_calls")

    def __init__(self, calls: tuple[Callable[[Activation], Any], ...], activation: Activation) -> None:
        self._calls = calls
        self._activation = activation

    def value(self, index: int) -> Any:
        """The value of expression `index`, or an `EvalError`.

        Raises `errors.NotComparable` when it asks for what a webhook cannot know (the authorizer), and
        `errors.NeedsState` when `namespace_object` is `MISSING` and is looked at.
        """
        try:
            return self._calls[index](self._activation)
        except program.FAULTS as error:
            return EvalError(program.fault(error))

    def measure(self, index: int) -> tuple[Any, int]:
        """The value of expression `index` or an `EvalError`, and what it cost in the server's units, variables that it
        was the first to ask for included. Only of units compiled as `metered`, which have no `value`."""
        before = self._activation.cost
        found = metering.run(self._calls[index], self._activation)
        cost = self._activation.cost - before
        return (EvalError(found.text) if isinstance(found, metering.Failure) else found), cost

    def forget_variables(self) -> None:
        self._activation.forget()


class _Compiled(msgspec.Struct, frozen=True):
    """One expression."""

    function: str
    """Its name in the module."""
    held: Held
    """What a variable of it would hold."""
    bound: Bound | None = None
    """What it may cost; None: no telling."""
    reads: Reads = Reads()


def compile_unit(
    expressions: Sequence[Expression],
    *,
    variables: Sequence[Variable] = (),
    params: bool = False,
    declared: Mapping[str, Type] | None = None,
    undeclared: Collection[str] = (),
    shared: Shared | None = None,
    metered: bool = False,
    version: Version = STORED,
) -> Unit:
    """Compiles a unit. Units with the same `shared` compute equal variables once (`Unit.activation`).

    `params` says whether `params` is declared; `declared` adds variables, which are read from `Inputs.bound`,
    and `undeclared` takes away usual ones. A `metered` unit counts cost (`Evaluation.measure`). `version` says for
    whom the expressions are. Raises `CompileErrors` with all that is wrong.
    """
    errors: list[CompileError] = []
    context = Context(Module(), Version(version.minor).functions)
    if metered:
        context.metered = True
    known: dict[str, Held] = {}

    bounds: dict[str, tuple[int, Bound | None]] = {}
    seen: dict[str, Reads] = {}

    def one(path: str, text: str, prefix: str, env: Env, returns: Returns, always: bool | None) -> _Compiled:
        try:
            with room():
                return _compile(context, text, prefix, env, returns, bounds, seen, version, always)
        except Failed as failed:
            errors.extend(_error(path, text, problem, version) for problem in failed.diagnostics)
        except RecursionError:
            errors.append(CompileError(path=path, message="expression is nested too deeply"))
        return _Compiled("", Held(DYN), None)

    def env(*, authorizer: bool = True, with_variables: bool = True) -> Env:
        made = policy_env(
            version.functions,
            params=params,
            authorizer=authorizer,
            variables=dict(known) if with_variables else None,
            typed=version.typed,
        )
        if declared or undeclared:
            kept = {name: type for name, type in made.variables.items() if name not in undeclared}
            made = msgspec.structs.replace(made, variables={**kept, **(declared or {})})
        return made

    shared = Shared() if shared is None else shared
    keys: dict[str, Key] = {}
    defined: list[tuple[Slot, str]] = []
    for variable in variables:
        key = keys[variable.name] = shared.key(variable.name, variable.text, tuple(keys.items()), params=params)
        slot = shared.slots.get(key)
        if slot is None or slot.call is None:
            made = one(variable.path, variable.text, "v", env(), "any", True)
            function = made.function
            slot = shared.add(key, made.held, made.bound, made.reads)
            defined.append((slot, function))
        else:
            function = context.module.constant(slot.call)
        context.variables[variable.name] = (slot.number, function)
        known[variable.name] = slot.held
        bounds[variable.name] = (slot.number, slot.bound)
        seen[variable.name] = slot.reads
    context.places = None if metered else shared.places
    compiled = [
        one(
            expression.path,
            expression.text,
            "e",
            env(authorizer=expression.authorizer, with_variables=expression.variables),
            expression.returns,
            expression.always,
        )
        for expression in expressions
    ]
    if errors:
        raise CompileErrors(errors)
    unit = Unit(context.module, expressions, [each.function for each in compiled], shared)
    unit.bounds = tuple(each.bound for each in compiled)
    unit.reads = frozenset().union(
        *(each.paths for each in seen.values()), *(each.reads.paths | each.reads.value for each in compiled)
    )
    for slot, function in defined:
        slot.call = unit._functions[function]
    return unit


def _compile(
    context: Context,
    text: str,
    prefix: str,
    env: Env,
    returns: Returns,
    variables: Variables,
    seen: Mapping[str, Reads],
    version: Version,
    always: bool | None,
) -> _Compiled:
    """Generates the function of one expression."""
    checked = check(parse(text, quoted_names=version.quoted_names), env)
    validate(checked)
    type = checked.type(checked.tree)
    wanted = _WANTED[returns]
    if wanted and unwrapped(type).kind not in wanted:
        expected = "one of [string null_type]" if returns == "audit" else wanted[0]
        raise Failed([Diagnostic(-1, f"must evaluate to {expected} but got {type.runtime()}")])
    folded = fold(checked)
    # From here on a type is what a value surely has, not what the checker took it for.
    checked, held = sure(checked, env)
    facts = analyse(checked, folded)
    if context.metered:
        from webhook.cel import meter

        return _Compiled(meter.generate_metered(context, checked, facts, prefix), held)
    # A variable's value has a bound by all that its loops may run.
    uncounted = UNCOUNTED if context.places is not None else 0
    write = generate_direct if has_direct(checked, facts) else generate
    return _Compiled(
        write(context, checked, facts, prefix),
        held,
        bound(checked, facts, variables, always=always, uncounted=uncounted),
        reads(checked, seen),
    )


_WANTED: dict[str, tuple[str, ...]] = {"bool": ("bool",), "string": ("string",), "audit": ("string", "null"), "any": ()}


def _error(path: str, text: str, problem: Diagnostic, version: Version) -> CompileError:
    line, column, source = position(text, problem.at)
    undeclared = _UNDECLARED.match(problem.message)
    hint = version.hint(undeclared[1]) if undeclared else ""
    return CompileError(path=path, line=line, column=column, message=problem.message, source=source, hint=hint)


_UNDECLARED = re.compile(r"undeclared reference to '([A-Za-z0-9_.]+)'")


__all__ = [
    "MISSING",
    "CompileError",
    "CompileErrors",
    "Deferred",
    "EvalError",
    "Evaluation",
    "Expression",
    "Inputs",
    "Missing",
    "Returns",
    "Shared",
    "Unit",
    "Variable",
    "compile_unit",
]
