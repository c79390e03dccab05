"""What many expressions take the same way to, kept for a review once one of them has been there.

Of a hundred policies most look into `object.spec.template.spec` and run over its `containers`, or the `env` of each.
Such a value has a place in the activation, one for each use, where it stands only if it is fit for that as it is: as a
map it is surely one; as a range it is a list, so short that nobody need count its elements. Of a loop that asks for one
field only, or looks into lists in lists, what it asks for stands there (`shapes.Run`), for others ask the same of it.
Everything else is looked at each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from webhook.cel.activation import Activation
from webhook.cel.check import Checked
from webhook.cel.context import ROOTS
from webhook.cel.env import VARIABLES
from webhook.cel.needles import SEPARATOR
from webhook.cel.runtime import Unsure, elements
from webhook.cel.tree import Ident, Node, Select

Key = tuple[Any, ...]

PLACES: Final = 64
"""Of one `Shared`, at most: each activation holds them all, and who comes later shares less with others."""
UNCOUNTED: Final = 48
"""Iterations of one loop that nobody counts."""
RUNS: Final = 4
"""Who ask for the same run before it is kept: to make one takes as long as several loops, which may end early."""
SEARCHED: Final = 2
"""The same where a search for a needle mostly does for a loop."""
_AT_ONCE: Final = 1_000
"""Elements that are looked into at once: more take so long that somebody has to look at the clock."""


class Places:
    """Which use of which value has which place. Grows while units are compiled."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}
        self._asked: Counter[Key] = Counter()

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, key: Key, after: int = 1) -> int | None:
        """None for the first who ask, `after` of them, since most values are asked for once, and if there is no room
        left."""
        found = self._numbers.get(key)
        if found is None and self._asked[key] >= after and len(self._numbers) < PLACES:
            found = self._numbers[key] = len(self._numbers)
        self._asked[key] += 1
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


Kept = list[Any]
"""A run's values, for how many turns they count, and `joined` once somebody has asked."""


def kept_run(
    activation: Activation,
    place: int,
    values: Any,
    shape: tuple[tuple[str, ...], tuple[str, ...], str],
    turns: int,
    inner_turns: int,
) -> Kept:
    """What one loop runs over (`shapes.Run`: fields, guards, field); it counts for `turns` for an element of `values`
    unless nobody need count them, `inner_turns` for each in the lists in it. Raises `Unsure`, and what a missing key
    raises."""
    if values.__class__ is not list or len(values) > _AT_ONCE:
        raise Unsure
    fields, guards, last = shape
    count = len(values) * turns
    count = count if count > UNCOUNTED else 0
    if fields:
        values = _inside(values, fields)
        count += len(values) * inner_turns
    kept: Kept = [_asked(values, guards, last) if last else values, count, None]
    activation.places[place] = kept
    return kept


def joined(kept: Kept) -> Any:
    """All texts of a run in one, for who looks for a needle (`needles.py`); any is in it where not all are texts."""
    try:
        text: Any = SEPARATOR + SEPARATOR.join(kept[0]) + SEPARATOR
    except TypeError:
        text = _ANYTHING
    kept[2] = text
    return text


class _Anything:
    __slots__ = ()

    def __contains__(self, needle: str) -> bool:
        return True


_ANYTHING: Final = _Anything()


def _inside(values: list[Any], fields: tuple[str, ...]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        for field in fields:
            if value.__class__ is not dict:
                raise Unsure
            if field not in value:
                break
            value = value[field]
        else:
            if value.__class__ is not list or len(found) + len(value) > _AT_ONCE:
                raise Unsure
            found += value
    return found


def _asked(values: list[Any], guards: tuple[str, ...], last: str) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value.__class__ is not dict:
            raise Unsure
        for field in guards:
            if field not in value:
                break
        else:
            found.append(value[last])
    return found
