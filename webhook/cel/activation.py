"""One evaluation's inputs and memory, as generated code sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from webhook.cel.error import CelError
from webhook.errors import NeedsState, NotComparable

_STRIDE: Final = 256
"""Loop iterations between two looks at the clock."""

SPENT: Final = 16
"""Units of cost of a single call that count as one iteration."""

Grant = tuple[int, int]
"""Iterations before the next look at the clock, and after it."""


def grant(iterations: int) -> Grant:
    now = min(iterations, _STRIDE)
    return now, iterations - now


NO_END: Final = grant(1 << 62)


class Leave(Exception):
    """The fast form has used up the iterations that it was granted: what it would cost is no longer known to stay
    below the limits, so it is to be evaluated by the metered form."""


class Missing:
    """See `MISSING`."""

    __slots__ = ("what",)

    def __init__(self, what: str = "the namespace of this request") -> None:
        self.what = what


MISSING: Final = Missing()
"""Stands for a `namespace_object` that the cluster state does not hold; `Missing("Namespace shop")` names it."""


Deferred: Final = partial
"""An input that is made when an expression first asks for it: no value is of this class."""


class Unset:
    """The memo of a variable that was not asked for yet."""

    __slots__ = ()


UNSET: Final = Unset()

_NOTHING: Final[Mapping[str, Any]] = {}


class Inputs(Struct, kw_only=True):
    """What the expressions see; `None` is CEL null. JSON values: dict, list, str, int, float, bool, None.

    `old_object` and `request` may be `Deferred`: few expressions ask for them.
    """

    object: Any = None
    old_object: Any = None
    params: Any = None
    namespace_object: Any = None
    """`MISSING`, or a `Missing` that says what, when the cluster state does not hold it."""
    request: Any = None
    """The `request` variable as a dict, empty optional strings absent."""
    check_deadline: Callable[[], None] | None = None
    """Called now and then inside long loops; may raise `errors.DeadlineExceeded`, which passes through."""
    bound: Mapping[str, Any] | None = None
    """Values of variables that `compile_unit` was given as `declared`."""


class Activation:
    """What generated code is given."""

    __slots__ = (
        "_old_object",
        "_request",
        "bound",
        "cost",
        "deadline",
        "failed",
        "grants",
        "left",
        "limit",
        "memo",
        "metered",
        "namespace_object",
        "object",
        "params",
        "places",
        "spare",
    )

    def __init__(self, inputs: Inputs, variables: int = 0, places: int = 0) -> None:
        """Memory for so many variables and places."""
        self.object = inputs.object
        self._old_object = inputs.old_object
        self.params = inputs.params
        self.namespace_object = inputs.namespace_object
        self._request = inputs.request
        self.deadline = inputs.check_deadline
        self.left, self.spare = NO_END
        self.grants: Sequence[Grant] | None = None
        """Of each variable, which is computed once for all who ask; None: no end."""
        self.memo: list[Any] = [UNSET] * variables
        self.failed: dict[int, str] = {}
        self.places: list[Any] = [None] * places
        """See `places.py`."""
        self.bound = inputs.bound or _NOTHING
        # Of the metered form: units so far, where to stop, and variables as values or failures.
        self.cost = 0
        self.limit = 0
        self.metered: dict[int, Any] = {}

    @property
    def old_object(self) -> Any:
        if self._old_object.__class__ is Deferred:
            self._old_object = self._old_object()
        return self._old_object

    @property
    def request(self) -> Any:
        if self._request.__class__ is Deferred:
            self._request = self._request()
        return self._request

    def namespace(self) -> Any:
        """`namespaceObject`, where it is known."""
        found = self.namespace_object
        if found.__class__ is Missing:
            raise NeedsState(found.what)
        return found

    def authorizer(self) -> Any:
        raise NotComparable("the policy asks the cluster's authorizer")

    def lookup(self, name: str) -> Any:
        """A variable that only tests declare."""
        try:
            return self.bound[name]
        except KeyError:
            raise CelError(f"no such attribute(s): {name}") from None

    def pause(self, values: Any) -> Any:
        """Called at a loop's head when enough iterations have run: looks at the clock, now and inside a long loop.

        Raises `Leave` when more are to run than were granted.
        """
        self.spare += self.left
        if self.spare < 0:
            raise Leave
        self.left = min(self.spare, _STRIDE)
        self.spare -= self.left
        if self.deadline is None:
            return values
        self.deadline()
        return values if len(values) <= _STRIDE else self._watched(values, self.deadline)

    def spend(self, price: Callable[[Any, Any], int], call: Callable[..., Any], *arguments: Any) -> Any:
        """A call whose cost grows faster than its arguments: it counts as iterations."""
        self.left -= price(arguments, None) // SPENT
        if self.left < 0:
            self.pause(())
        return call(*arguments)

    def _watched(self, values: Any, deadline: Callable[[], None]) -> Iterator[Any]:
        for start in range(0, len(values), _STRIDE):
            deadline()
            yield from values[start : start + _STRIDE]

    def forget(self) -> None:
        self.memo[:] = [UNSET] * len(self.memo)
        self.places[:] = [None] * len(self.places)
        self.failed.clear()
        self.metered.clear()
