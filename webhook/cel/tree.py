"""The syntax tree of CEL. Nodes say what was written and where; what it means (types, overloads) stands in
side tables by node id, so that one tree can be checked under several environments.

`&&` and `||` are flat chains, and macros keep their own node kinds: unfolding them into accumulator loops would
lose what the generator needs to write a plain `for`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class _Base(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    id: int
    at: int
    """Offset in code points of the character that the API server's messages point at."""


class Literal(_Base, frozen=True, eq=False, kw_only=True):
    value: Any
    kind: str
    """`null bool int uint double string bytes`."""


class Ident(_Base, frozen=True, eq=False, kw_only=True):
    name: str
    """With a leading dot for `.name`, the root scope."""


class Select(_Base, frozen=True, eq=False, kw_only=True):
    operand: Node
    field: str
    optional: bool = False


class Has(_Base, frozen=True, eq=False, kw_only=True):
    operand: Node
    field: str


class Index(_Base, frozen=True, eq=False, kw_only=True):
    operand: Node
    key: Node
    optional: bool = False


class Call(_Base, frozen=True, eq=False, kw_only=True):
    """A function or an operator; operators have the server's internal names (`_+_`, `@in`)."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]


class Logic(_Base, frozen=True, eq=False, kw_only=True):
    """A chain of two or more terms joined by one operator. `at` of each inner operator is not needed."""

    is_and: bool
    terms: tuple[Node, ...]


class Conditional(_Base, frozen=True, eq=False, kw_only=True):
    condition: Node
    then: Node
    otherwise: Node


class ListLiteral(_Base, frozen=True, eq=False, kw_only=True):
    elements: tuple[Node, ...]
    optional: frozenset[int] = frozenset()


class Entry(msgspec.Struct, frozen=True, eq=False):
    at: int
    key: Node
    value: Node
    optional: bool


class MapLiteral(_Base, frozen=True, eq=False, kw_only=True):
    entries: tuple[Entry, ...]


class Field(msgspec.Struct, frozen=True, eq=False):
    at: int
    name: str
    value: Node
    optional: bool


class Message(_Base, frozen=True, eq=False, kw_only=True):
    """`T{field: value}`."""

    name: str
    fields: tuple[Field, ...]


class Fold(_Base, frozen=True, eq=False, kw_only=True):
    """A comprehension macro, one or two variables: `all exists existsOne map filter transformList transformMap
    transformMapEntry`."""

    macro: str
    range: Node
    variable: str
    second: str = ""
    """The second variable; empty in the forms that have one."""
    predicate: Node | None = None
    body: Node | None = None


class Bind(_Base, frozen=True, eq=False, kw_only=True):
    """`target.optMap(variable, body)`, or `optFlatMap` when `flat`."""

    target: Node
    variable: str
    body: Node
    flat: bool


class SortBy(_Base, frozen=True, eq=False, kw_only=True):
    """`target.sortBy(variable, key)`."""

    target: Node
    keys: Fold


Node: TypeAlias = (
    Literal
    | Ident
    | Select
    | Has
    | Index
    | Call
    | Logic
    | Conditional
    | ListLiteral
    | MapLiteral
    | Message
    | Fold
    | Bind
    | SortBy
)


def bare(name: str) -> str:
    """What `.f` is called when it is found: `f`."""
    return name.removeprefix(".")


def qualified_name(node: Node) -> str | None:
    """`a.b.c` of a plain select chain on a name; `None` for anything else."""
    fields: list[str] = []
    while isinstance(node, Select) and not node.optional:
        fields.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(fields)])
