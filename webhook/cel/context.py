"""What all functions of a generated module share, and where they find the policy's inputs in the activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from webhook.cel.activation import UNSET
from webhook.cel.dispatch import dispatcher
from webhook.cel.emit import COMMON, Module
from webhook.cel.error import CelError, Crash
from webhook.cel.overload import Overload
from webhook.cel.program import FAULTS, fault, force, settle
from webhook.cel.runtime import Unsure
from webhook.cel.values import ABSENT, NONE, Optional

if TYPE_CHECKING:
    from webhook.cel.places import Places

ROOTS: Final = {"object": "object", "oldObject": "old_object", "params": "params", "request": "request"}
METHODS: Final = {
    "namespaceObject": "namespace",
    "authorizer": "authorizer",
    "authorizer.requestResource": "authorizer",
}

COMMON.update(
    FAULTS=FAULTS,
    CelError=CelError,
    Crash=Crash,
    Unsure=Unsure,
    UNSET=UNSET,
    ABSENT=ABSENT,
    NONE=NONE,
    Optional=Optional,
    fault=fault,
    settle=settle,
    force=force,
)


class Context:
    """What all functions of a module share."""

    def __init__(self, module: Module, functions: Mapping[str, tuple[Overload, ...]]) -> None:
        self.module = module
        self.functions = functions
        self.variables: dict[str, tuple[int, str]] = {}
        """Position in the memo and function, of each variable defined so far."""
        self.places: Places | None = None
        """Of what the expressions ask alike; None for functions that have none."""
        self.metered = False
        """Whether functions count what they cost (`meter.py`)."""
        self.dispatchers: dict[Any, Callable[..., Any]] = {}

    def dispatcher(self, rows: tuple[Overload, ...]) -> Callable[..., Any]:
        """The choice among the overloads that the checker left open: one is only tested, several are all tried."""
        first = rows[0]
        if len(rows) == 1 and first.on_dyn is None:
            return self.dispatchers.setdefault(first, dispatcher(rows))
        key = (first.function, first.member)
        if key not in self.dispatchers:
            self.dispatchers[key] = dispatcher([row for row in self.functions[key[0]] if row.member == key[1]])
        return self.dispatchers[key]
