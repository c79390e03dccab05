"""What is fuzzed: text through lexer, parser, checker and both generators, and what they made, on one object.

Raises for whatever a policy's text may never cause: another exception than the compiler's own, a message without text
or position, two forms of code that mean different things. Knows no fuzzer.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.activation import Activation, Leave, grant
from webhook.cel.metering import Failure, run
from webhook.cel.program import FAULTS, fault
from webhook.cel.tagged import encode, plain
from webhook.cel.tariff import EXCEEDED
from webhook.cel.unit import CompileErrors, Expression, Inputs, Returns, Unit, Variable, compile_unit
from webhook.errors import NotComparable, WouldblockError

OBJECT: Final[dict[str, Any]] = {
    "a": [1, "s", None, {"a": True}],
    "k": {"a": 2.5},
    "": [],
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"replicas": 3, "containers": [{"name": "c", "image": "nginx:1"}, {"name": "d"}]},
}
SEPARATOR: Final = "\x00"
"""Between the variables `a`, `b`, `c` and the expression that comes last."""

_RETURNS: Final[tuple[Returns, ...]] = ("any", "bool", "string", "audit")
_ITERATIONS: Final = 2_000
_LENGTH: Final = 20_000


def one(data: bytes) -> None:
    """One input: a byte that says what is asked of the expression, then text."""
    if not data:
        return
    returns = _RETURNS[data[0] % len(_RETURNS)]
    *variables, expression = data[1:].decode("utf-8", "replace")[:_LENGTH].split(SEPARATOR)
    compiled = [_compiled(variables[:3], expression, returns, metered=metered) for metered in (False, True)]
    fast, metered = compiled
    if isinstance(fast, list) or isinstance(metered, list):
        assert fast == metered, f"the forms do not refuse the same: {fast}, {metered}"
        return
    _same(fast, metered)


def _compiled(variables: list[str], expression: str, returns: Returns, *, metered: bool) -> Unit | list[Any]:
    try:
        return compile_unit(
            [Expression(path="x", text=expression, returns=returns)],
            variables=[Variable(name=name, path=name, text=text) for name, text in zip("abc", variables, strict=False)],
            params=True,
            metered=metered,
        )
    except CompileErrors as failed:
        assert failed.errors, "refused without a word"
        for error in failed.errors:
            assert error.message, "a problem without a message"
            assert not error.line or 0 <= error.column <= len(error.source) + 1, f"no such place: {error}"
        return list(failed.errors)


def _same(fast: Unit, metered: Unit) -> None:
    """Both forms on the same object, unless that takes long."""
    try:
        first = _fast(fast, _activation(fast))
    except Leave:
        return
    second = _counted(metered, _activation(metered))
    if second != ("error", EXCEEDED):
        assert first == second, f"the forms differ: {first}, {second}"


def _activation(unit: Unit) -> Activation:
    made = unit.activation(Inputs(object=OBJECT, request={"name": "n", "operation": "CREATE"}))
    made.left, made.spare = grant(_ITERATIONS)
    made.grants = [grant(_ITERATIONS)] * unit.shared.size
    return made


def _fast(unit: Unit, activation: Activation) -> tuple[str, Any]:
    try:
        return _value(unit.calls[0](activation))
    except FAULTS as error:
        return "error", fault(error)
    except NotComparable as error:
        return "none", str(error)


def _counted(unit: Unit, activation: Activation) -> tuple[str, Any]:
    activation.left, activation.spare = grant(1 << 40)
    try:
        found = run(unit.calls[0], activation)
    except WouldblockError as error:
        return "none", str(error)
    return ("error", found.text) if found.__class__ is Failure else _value(found)


def _value(value: Any) -> tuple[str, Any]:
    tagged = encode(value)
    plain(tagged)
    return "value", tagged
