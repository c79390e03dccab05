"""Macros in the metered form (`meter.py`): comprehensions, `sortBy`, `optMap` and `optFlatMap`. Each writes statements
and returns the name of a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from webhook.cel import runtime
from webhook.cel.facts import NOT_CONSTANT, children
from webhook.cel.metering import attempt, charged, either, extended, insert, one_unit, over, truth
from webhook.cel.tariff import LIST, cost_of
from webhook.cel.tree import Bind, Fold, Ident, Node, SortBy
from webhook.cel.values import Map

if TYPE_CHECKING:
    from webhook.cel.meter import Meter


def fold(meter: Meter, node: Fold) -> str:
    return _fold_over(meter, node, meter.emit(node.range))


def _fold_over(meter: Meter, node: Fold, values: str) -> str:
    ranged = runtime.pairs if node.second else runtime.elements
    over_values = meter.assign(f"{meter.helper(attempt)}({meter.helper(ranged)}, {values})")
    result = meter.assign(over_values)
    with meter.block(f"if {over_values}.__class__ is not Failure:"):
        before = dict(meter.scope)
        names = meter.local(node.variable) + (f", {meter.local(node.second)}" if node.second else "")
        _FOLDS[node.macro](meter, node, f"for {names} in {over_values}:", result)
        meter.charge(1)  # the result's name
        meter.scope = before
    return result


def head(meter: Meter, units: int) -> None:
    """The loop's condition and its look at limit and clock."""
    meter.charge(units)
    meter.settle()
    meter.out.line("S.left -= 1")
    meter.out.line("if S.left < 0: S.pause(())")
    meter.out.line(f"if S.cost > S.limit: {meter.helper(over)}(S)")


def _quantifier(meter: Meter, node: Fold, header: str, result: str) -> None:
    is_all = node.macro == "all"
    assert node.predicate is not None  # noqa: S101 - it always has one
    meter.out.line(f"{result} = {is_all}")
    with meter.block(header):
        head(meter, 2 if is_all else 3)
        meter.out.line(f"if {result} is {not is_all}: break")
        meter.charge(1)
        value = meter.emit(node.predicate)
        meter.settle()
        meter.out.line(f"{result} = {meter.helper(either)}({result}, {meter.helper(truth)}({value}), {not is_all})")


def _exists_one(meter: Meter, node: Fold, header: str, result: str) -> None:
    assert node.predicate is not None  # noqa: S101 - it always has one
    meter.out.line(f"{result} = 0")
    with meter.block(header):
        head(meter, 0)
        chosen = meter.assign(f"{meter.helper(truth)}({meter.emit(node.predicate)})")
        with meter.block(f"if {chosen} is True:"):
            meter.charge(2)
            meter.settle()
            meter.out.line(f"if {result}.__class__ is int: {result} += 1")
        with meter.block(f"elif {chosen}.__class__ is Failure:"):
            meter.out.line(f"{result} = {chosen}")
    meter.charge(1)
    meter.settle()
    meter.out.line(f"if {result}.__class__ is int: {result} = {result} == 1")


def _collect(meter: Meter, node: Fold, header: str, result: str) -> None:
    makes_list = node.macro in ("map", "filter", "transformList")
    meter.out.line(f"{result} = {'[]' if makes_list else meter.helper(Map) + '()'}")
    with meter.block(header):
        head(meter, 0)
        if node.predicate is None:
            _add(meter, node, result, makes_list)
        else:
            chosen = meter.assign(f"{meter.helper(truth)}({meter.emit(node.predicate)})")
            with meter.block(f"if {chosen} is True:"):
                _add(meter, node, result, makes_list)
            with meter.block(f"elif {chosen}.__class__ is Failure:"):
                meter.out.line(f"{result} = {chosen}")
    if not makes_list:
        meter.out.line(f"{result} = {meter.helper(attempt)}({meter.helper(runtime.finish_map)}, {result})")


def _add(meter: Meter, node: Fold, result: str, makes_list: bool) -> None:
    """`accumulator + [value]`, or an insertion."""
    if node.macro == "transformMap":
        _insert(meter, node, result)
        return
    # A list of a constant is a constant.
    constant = node.body is not None and meter.facts[node.body.id].constant is not NOT_CONSTANT
    meter.charge(1)
    if node.body is not None:
        value = meter.emit(node.body)
    else:
        meter.charge(1)
        value = meter.scope[node.variable]
    meter.charge((LIST if makes_list and not constant else 0) + 1)
    meter.settle()
    made = meter.helper(extended if makes_list else insert)
    meter.out.line(f"{result} = {meter.helper(attempt)}({made}, {result}, {value})")


def _insert(meter: Meter, node: Fold, result: str) -> None:
    """`cel.@mapInsert(accumulator, key, value)`, of which a failed accumulator lets nothing be evaluated."""
    assert node.body is not None  # noqa: S101 - it always has one
    meter.charge(1)
    with meter.block(f"if {result}.__class__ is not Failure:"):
        meter.charge(1)
        value = meter.emit(node.body)
        meter.settle()
        price, call = meter.module.constant(one_unit), meter.helper(insert)
        meter.out.line(
            f"{result} = {meter.helper(charged)}(S, {price}, {call}, {result}, {meter.scope[node.variable]}, {value})"
        )


def sort_by(meter: Meter, node: SortBy) -> str:
    values = meter.emit(node.target)
    meter.charge(1)
    keys = _fold_over(meter, node.keys, values)
    meter.charge(1)
    meter.settle()
    function = meter.context.dispatcher(meter.checked.overloads[node.id])
    meter.guard(node, meter.checked.overloads[node.id][0], [values, keys])
    cost = meter.module.constant(cost_of("@sortByAssociatedKeys", meter.checked.overloads[node.id]) or one_unit)
    return meter.assign(f"{meter.helper(charged)}(S, {cost}, {meter.helper(function)}, {values}, {keys})")


def bind(meter: Meter, node: Bind) -> str:
    # The server evaluates the target twice: for `hasValue` and for `value`.
    target = meter.outlined(node.target)
    first = meter.assign(target)
    meter.charge(1)
    meter.settle()
    content = meter.assign(f"{meter.helper(attempt)}({meter.helper(runtime.content)}, {first})")
    result = meter.assign(content)
    with meter.block(f"if {content} is ABSENT:"):
        meter.charge(1)
        meter.settle()
        meter.out.line(f"{result} = NONE")
    with meter.block(f"elif {content}.__class__ is not Failure:"):
        before = dict(meter.scope)
        if _mentions(node.body, node.variable):
            # `value` is computed when the variable is first looked at. Chains of them are evaluated 2ⁿ times.
            head(meter, 0)
            meter.out.line(target)
            meter.charge(1)
        python = meter.local(node.variable)
        meter.out.line(f"{python} = {content}")
        value = meter.emit(node.body)
        if not node.flat:
            meter.charge(1)
            meter.settle()
            value = f"{meter.helper(attempt)}(Optional, {value})"
        meter.settle()
        meter.out.line(f"{result} = {value}")
        meter.scope = before
    return result


def _mentions(node: Node, name: str) -> bool:
    return (isinstance(node, Ident) and node.name == name) or any(_mentions(child, name) for child in children(node))


_FOLDS: Final[dict[str, Any]] = {
    "all": _quantifier,
    "exists": _quantifier,
    "existsOne": _exists_one,
    **dict.fromkeys(("map", "filter", "transformList", "transformMap", "transformMapEntry"), _collect),
}
