"""What an expression may use on which Kubernetes: the API server checks *new* expressions against what its predecessor
had, so that it can be rolled back, and evaluates *stored* ones with all that it knows itself.

Functions and syntax are told apart. How they evaluate is Kubernetes 1.37's: up to 1.36 some corners differ
(`indexOf` with an offset out of range, `quantity` arithmetic beyond int64).

Source: `apiserver pkg/cel/environment/base.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import msgspec

from webhook.cel.library import EVERY
from webhook.cel.overload import Overload
from webhook.cel.releases import NEWEST


class Version(msgspec.Struct, frozen=True):
    """An API server, and what the expression is to it."""

    minor: int = NEWEST
    new: bool = False
    """Whether it is being created or changed, else it is stored."""

    @property
    def functions(self) -> Mapping[str, tuple[Overload, ...]]:
        """The overloads by name."""
        return _functions(self.minor - 1 if self.new else self.minor, self.minor)

    @property
    def typed(self) -> bool:
        """Whether built-in kinds are held in Go's types (`typed.py`)."""
        return self.minor >= 37

    @property
    def quoted_names(self) -> bool:
        """Whether `` x.`a-b` `` can be read."""
        return self.minor >= 37

    def hint(self, function: str) -> str:
        """Why a function that exists is not there; empty for any other."""
        name = _WRITTEN.get(function, function)
        since = EVERY[name][0].since if name in EVERY and name not in self.functions else ""
        if not since:
            return ""
        first = int(since.partition(".")[2])
        stored = f"{function} came with Kubernetes {since}"
        return f"{stored}; new policies may use it from 1.{first + 1} on" if self.new else stored


STORED: Final = Version()
"""What is stored in the newest one."""

_WRITTEN: Final = {"sortBy": "@sortByAssociatedKeys", "range": "lists.range"}
"""Functions as they are written, where that is not the name that the table has."""


@cache
def _functions(offered: int, minor: int) -> Mapping[str, tuple[Overload, ...]]:
    """What an environment offers in the engine of a minor version."""

    def there(row: Overload) -> bool:
        since, until = (int(text.partition(".")[2]) if text else 0 for text in (row.since, row.until))
        return since <= offered and (not until or minor <= until)

    kept = {name: tuple(filter(there, rows)) for name, rows in EVERY.items()}
    return {name: rows for name, rows in kept.items() if rows}
