"""Variables that several units define alike, computed once for all of them.

Units that are compiled into one `Shared` agree on one memory: a slot a distinct variable. Two variables are the same
when their names, their texts and the variables that their texts may name are the same; those that may see `params`
are never shared, for two units have different ones.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from webhook.cel.activation import Activation
from webhook.cel.bound import Bound
from webhook.cel.env import Held
from webhook.cel.error import CelError
from webhook.cel.places import Places
from webhook.cel.program import force
from webhook.cel.reads import Reads

Key = tuple[Any, ...]
_WORD = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


def words_of(text: str) -> frozenset[str]:
    """All that may be a name in an expression: what is not among them it does not name."""
    return frozenset(_WORD.findall(text))


class Slot(msgspec.Struct):
    """Where a variable is remembered, and the function of the unit that defined it first."""

    number: int
    held: Held
    call: Callable[..., Any] | None = None
    bound: Bound | None = None
    """What it may cost; None: no telling."""
    reads: Reads = Reads()


class Shared:
    """The memory's layout. Grows while units are compiled; `size` is read for each activation."""

    def __init__(self) -> None:
        self.slots: dict[Key, Slot] = {}
        self.by_number: list[Slot] = []
        self.names: list[str] = []
        self.limits: dict[int, Any] = {}
        """What `limits.py` made of them, by size class."""
        self.size = 0
        self.places = Places()

    def key(self, name: str, text: str, before: Iterable[tuple[str, Key]], *, params: bool) -> Key:
        """What makes a variable the same as another's. `before` are those defined before it, by name."""
        words = words_of(text)
        needs = tuple((other, key) for other, key in before if other in words)
        private = (params and "params" in words) or any(key[0] for _, key in needs)
        return (self.size + 1 if private else 0, name, text, needs)

    def add(self, key: Key, held: Held, bound: Bound | None = None, reads: Reads | None = None) -> Slot:
        slot = self.slots[key] = Slot(self.size, held, bound=bound, reads=reads or Reads())
        self.by_number.append(slot)
        self.names.append(key[1])
        self.size += 1
        return slot

    def ask(self, activation: Activation, number: int) -> None:
        """Computes a variable that nobody has asked for."""
        call = self.by_number[number].call
        assert call is not None  # noqa: S101 - set once its unit is loaded
        with contextlib.suppress(CelError):  # it is remembered
            force(activation, number, call, self.names[number])
