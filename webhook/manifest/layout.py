"""Which expression of a policy's unit is what, and which of them share a budget of cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from webhook.cel.limits import Demand, Granted, granted
from webhook.cel.unit import Unit

CONDITIONS_BUDGET: Final = 2_500_000
"""Units for all match conditions of a binding and param (`apiserver pkg/apis/cel`)."""
BUDGET: Final = 10_000_000
"""Units for all its validations and their messages, and again for its audit annotations."""


class Layout:
    """The places of a policy's expressions in its unit."""

    __slots__ = ("annotations", "conditions", "messages", "validations")

    def __init__(
        self,
        *,
        conditions: Sequence[int],
        validations: Sequence[int],
        messages: Sequence[int | None],
        annotations: Sequence[int],
    ) -> None:
        """`messages` runs along `validations`: the message expression of each, if it has one."""
        self.conditions = tuple(conditions)
        self.validations = tuple(validations)
        self.messages = tuple(messages)
        self.annotations = tuple(annotations)

    def demands(self) -> tuple[Demand, ...]:
        """The budgets. The server evaluates all conditions, and every message, whatever came out before."""
        return (
            Demand(CONDITIONS_BUDGET, run=(), maybe=self.conditions),
            Demand(BUDGET, run=self.validations, maybe=tuple(each for each in self.messages if each is not None)),
            Demand(BUDGET, run=(), maybe=self.annotations),
        )


class Grants:
    """What the fast form of one policy may do, by size class of its inputs."""

    __slots__ = ("_demands", "_unit")

    def __init__(self, unit: Unit, layout: Layout) -> None:
        self._unit = unit
        self._demands = layout.demands()

    def at(self, size: int) -> Granted | None:
        """None: only the metered form can tell what it costs."""
        return granted(self._unit.bounds, self._demands, self._unit.shared, size)
