"""Shapes of loops for which the direct form has more than a loop (`direct.py`)."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from webhook.cel.check import Checked
from webhook.cel.facts import NOT_CONSTANT, Facts, children, operands
from webhook.cel.tree import Call, Conditional, Fold, Has, Ident, Index, ListLiteral, Literal, Logic, Node, Select
from webhook.cel.unparse import unparse

NOT: Final = "!_"


def is_quantifier(node: Fold) -> bool:
    return node.macro in ("all", "exists") and not node.second


def is_collection(node: Fold) -> bool:
    return node.macro in ("filter", "map") and not node.second


def prefix_of(checked: Checked, facts: dict[int, Facts], node: Fold) -> tuple[str, Node, tuple[str, ...]] | None:
    """(method, text, constants) of `['a', 'b'].exists(r, text.startsWith(r))`, which Python's own method
    takes at once; the same of `all` and `!`."""
    texts, predicate = facts[node.range.id].constant, node.predicate
    if node.macro == "all":
        if not (isinstance(predicate, Call) and predicate.function == NOT):
            return None
        predicate = operands(predicate, checked)[0]
    if not (
        texts.__class__ is list
        and texts  # of none, the server asks nothing
        and all(text.__class__ is str for text in texts)
        and isinstance(predicate, Call)
        and predicate.function in ("startsWith", "endsWith")
        and predicate.target is not None
        and is_variable(predicate.arguments[0], node.variable)
        and not _mentions(predicate.target, node.variable)
    ):
        return None
    return predicate.function.lower(), predicate.target, tuple(texts)


def prefix_turns(checked: Checked, facts: dict[int, Facts], node: Node) -> int:
    """Turns of such loops inside the node, if each runs once: counted with the loop around them."""
    prefix = prefix_of(checked, facts, node) if isinstance(node, Fold) and is_quantifier(node) else None
    return sum(prefix_turns(checked, facts, each) for each in children(node)) + (len(prefix[2]) if prefix else 0)


class Run(NamedTuple):
    """`cs.all(c, !has(c.f) || c.f.all(e, !has(e.g) || P(e.h)))` as one loop of `P` over texts, or whatever is there."""

    fields: tuple[str, ...]
    """`f`, or several: where the lists are in the elements of the range; none where the range itself is run over."""
    guards: tuple[str, ...]
    """`g`, …: fields that an element must have; else nothing is asked of it."""
    field: str
    """`h`, what alone is asked for; empty where it is the element itself."""
    loop: Fold
    """The loop with `P`."""
    terms: tuple[Node, ...]
    """The decision without the guards, as terms of the chain that its loop has for a predicate; or the predicate. The
    loop's variable is what is asked for."""


def run_of(checked: Checked, facts: dict[int, Facts], node: Fold) -> Run | None:
    """How `all` or `exists` can be run as one loop, where that is more than the loop itself."""
    fields, loop = _inner(checked, facts, node) or ((), node)
    assert loop.predicate is not None  # noqa: S101 - quantifiers have one
    if looks_up(loop):
        return None
    guards, terms = _guarded(checked, loop, loop.predicate)
    asked = {_asked(checked, term, loop.variable) for term in terms}
    field = asked.pop() if len(asked) == 1 else None
    if field:
        return Run(fields, guards, field, loop, tuple([_asking(term, loop.variable) for term in terms]))
    return Run(fields, (), "", loop, (loop.predicate,)) if fields else None


def _inner(checked: Checked, facts: dict[int, Facts], node: Fold) -> tuple[tuple[str, ...], Fold] | None:
    """(fields, inner loop) where nothing is asked of an element but to have the fields, each guarded."""
    chain = node.predicate
    if not (isinstance(chain, Logic) and chain.is_and == (node.macro == "exists")) or looks_up(node):
        return None
    *guards, inner = chain.terms
    if not (isinstance(inner, Fold) and is_quantifier(inner) and inner.macro == node.macro and inner.predicate):
        return None
    fields = _fields_of(checked, inner.range, node.variable)
    known = [_fields_of(checked, _has(checked, node, guard), node.variable) for guard in guards]
    if (
        not fields
        or known != [fields[: number + 1] for number in range(len(fields))]
        or facts[inner.id].constant is not NOT_CONSTANT
        or prefix_of(checked, facts, inner) is not None
        or (inner.variable != node.variable and _mentions(inner.predicate, node.variable))
    ):
        return None
    return fields, inner


