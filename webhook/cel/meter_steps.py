"""Names and steps of attributes in the metered form (`meter.py`): each writes statements and returns the name of a
value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhook.cel.check import LOCAL
from webhook.cel.context import METHODS, ROOTS
from webhook.cel.env import TYPES, VARIABLES
from webhook.cel.facts import NOT_CONSTANT
from webhook.cel.metering import attempt, bare_presence, presence, raw_presence, raw_step, step, typed_step, variable
from webhook.cel.tree import Bind, Conditional, Has, Ident, Index, Node, Select
from webhook.cel.values import TypeValue

if TYPE_CHECKING:
    from webhook.cel.meter import Meter


def attribute(meter: Meter, node: Ident | Select | Index, *, branch: bool) -> str:
    name = meter.checked.names.get(node.id)
    if name is not None:
        return _root(meter, node, name, branch=branch)
    if isinstance(node, Select) and meter.checked.type(node.operand) == VARIABLES:
        meter.charge(1 + (not branch))
        meter.settle()
        position, function = meter.context.variables[node.field]
        call = f"{meter.helper(variable)}(S, {position}, {function}, {meter.module.constant(node.field)})"
        found = meter.assign(call)
        if node.optional:
            meter.out.line(f"S.cost -= {found}.__class__ is Failure")
            return meter.assign(f"{meter.helper(attempt)}(Optional, {found})")
        return found
    assert not isinstance(node, Ident)  # noqa: S101 - every name stands for something
    operand = _operand(meter, node.operand, branch=branch)
    raw = node.id in meter.checked.raw
    optional = node.optional or (meter.checked.type(node.operand).kind == "optional" and not raw)
    take = f"{meter.helper(raw_step if raw else step)}("
    typed = meter.checked.typed.get(node.id)
    if typed is not None and not raw:
        take = f"{meter.helper(typed_step)}({meter.module.constant(typed)}, "
    meter.settle()
    if isinstance(node, Select):
        key = meter.module.constant(node.field)
        return meter.assign(f"{take}S, {operand}, {key}, {optional})")
    if meter.facts[node.key.id].constant is not NOT_CONSTANT:
        key = meter.emit(node.key)
        return meter.assign(f"{take}S, {operand}, {key}, {optional})")
    result = meter.assign(operand)
    with meter.block(f"if {result}.__class__ is not Failure{'' if raw else f' and {result} is not NONE'}:"):
        # A computed key is an attribute of its own, which costs its units in place of the step's.
        late = meter.facts[node.key.id].crashes and not branch and _has_unit(meter, node)
        if late:
            meter.charge(-1)
        key = meter.emit(node.key, branch=True)
        if late:
            meter.charge(1)
        meter.settle()
        meter.out.line(f"{result} = {take}S, {result}, {key}, {optional})")
    return result


def _has_unit(meter: Meter, node: Node) -> bool:
    """Whether an attribute costs a unit of its own, which the server charges last: not if a key panics."""
    while isinstance(node, Select | Index) and node.id not in meter.checked.names:
        node = node.operand
    return not isinstance(node, Conditional | Bind) and meter.checked.names.get(node.id) not in TYPES


def _operand(meter: Meter, node: Node, *, branch: bool) -> str:
    """What an attribute starts with: a name, another attribute, or any expression, which makes one."""
    if isinstance(node, Ident | Select | Index) and meter.facts[node.id].constant is NOT_CONSTANT:
        return attribute(meter, node, branch=branch)
    value = meter.emit(node)
    if not (branch or isinstance(node, Conditional | Bind)):
        meter.charge(1)
    return value


def _root(meter: Meter, node: Node, name: str, *, branch: bool) -> str:
    if name in TYPES and name not in ROOTS:
        return meter.module.constant(TypeValue(TYPES[name].outer))
    if not branch:
        meter.charge(1)
    if name == LOCAL:
        assert isinstance(node, Ident)  # noqa: S101 - only plain names are local
        return meter.use(meter.scope[node.name])
    if name in ROOTS:
        return meter.assign(f"S.{ROOTS[name]}")
    meter.settle()
    if name in METHODS:
        return meter.assign(f"S.{METHODS[name]}()")
    return meter.assign(f"{meter.helper(attempt)}(S.lookup, {meter.module.constant(name)})")


def has(meter: Meter, node: Has) -> str:
    if meter.checked.type(node.operand) == VARIABLES:
        meter.charge(1)
        position, function = meter.context.variables[node.field]
        meter.settle()
        forced = meter.assign(
            f"{meter.helper(variable)}(S, {position}, {function}, {meter.module.constant(node.field)})"
        )
        return meter.assign(f"{forced} if {forced}.__class__ is Failure else True")
    operand = _operand(meter, node.operand, branch=True)
    meter.settle()
    field = meter.module.constant(node.field)
    test = raw_presence if node.id in meter.checked.raw else presence
    if node.id in meter.checked.bare:
        test = bare_presence
    return meter.assign(f"{meter.helper(test)}(S, {operand}, {field})")
