"""What metered code calls when it runs: strict calls on values and failures, steps of attributes, limits.

Knows the tariff of a call only as a function that it is given.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel import runtime
from webhook.cel.error import CelError, Crash
from webhook.cel.patterns import Pattern
from webhook.cel.tariff import EXCEEDED, LIMIT, Cost
from webhook.cel.typed import Search
from webhook.cel.values import NONE, Map, Optional, register


class Failure:
    """An error as a value."""

    __slots__ = ("held", "text")

    def __init__(self, text: str, *, held: bool = False) -> None:
        """`held`: the server takes it for the value that was looked up, and tries the next step on it."""
        self.text = text
        self.held = held


register(Failure, "error", "*types.Err")
FAILED: Final = Failure("")
"""Any error, for what looks only at its class."""


def attempt(call: Any, *arguments: Any) -> Any:
    """A strict call: the first failed argument, or the result, or its failure."""
    for argument in arguments:
        if argument.__class__ is Failure:
            return argument
    try:
        return call(*arguments)
    except CelError as error:
        return Failure(error.text)


def charged(activation: Any, cost: Cost, call: Any, *arguments: Any) -> Any:
    """A strict call whose cost depends on its arguments and result."""
    least = cost(arguments, None)
    if activation.cost + least > activation.limit and not any(each.__class__ is Failure for each in arguments):
        # The server makes the call first. It ends the expression in any case, and we have not its speed.
        activation.cost += least
        raise OverLimit
    result = attempt(call, *arguments)
    if arguments[-1].__class__ is Pattern and arguments[0].__class__ is Failure:
        return result  # such calls have one argument in truth
    activation.cost += cost(arguments, result)
    return result


def charged_in_order(activation: Any, cost: Cost, call: Any, *arguments: Any) -> Any:
    """As `charged`, but not charged if an argument fails before the last one is evaluated."""
    for argument in arguments[:-1]:
        if argument.__class__ is Failure:
            return argument
    result = attempt(call, *arguments)
    activation.cost += cost(arguments, result)
    return result


def one_unit(_: Any, __: Any) -> int:
    return 1


def step(activation: Any, operand: Any, key: Any, optional: bool) -> Any:
    """One step of an attribute: a unit if it is tried, or if it is optional and there."""
    if operand.__class__ is Failure:
        if operand.held:
            activation.cost += 1
            return Failure(operand.text)
        return operand
    if key.__class__ is Failure:
        activation.cost += not (optional or operand.__class__ is Optional)
        return key
    if optional or operand.__class__ is Optional:
        found = attempt(runtime.optional_index, operand, key)
        activation.cost += found is not NONE and found.__class__ is not Failure
        return found
    activation.cost += 1
    return attempt(runtime.index, operand, key)


def typed_step(typed: Search, activation: Any, operand: Any, key: Any, optional: bool) -> Any:
    """A step in what the server holds in Go's types."""
    if Failure not in (operand.__class__, key.__class__):
        refused = attempt(typed.check, activation, operand, key)
        if refused.__class__ is Failure:
            activation.cost += not (optional or operand.__class__ is Optional)
            return Failure(refused.text, held=operand.__class__ is list)
    return step(activation, operand, key, optional)


def raw_step(activation: Any, operand: Any, key: Any, optional: bool) -> Any:
    """A step where the server opens no optional (`Checked.raw`)."""
    if operand.__class__ is not Optional:
        return step(activation, operand, key, optional)
    found = key if key.__class__ is Failure else attempt(_raw_index[optional], operand, key)
    activation.cost += not optional
    return found


_raw_index: Final = (runtime.raw_index, runtime.raw_optional_index)


def bare_presence(activation: Any, operand: Any, field: str) -> Any:
    """`has(operand.field)` as a branch of `c ? a : b` (`Checked.bare`)."""
    if operand.__class__ is not Optional:
        return presence(activation, operand, field)
    found = attempt(runtime.bare_has, operand, field)
    activation.cost += found is not NONE and found.__class__ is not Failure
    return found


def raw_presence(activation: Any, operand: Any, field: str) -> Any:
    activation.cost += operand.__class__ is not Failure
    return attempt(runtime.raw_has, operand, field)


def presence(activation: Any, operand: Any, field: str) -> Any:
    if operand.__class__ is Failure:
        return operand
    found = attempt(runtime.has, operand, field)
    activation.cost += found is True or operand.__class__ is not Optional
    return found


def truth(value: Any) -> Any:
    return value if value is True or value is False or value.__class__ is Failure else Failure("no such overload")


def either(first: Any, second: Any, decided: bool) -> Any:
    """The sum of two terms of which the first has not decided."""
    if second is decided or first.__class__ is not Failure:
        return second
    return first


def over(activation: Any) -> None:
    """Raised as an exception, for the limit is not absorbed."""
    if activation.cost > activation.limit:
        raise OverLimit


class OverLimit(Exception):
    """The expression has cost more than it may."""


def run(call: Any, activation: Any) -> Any:
    """One expression with its own limit: its value or `Failure`."""
    before, outer = activation.cost, activation.limit
    activation.limit = before + LIMIT
    try:
        value = call(activation)
        over(activation)
    except OverLimit:
        return Failure(EXCEEDED)
    except Crash as error:
        return Failure(error.text)
    finally:
        activation.limit = outer
    return value


def variable(activation: Any, position: int, call: Any, name: str) -> Any:
    """A variable's value or failure; computed, and charged, when it is first asked for."""
    if position not in activation.metered:
        before = activation.cost
        value = run(call, activation)
        # Charged to who asks, but counted against the variable's own limit.
        activation.limit += activation.cost - before
        if value.__class__ is Failure:
            value = Failure(f'composited variable "{name}" fails to evaluate: {value.text}')
        activation.metered[position] = value
    return activation.metered[position]


def gathered(parts: list[Any]) -> list[Any]:
    """A list literal's elements, optional ones as (value,)."""
    made: list[Any] = []
    for part in parts:
        made.extend(runtime.optional_element(part[0]) if part.__class__ is tuple else [part])
    return made


def entered(parts: list[Any]) -> dict[Any, Any]:
    """A map literal's entries, as (key, value, optional)."""
    pairs: list[tuple[Any, Any]] = []
    for key, value, optional in parts:
        pairs.extend(runtime.optional_entry(key, value) if optional else [(key, value)])
    return runtime.new_optional_map(pairs)


def insert(made: dict[Any, Any], *entry: Any) -> dict[Any, Any]:
    copy = Map(made)
    if len(entry) == 2:
        runtime.insert(copy, *entry)
    else:
        runtime.insert_all(copy, *entry)
    return copy


def extended(made: list[Any], value: Any) -> list[Any]:
    made.append(value)
    return made
