"""Steps from a value to a part of it as Python expressions: selection, presence, index, and paths of optionals.

Each function gets the node's operands as expressions, each to be used once and in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from webhook.cel import runtime
from webhook.cel.env import VARIABLES
from webhook.cel.facts import NOT_CONSTANT
from webhook.cel.tree import Has, Ident, Index, Node, Select
from webhook.cel.typed import Search
from webhook.cel.types import DYN

if TYPE_CHECKING:
    from webhook.cel.codegen import Body

_INLINE: Final = 5
"""Steps of an optional path that are written out."""


def select(body: Body, node: Select, inner: list[str]) -> str:
    type = body.checked.type(node.operand)
    if type == VARIABLES:
        found = body.variable(node.field)
        return f"Optional({found})" if node.optional else found
    field = body.constant(node.field)
    if node.id in body.checked.raw:
        return _raw(body, node, inner[0], field)
    if node.optional or type.kind == "optional":
        return f"{body.module.helper(runtime.optional_select)}({inner[0]}, {field})"
    return f"{body.subscripted(inner[0])}[{field}]"


def _raw(body: Body, node: Select | Index, operand: str, key: str) -> str:
    step = runtime.raw_optional_index if node.optional else runtime.raw_index
    return f"{body.module.helper(step)}({operand}, {key})"


def has(body: Body, node: Has, inner: list[str]) -> str:
    type = body.checked.type(node.operand)
    if type == VARIABLES:
        return f"({body.variable(node.field)}, True)[1]"
    field = body.constant(node.field)
    if node.id in body.checked.raw:
        return f"{body.module.helper(runtime.raw_has)}({inner[0]}, {field})"
    if node.id in body.checked.bare:
        return f"{body.module.helper(runtime.bare_has)}({inner[0]}, {field})"
    first, again = body.held(inner[0])
    # The condition is evaluated first, so it holds the value.
    general = f"{body.module.helper(runtime.has)}({again}, {field})"
    return f"({field} in {again} if {first}.__class__ is dict else {general})"


def index(body: Body, node: Index, inner: list[str]) -> str:
    if node.id in body.checked.raw:
        return _raw(body, node, inner[0], inner[1])
    constant = body.facts[node.key.id].constant
    if node.optional or may_be_none(body, node):
        find = _finder(body, node)
        if constant is not NOT_CONSTANT:
            return f"{find}{inner[0]}, {inner[1]})"
        first, again = body.held(inner[0])
        return f"(NONE if {first} is NONE else {find}{again}, {inner[1]}))"
    operand, key = body.checked.type(node.operand), body.checked.type(node.key)
    if key.kind == "string" and operand.kind != "optional" and constant is not NOT_CONSTANT:
        return f"{body.subscripted(inner[0])}[{inner[1]}]"
    general = _finder(body, node)
    if constant.__class__ is int and constant >= 0 and operand.kind in ("dyn", "list"):
        first, again = body.held(inner[0])
        return f"({again}[{inner[1]}] if {first}.__class__ is list else {general}{again}, {inner[1]}))"
    return f"{general}{inner[0]}, {inner[1]})"


def optional_index(body: Body, node: Index) -> str:
    """`x[key]` of an optional: the key only if there is something."""
    result = body.out.temporary()
    body.out.line(f"{result} = {body.value(node.operand)}")
    with body.block(f"if {result} is not NONE:"):
        body.out.line(f"{result} = {_finder(body, node)}{result}, {body.value(node.key)})")
    return result


def may_be_none(body: Body, node: Index) -> bool:
    """Whether the operand may be an optional without a value, in whose place no key is evaluated: no JSON is, and
    what an expression gives may be."""
    held = body.checked.type(node.operand)
    start = node.operand
    while isinstance(start, Select | Index) and start.id not in body.checked.names:
        start = start.operand
    return held.kind == "optional" or (held == DYN and not isinstance(start, Ident | Select))


def _finder(body: Body, node: Index) -> str:
    """The beginning of a call that takes the operand and the key."""
    optional = node.optional or body.checked.type(node.operand).kind == "optional"
    typed = body.checked.typed.get(node.id)
    if isinstance(typed, Search):
        return f"{body.module.helper(typed.optional_at if optional else typed.at)}(S, "
    return f"{body.module.helper(runtime.optional_index if optional else runtime.index)}("


def optional_path(body: Body, node: Node) -> tuple[Node, list[str]] | None:
    """(base, fields) of `base.?a.?b.c`: selections that give one optional. `None` for anything else."""
    fields: list[str] = []
    checked = body.checked
    while isinstance(node, Select) and node.id not in checked.names:
        held = checked.type(node.operand)
        if node.id in checked.raw:
            return None
        if held == VARIABLES or not (node.optional or held.kind == "optional"):
            return None  # what is stored may be an optional, but the way to it is none
        fields.append(node.field)
        if held.kind != "optional":
            return node.operand, fields[::-1]
        node = node.operand
    return None


def path_expression(body: Body, base: str, fields: list[str]) -> str:
    """What stands at the end of an optional path, or `ABSENT`: no optional is made on the way, and no call while
    there are maps. Each step stands inside the next one's test."""
    if len(fields) > _INLINE:
        return f"{body.module.helper(runtime.at_path)}({', '.join([base, *map(body.constant, fields)])})"
    step = body.module.helper(runtime.at_step)
    found = base
    for turn, field in enumerate(map(body.constant, fields)):
        first, again = body.held(found)
        absent = f"ABSENT if {again} is ABSENT else " if turn else ""
        found = f"({again}.get({field}, ABSENT) if {first}.__class__ is dict else {absent}{step}({again}, {field}))"
    return found
