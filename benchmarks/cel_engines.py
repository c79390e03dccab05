"""Implementations of CEL, and the hand, as subjects: how each takes an object, and answers the hundred questions.

A subject's object in its own form is made apart (`take`), so that the making can be shown apart. Foreign engines live
in an environment of their own (`make bench-cel`): nothing here imports wouldblock before its own subject is asked for.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.cel_expressions import pairs

Object = dict[str, Any]
Ask = Callable[[Any], Sequence[object]]


class Engine(Protocol):
    """Made once; its making is not measured."""

    def take(self, value: Object) -> Any:
        """The object as the engine wants it: what has to be done once a review."""
        ...

    def ask(self, taken: Any) -> Sequence[object]:
        """The answers, in order. A failing evaluation raises."""
        ...


class Hand:
    """Plain Python."""

    def __init__(self) -> None:
        self._questions = [each.hand for each in pairs()]

    def take(self, value: Object) -> Any:
        return value

    def ask(self, taken: Any) -> Sequence[object]:
        return [question(taken) for question in self._questions]


class Policies:
    """wouldblock's own way: ValidatingAdmissionPolicies, with the API server's limits of cost in force, asked as a
    review asks them. `each` is the number of expressions a policy."""

    def __init__(self, each: int) -> None:
        from benchmarks.cel_policies import write
        from webhook.load import load
        from webhook.policyset import PolicySet

        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), each=each)
            found = load([Path(folder)])
        if found.broken:
            raise RuntimeError(f"a policy does not load: {found.broken[0]}")
        # Pod Security is in every set, and no expression.
        self._policies = PolicySet([one for one in found.policies if one.id.startswith("cel-")])
        self._each = each

    def take(self, value: Object) -> Any:
        import time

        from benchmarks.cel_policies import request_of
        from webhook.policy import Context

        # The deadline of serving; the clock that serving asks.
        return Context(request_of(value), state=_no_state(), clock=time.monotonic, deadline=float("inf")), value

    def ask(self, taken: Any) -> tuple[int, Sequence[Any]]:
        """The bitmap of policies that were decided, and what those have found that do not pass."""
        usual, value = taken
        context = usual.of_values(value, None)
        turns = self._policies.plan(context.request).turns(context)
        evaluated, asked = 0, []
        for position, policy in turns:
            verdict = policy.run(context)
            if verdict is not None:
                evaluated |= 1 << position
                asked.append((position, verdict.findings))
        return turns.decided | evaluated, turns.findings(asked)

    def answers(self, taken: Any) -> Sequence[object]:
        """As `ask`, a boolean a question."""
        decided, findings = self.ask(taken)
        assert decided + 1 == 1 << len(self._policies.policies), "a policy does not match"
        assert not any(each.error for each in findings)
        failed = {(each.policy, each.index) for each in findings}
        return [(one.id, index) not in failed for one in self._policies.policies for index in range(self._each)]


class Compiled:
    """wouldblock's compiled expressions alone: no policy around them."""

    def __init__(self) -> None:
        from webhook.cel.unit import Expression, compile_unit

        texts = [Expression(path=f"[{index}]", text=each.cel) for index, each in enumerate(pairs())]
        self._unit = compile_unit(texts)
        self._calls = self._unit.calls

    def take(self, value: Object) -> Any:
        from webhook.cel.unit import Inputs

        return Inputs(object=value)

    def ask(self, taken: Any) -> Sequence[object]:
        activation = self._unit.activation(taken)
        return [call(activation) for call in self._calls]


class CelCpp:
    """cel-cpp by its Python binding, `cel-expr-python`."""

    def __init__(self) -> None:
        from cel_expr_python import cel  # type: ignore[import-not-found]

        self._env = cel.NewEnv(variables={"object": cel.Type.DYN})
        self._nothing = self._env.compile("true")
        self._expressions = [self._env.compile(each.cel) for each in pairs()]

    def take(self, value: Object) -> Any:
        return self._env.Activation({"object": value})

    def ask(self, taken: Any) -> Sequence[object]:
        return [each.eval(taken).value() for each in self._expressions]

    def idle(self, taken: Any) -> Sequence[object]:
        """A hundred times nothing. The binding converts what an expression touches while it evaluates, so that only
        the calls themselves can be told apart."""
        return [self._nothing.eval(taken).value() for _ in self._expressions]


class CelRust:
    """The Rust implementation by its Python binding, `common-expression-language`."""

    def __init__(self) -> None:
        import cel  # type: ignore[import-not-found]

        self._context = cel.Context
        self._programs = [cel.compile(each.cel) for each in pairs()]

    def take(self, value: Object) -> Any:
        return self._context(variables={"object": value})

    def ask(self, taken: Any) -> Sequence[object]:
        return [each.execute(taken) for each in self._programs]


class CelPy:
    """`cel-python`, an interpreter in Python."""

    def __init__(self) -> None:
        import celpy  # type: ignore[import-not-found]

        env = celpy.Environment()
        self._programs = [env.program(env.compile(each.cel)) for each in pairs()]
        self._convert = celpy.json_to_cel

    def take(self, value: Object) -> Any:
        return {"object": self._convert(value)}

    def ask(self, taken: Any) -> Sequence[object]:
        return [bool(each.evaluate(taken)) for each in self._programs]


def _no_state() -> Any:
    from webhook.state import EMPTY

    return EMPTY


ENGINES: dict[str, Callable[[], Engine]] = {
    "hand": Hand,
    "policy": lambda: Policies(len(pairs())),
    "policies": lambda: Policies(1),
    "compiled": Compiled,
    "cpp": CelCpp,
    "rust": CelRust,
    "celpy": CelPy,
}
OWN = ("hand", "policy", "policies", "compiled")
"""Those that run in wouldblock's own environment; the others run in that of `make bench-cel`."""
LABELS = {
    "hand": "by hand, plain Python",
    "policy": "wouldblock, one policy of 100 validations",
    "policies": "wouldblock, 100 policies",
    "compiled": "wouldblock, the compiled expressions alone (no limits)",
    "cpp": "cel-cpp (cel-expr-python)",
    "rust": "Rust (common-expression-language)",
    "celpy": "celpy (cel-python)",
    "go": "cel-go, the API server's own code, in Go",
}


def answers(engine: Engine, taken: Any) -> list[object]:
    """What it says, as booleans."""
    return list(engine.answers(taken) if isinstance(engine, Policies) else engine.ask(taken))


def read_objects(path: Path) -> dict[str, Object]:
    found: dict[str, Object] = json.loads(path.read_bytes())
    return found
