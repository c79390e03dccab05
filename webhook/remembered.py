"""What was made of findings, remembered for some: a policy says the same of all that violate it, and a cluster's
objects violate the same policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from webhook.policy import Finding

T = TypeVar("T")

_MOST: Final = 32
"""Of what is made one way."""
_RUNES: Final = 16_384
"""Of all messages together: they may hold texts of anybody's choice."""


class Remembered(Generic[T]):
    """A function of findings. Safe from any thread."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[tuple[Finding, ...]], T]) -> None:
        self._make = make
        self._known: dict[tuple[Finding, ...], T] = {}

    def of(self, findings: tuple[Finding, ...]) -> T:
        found = self._known.get(findings)
        if found is None:
            found = self._make(findings)
            if sum([len(each.message) for each in findings]) <= _RUNES:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[findings] = found
        return found
