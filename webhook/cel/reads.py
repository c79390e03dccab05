"""Which fields of the objects an expression may ask for."""

from __future__ import annotations

from typing import Final

from webhook.cel.check import Checked
from webhook.cel.facts import operands
from webhook.cel.tree import Has, Ident, Node, Select

Path = tuple[str, ...]
"""`object` or `oldObject`, and names of fields below it. Whoever asks for a path may ask for all below it."""

_OBJECTS: Final = ("object", "oldObject")
_DEPTH: Final = 3
"""Names of a path; deeper ones nobody tells apart."""


def reads(checked: Checked) -> frozenset[Path]:
    """What the expression asks for by itself; variables speak for themselves."""
    found: set[Path] = set()
    waiting: list[Node] = [checked.tree]
    while waiting:
        node = waiting.pop()
        path = _path(checked, node)
        if path:
            found.add(path[:_DEPTH])
        else:
            waiting += operands(node, checked)
    return frozenset(found)


def _path(checked: Checked, node: Node) -> Path:
    """Empty for what is no path."""
    fields: list[str] = []
    while isinstance(node, Select | Has):
        fields.append(node.field)
        node = node.operand
    root = checked.names.get(node.id, "") if isinstance(node, Ident) else ""
    return (root, *fields[::-1]) if root in _OBJECTS else ()