def _guarded(checked: Checked, loop: Fold, predicate: Node) -> tuple[tuple[str, ...], tuple[Node, ...]]:
    """(fields of an element in tests for being there that come first, the terms behind them)."""
    if not (isinstance(predicate, Logic) and predicate.is_and == (loop.macro == "exists")):
        return (), (predicate,)
    guards: list[str] = []
    for term in predicate.terms[:-1]:
        fields = _fields_of(checked, _has(checked, loop, term), loop.variable)
        if len(fields) != 1:
            break
        guards += fields
    return tuple(guards), predicate.terms[len(guards) :]


def _has(checked: Checked, loop: Fold, term: Node) -> Node | None:
    """`has(…)` of a term that lets an element without it pass: in `all` it is negated."""
    if loop.macro == "all":
        if not (isinstance(term, Call) and term.function == NOT):
            return None
        term = operands(term, checked)[0]
    return term if isinstance(term, Has) else None


_PLAIN: Final = (Literal, Ident, Select, Has, Index, Call, Logic, Conditional, ListLiteral, Fold)


def _asked(checked: Checked, node: Node, variable: str) -> str | None:
    """The one field that is asked for of the variable, nothing else being; empty for none, None for anything else."""
    if is_variable(node, variable) or not isinstance(node, _PLAIN):
        return None
    if isinstance(node, Fold) and variable in (node.variable, node.second):
        return None
    if isinstance(node, Select) and is_variable(node.operand, variable):
        return (_fields_of(checked, node, variable) or (None,))[0]
    found = {_asked(checked, each, variable) for each in children(node)} - {""}
    return found.pop() if len(found) == 1 else None if found else ""


def _asking(node: Node, variable: str) -> Node:
    """The same with the variable itself in the place of its field."""

    def of(part: Node) -> Node:
        return _asking(part, variable)

    match node:
        case Select(operand=operand) if is_variable(operand, variable):
            return operand
        case Select() | Has():
            return replace(node, operand=of(node.operand))
        case Index():
            return replace(node, operand=of(node.operand), key=of(node.key))
        case Call():
            target = None if node.target is None else of(node.target)
            return replace(node, target=target, arguments=tuple(map(of, node.arguments)))
        case Logic():
            return replace(node, terms=tuple(map(of, node.terms)))
        case Conditional():
            return replace(node, condition=of(node.condition), then=of(node.then), otherwise=of(node.otherwise))
        case ListLiteral():
            return replace(node, elements=tuple(map(of, node.elements)))
        case Fold():
            predicate, body = (None if part is None else of(part) for part in (node.predicate, node.body))
            return replace(node, range=of(node.range), predicate=predicate, body=body)
    return node


def _fields_of(checked: Checked, node: Node | None, variable: str) -> tuple[str, ...]:
    """The fields of `variable.f.g`, all of maps for all that is known; none of anything else."""
    fields: list[str] = []
    while isinstance(node, Select | Has):
        if (isinstance(node, Select) and node.optional) or node.id in checked.names or node.id in checked.raw:
            return ()
        if checked.type(node.operand).kind != "dyn":
            return ()
        fields.append(node.field)
        node = node.operand
    return tuple(fields[::-1]) if node is not None and is_variable(node, variable) else ()


def is_variable(node: Node, name: str) -> bool:
    return isinstance(node, Ident) and node.name == name


def looks_up(node: Fold) -> bool:
    """Whether a loop over a map's keys asks for their values."""
    written = unparse(node.range)

    def asks(part: Node) -> bool:
        if isinstance(part, Index) and is_variable(part.key, node.variable) and unparse(part.operand) == written:
            return True
        return any(map(asks, children(part)))

    return any(asks(part) for part in (node.predicate, node.body) if part is not None)


def _mentions(node: Node, name: str) -> bool:
    return is_variable(node, name) or any(_mentions(each, name) for each in children(node))
