"""What many expressions take the same way to, kept for a review once one of them has been there.

Of a hundred policies most look into `object.spec.template.spec` and run over its `containers`. Such a value has a place
in the activation, one for each use, where it stands only if it is fit for that as it is: as a map it is surely one; as
a range it is a list, so short that nobody need count its elements. Everything else is looked at each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from webhook.cel.activation import Activation
from webhook.cel.check import Checked
from webhook.cel.context import ROOTS
from webhook.cel.env import VARIABLES
from webhook.cel.runtime import Unsure, elements
from webhook.cel.tree import Ident, Node, Select

Key = tuple[Any, ...]

PLACES: Final = 64
"""Of one `Shared`, at most: each activation holds them all, and who comes later shares less with others."""
UNCOUNTED: Final = 48
"""Iterations of one loop that nobody counts."""


class Places:
    """Which use of which value has which place. Grows while units are compiled."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}
        self._asked: set[Key] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, key: Key) -> int | None:
        """None for the first who asks, since most values are asked for once, and if there is no room left."""
        found = self._numbers.get(key)
        if found is None and key in self._asked and len(self._numbers) < PLACES:
            found = self._numbers[key] = len(self._numbers)
        self._asked.add(key)
        return found


def way_to(checked: Checked, node: Node, variables: Mapping[str, tuple[int, str]]) -> Key | None:
    """What names the node's value whoever asks: a variable's number, or an input and at least two fields."""
    if isinstance(node, Select) and checked.type(node.operand) == VARIABLES and not node.optional:
        return (variables[node.field][0],)
    fields: list[str] = []
    while isinstance(node, Select):
        if node.optional or node.id in checked.names or node.id in checked.raw:
            return None
        if checked.type(node.operand).kind == "optional":
            return None
        fields.append(node.field)
        node = node.operand
    root = checked.names.get(node.id)
    return (root, *fields[::-1]) if isinstance(node, Ident) and root in ROOTS and len(fields) > 1 else None


def kept_map(activation: Activation, place: int, value: Any) -> Any:
    """The value, which is a map. Raises `Unsure`."""
    if value.__class__ is not dict:
        raise Unsure
    activation.places[place] = value
    return value


def kept_range(activation: Activation, place: int, value: Any, turns: int) -> Any:
    """What a loop runs over that takes so many turns for each element; counted unless it is kept."""
    values = value if value.__class__ is list else elements(value)
    count = len(values) * turns
    if count <= UNCOUNTED:
        activation.places[place] = values
        return values
    activation.left -= count
    return activation.pause(values) if activation.left < 0 else values
