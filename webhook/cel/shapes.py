"""Shapes of loops for which the direct form has more than a loop (`direct.py`)."""

from __future__ import annotations

from typing import Final

from webhook.cel.check import Checked
from webhook.cel.facts import Facts, children, operands
from webhook.cel.tree import Call, Fold, Ident, Index, Node
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
        and _is_variable(predicate.arguments[0], node.variable)
        and not _mentions(predicate.target, node.variable)
    ):
        return None
    return predicate.function.lower(), predicate.target, tuple(texts)


def prefix_turns(checked: Checked, facts: dict[int, Facts], node: Node) -> int:
    """Turns of such loops inside the node, if each runs once: counted with the loop around them."""
    prefix = prefix_of(checked, facts, node) if isinstance(node, Fold) and is_quantifier(node) else None
    return sum(prefix_turns(checked, facts, each) for each in children(node)) + (len(prefix[2]) if prefix else 0)


def _is_variable(node: Node, name: str) -> bool:
    return isinstance(node, Ident) and node.name == name


def looks_up(node: Fold) -> bool:
    """Whether a loop over a map's keys asks for their values."""
    written = unparse(node.range)

    def asks(part: Node) -> bool:
        if isinstance(part, Index) and _is_variable(part.key, node.variable) and unparse(part.operand) == written:
            return True
        return any(map(asks, children(part)))

    return any(asks(part) for part in (node.predicate, node.body) if part is not None)


def _mentions(node: Node, name: str) -> bool:
    return _is_variable(node, name) or any(_mentions(each, name) for each in children(node))
