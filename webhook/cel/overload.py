"""The overload table: one row a signature. Checker, generator and documentation read nothing else about a function.

A row says what the function accepts, what it gives, how it is computed, and what is said when arguments of type
`dyn` turn out not to fit. Rows come from `library/`; this module gathers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import msgspec

from webhook.cel.types import Type, parse_type, split_arguments


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    function: str
    arguments: tuple[Type, ...]
    """With the receiver first in receiver style."""
    result: Type
    member: bool
    call: Callable[..., Any]
    """On values that fit."""
    template: str = ""
    """Python with `{0}`, `{1}` for the arguments, each used once, where that is faster than a call. Self-delimiting."""
    total: bool = False
    """Whether it cannot fail on values that fit."""
    on_dyn: Callable[..., Any] | None = None
    """Replaces the general dispatch by run-time type; shared by all rows of a function."""
    misfit: str = "named"
    """The text when no row fits at run time: `named` = `no such overload: f(int)`, `plain` = `no such overload`."""
    pattern: int = 0
    """The argument that is a regular expression; a constant one is compiled at load. 0: none."""
    prepared: str = ""
    """As `template`, when the pattern is compiled."""
    likely: bool = False
    """Whether it is worth a test at run time before all others, when nothing is known of the arguments."""
    unguarded: tuple[int, Callable[[Any], None]] | None = None
    """An argument of which the server expects a list, or an int, without a look, where only this row can be meant;
    and what raises `Crash` for anything else, a failure included."""
    since: str = ""
    """The first Kubernetes version that has it, where that matters to `versions.py`."""
    until: str = ""
    """The last one that has it."""

    @property
    def parameters(self) -> tuple[Type, ...]:
        """The type parameters of the signature, in the order in which the server numbers them."""
        return _parameters((self.result, *self.arguments))


@cache
def _parameters(types: tuple[Type, ...]) -> tuple[Type, ...]:
    found: dict[Type, None] = {}

    def walk(type: Type) -> None:
        if type.kind == "parameter":
            found[type] = None
        for argument in type.arguments:
            walk(argument)

    for type in types:
        walk(type)
    return tuple(found)


def row(signature: str, call: Callable[..., Any], **more: Any) -> Overload:
    """A row from a signature as documentation writes it: `string.charAt(int) -> string`, `size(list(T)) -> int`,
    `sets.contains(list(T), list(T)) -> bool`. A receiver is a type; anything else before the dot is a namespace."""
    left, result = signature.rsplit("->", 1)
    head, inner = _head(left.strip())
    arguments = [parse_type(part) for part in split_arguments(inner)]
    receiver, _, name = head.rpartition(".")
    member = bool(receiver) and _is_type(receiver)
    if member:
        arguments.insert(0, parse_type(receiver))
    return Overload(
        function=name if member else head,
        arguments=tuple(arguments),
        result=parse_type(result),
        member=member,
        call=call,
        **more,
    )


def _head(text: str) -> tuple[str, str]:
    """Splits `f(arguments)` at the parenthesis that the last one closes."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if depth == 0:
            return text[:at], text[at + 1 : -1]
    raise ValueError(text)


_TYPES: Final = frozenset(("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn"))


def _is_type(text: str) -> bool:
    """Whether the text before a dot is a receiver's type and not a namespace: libraries' own types are capitalised."""
    return text in _TYPES or text.endswith(")") or text.rpartition(".")[2][:1].isupper()


def table(rows: Iterable[Overload]) -> dict[str, tuple[Overload, ...]]:
    """Rows by function name, in order of declaration: the order in which the server tries them."""
    found: dict[str, list[Overload]] = {}
    for overload in rows:
        found.setdefault(overload.function, []).append(overload)
    return {name: tuple(overloads) for name, overloads in found.items()}
