"""Which parts of an evaluated expression made it what it is."""

from __future__ import annotations

from collections.abc import Sequence

from webhook.cel.facts import children
from webhook.cel.metering import Failure
from webhook.cel.trace import Step, Turn
from webhook.cel.tree import Call, Conditional, Fold, Logic, Node

_EARLY = {"all": False, "exists": True}
"""What ends a loop at one element."""


def deciding(step: Step) -> list[Step]:
    """The innermost parts without which the value would be another, as far as operators and loops tell."""
    inner = _inner(step)
    return [each for part in inner for each in deciding(part)] if inner else [step]


def _inner(step: Step) -> Sequence[Step]:
    node = step.node
    if step.failed and not isinstance(node, Fold):
        return [each for each in step.steps if each.failed][-1:]
    match node:
        case Logic():
            early = step.value is (not node.is_and)
            return step.steps[-1:] if early else step.steps
        case Call(function="!_"):
            return step.steps
        case Conditional():
            return step.steps[1:]
        case Fold():
            if step.steps and step.steps[0].failed:
                return step.steps[:1]
            return [turn.steps[-1] for turn in deciding_turns(step)]
    return ()


def deciding_turns(step: Step) -> Sequence[Turn]:
    """The elements at which a loop was decided; none if it takes all of them."""
    node = step.node
    if not isinstance(node, Fold) or not step.turns:
        return ()
    if step.failed:
        text = step.value.text
        return [
            turn
            for turn in step.turns
            if turn.steps and turn.steps[-1].value.__class__ is Failure and turn.steps[-1].value.text == text
        ][:1]
    return step.turns[-1:] if step.value is _EARLY.get(node.macro) else ()


def start(node: Node) -> int:
    """Where the text of a node begins, leading parentheses apart."""
    return min([node.at, *map(start, children(node))])
