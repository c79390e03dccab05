"""What an expression comes to: a value, or an error."""

from __future__ import annotations

from typing import Any

from webhook.cel.activation import Activation
from webhook.cel.program import FAULTS, fault
from webhook.cel.unit import EvalError, Expression, Inputs, compile_unit


def outcome(call: Any, activation: Activation) -> Any:
    try:
        return call(activation)
    except FAULTS as error:
        return EvalError(fault(error))


def exactly(text: str, value: Any) -> Any:
    """Of an expression that is alone, in the exact form where it has one."""
    unit = compile_unit([Expression(path="x", text=text)])
    return outcome(unit._functions.get("x1", unit.calls[0]), unit.activation(Inputs(object=value)))
