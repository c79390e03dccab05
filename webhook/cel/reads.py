"""Where an expression looks in the objects: paths of all that its value, its errors and its cost may depend on.

Each node stands for parts of the objects, which are followed through variables, macros and `dyn`. All of a part is
asked for only where something else is done with it than to go further down. `object` and `oldObject` are not told
apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from webhook.cel.check import LOCAL, Checked
from webhook.cel.env import VARIABLES
from webhook.cel.facts import operands
from webhook.cel.tree import Bind, Call, Conditional, Fold, Has, Ident, Index, Literal, Node, Select, SortBy, bare
from webhook.paths import Below, Path

Parts = frozenset[Path]
"""What a value may be: any of these parts of an object, or a list or optional of such, or a value without any."""

_NOTHING: Final[Parts] = frozenset()
_OBJECTS: Final = ("object", "oldObject")
_KEEPING: Final = frozenset({"dyn", "of", "optional.of", "value", "or", "orValue", "_+_", "reverse", "slice"})
"""Functions whose result consists of what their arguments stand for, and that do not look into it."""
_ENDS: Final = frozenset({"first", "last"})
"""Functions that pick an element."""
_DEPTH: Final = 32
"""Steps of a path; deeper ones nobody tells apart."""


class Reads(Struct, frozen=True):
    paths: frozenset[Path] = _NOTHING
    value: Parts = _NOTHING
    """What the value stands for, of which whoever has it may ask for more."""


def reads(checked: Checked, variables: Mapping[str, Reads]) -> Reads:
    """`variables` by name: what they read themselves is not repeated, but what is read of their values is added."""
    reader = _Reader(checked, variables)
    value = reader.parts(checked.tree)
    return Reads(frozenset(reader.found), value)


class _Reader:
    """Collects what is asked for while it says what nodes stand for."""

    def __init__(self, checked: Checked, variables: Mapping[str, Reads]) -> None:
        self.found: set[Path] = set()
        self._checked = checked
        self._variables = variables
        self._scope: dict[str, Parts] = {}

    def parts(self, node: Node) -> Parts:
        name = self._checked.names.get(node.id)
        if name is not None:
            return self._named(name, node)
        match node:
            case Select():
                return self._select(node)
            case Has():
                field = self._below(self._operand(node), node.field)
                return field if node.id in self._checked.bare else _NOTHING
            case Index():
                return self._index(node)
            case Call():
                return self._call(node)
            case Conditional():
                self._all_of(node.condition)
                return self.parts(node.then) | self.parts(node.otherwise)
            case Fold():
                return self._fold(node)
            case SortBy():
                self.parts(node.keys)
                return self.parts(node.target)
            case Bind():
                with self._bound({node.variable: self.parts(node.target)}):
                    return self.parts(node.body)
            case _:
                for operand in operands(node, self._checked):
                    self._all_of(operand)
        return _NOTHING

    def _named(self, name: str, node: Node) -> Parts:
        if name in _OBJECTS:
            return frozenset([()])
        if name == LOCAL and isinstance(node, Ident):
            return self._scope.get(node.name, _NOTHING)
        if self._checked.type(node) == VARIABLES:  # as a whole: nobody knows what becomes of it
            self._ask(_NOTHING.union(*(each.value for each in self._variables.values())))
        return _NOTHING

    def _select(self, node: Select) -> Parts:
        if self._checked.type(node.operand) == VARIABLES:
            held = self._variables.get(node.field)
            return _NOTHING if held is None else held.value
        return self._below(self.parts(node.operand), node.field)

    def _operand(self, node: Has) -> Parts:
        """A variable is there or not, whatever its value."""
        return _NOTHING if self._checked.type(node.operand) == VARIABLES else self.parts(node.operand)

    def _index(self, node: Index) -> Parts:
        operand, key = self.parts(node.operand), node.key
        self._all_of(key)
        if isinstance(key, Literal) and key.kind == "string":
            return self._below(operand, key.value)
        if self._checked.type(key).kind == "int":
            return self._below(operand, Below.ELEMENT)
        self._ask(operand)
        return _NOTHING

    def _call(self, node: Call) -> Parts:
        function = bare(node.function)
        inner = operands(node, self._checked)
        if function.endswith("ofNonZeroValue") and len(inner) == 1:
            held = self.parts(inner[0])
            self._below(held, Below.ELEMENT)
            return held
        if function in _KEEPING:
            return _NOTHING.union(*map(self.parts, inner))
        if function in _ENDS and len(inner) == 1:
            return self._below(self.parts(inner[0]), Below.ELEMENT)
        if function == "size" and len(inner) == 1:
            self._below(self.parts(inner[0]), Below.ELEMENT)
        elif function == "hasValue":
            self.parts(inner[0])
        elif function == "@in" and isinstance(inner[0], Literal) and inner[0].kind == "string":
            self._below(self.parts(inner[1]), inner[0].value)
        else:
            for operand in inner:
                self._all_of(operand)
        return _NOTHING

    def _fold(self, node: Fold) -> Parts:
        over = self.parts(node.range)
        elements = self._below(over, Below.ELEMENT)
        with self._bound({node.variable: _NOTHING, node.second or node.variable: elements}):
            for inner in (node.predicate, node.body):
                if inner is not None:
                    self._all_of(inner)
        return over if node.macro == "filter" else _NOTHING

    def _all_of(self, node: Node) -> None:
        self._ask(self.parts(node))

    def _ask(self, parts: Parts) -> None:
        self.found |= parts

    def _below(self, parts: Parts, step: str | Below) -> Parts:
        """What is one step below, which is looked at in any case."""
        below = frozenset((*part, step)[:_DEPTH] for part in parts)
        self._ask(frozenset((*part, Below.PRESENCE) for part in below if len(part) < _DEPTH))
        self._ask(frozenset(part for part in below if len(part) == _DEPTH))
        return below

    @contextmanager
    def _bound(self, names: Mapping[str, Parts]) -> Iterator[None]:
        before = self._scope
        self._scope = {**before, **names}
        yield
        self._scope = before
