"""What Kubernetes 1.37 holds in Go's own types: objects of built-in kinds, `request`, `namespaceObject`, and their
lists, maps and structs (`apiserver pkg/cel/common/valuesschemalesstyped.go`).

* a list, map or struct on the left of `==` is no value of another kind: an error, where for JSON it is false
* two structs are equal as their Go values are: quantities by what they amount to, and no list is an empty one
* even empty, none is a zero value
* maps and structs have texts for keys: to look for anything else is an error; lists take ints alone

Up to 1.36, and in custom resources and params, all is JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from webhook.cel import runtime
from webhook.cel.builtin import FLAT, QUANTITIES, QUANTITY, Origin
from webhook.cel.equality import equals, member
from webhook.cel.error import CelError, no_overload
from webhook.cel.library.containers import non_zero
from webhook.cel.library.quantity import quantity
from webhook.cel.values import ABSENT, Optional, go_name


class Comparison(msgspec.Struct, frozen=True, eq=False):
    """`==` and `!=` of what is on the left and, if that is known too, on the right. Without either: of what may be a
    library's own."""

    left: Origin | None
    right: Origin | None

    def equals(self, activation: Any, one: Any, other: Any) -> bool:
        """Raises `CelError`."""
        kind = one.__class__
        if self.left is None or kind is str:
            return equals(one, other)
        if kind is Optional and other.__class__ is Optional and ABSENT not in (one.value, other.value):
            if other.value is None and one.value.__class__ in (list, dict) and self.left.typed(activation):
                raise no_overload()  # what optionals hold is compared without a look at null
            return self.equals(activation, one.value, other.value)
        if other is None or (kind is not list and kind is not dict) or not self.left.typed(activation):
            return equals(one, other)
        if not isinstance(other, kind):
            if self.left.default and not one:
                return False
            raise no_overload()
        if self.right is None or (self.right.root != self.left.root and not self.right.typed(activation)):
            return equals(one, other)
        if self.left.field in QUANTITIES and not self.left.element:
            return equals(one, other)  # a map: its values are compared as texts
        return _alike(one, other, self.left.field, "")

    def differs(self, activation: Any, one: Any, other: Any) -> bool:
        try:
            return not self.equals(activation, one, other)
        except CelError:
            return True


class Search(msgspec.Struct, frozen=True, eq=False):
    """`in`."""

    value: Origin | None
    container: Origin

    def found(self, activation: Any, value: Any, container: Any) -> bool:
        """Raises `CelError`."""
        if container.__class__ is dict and value.__class__ is not str:
            self._refuse(activation, value)
        if member(value, container):
            return True
        if value.__class__ is not dict or container.__class__ is not list or self.value is None:
            return False
        if not (self.container.typed(activation) and self.value.typed(activation)):
            return False
        return any(_alike(each, value, self.container.field, "") for each in container)

    def at(self, activation: Any, holder: Any, key: Any) -> Any:
        """`holder[key]`."""
        self.check(activation, holder, key)
        return runtime.index(holder, key)

    def optional_at(self, activation: Any, holder: Any, key: Any) -> Optional:
        """`holder[?key]`, and `holder[key]` of an optional."""
        self.check(activation, holder, key)
        return runtime.optional_index(holder, key)

    def check(self, activation: Any, holder: Any, key: Any) -> None:
        """Raises `CelError` if Go's types do not take the key."""
        if holder.__class__ is Optional:
            holder = holder.value
        runtime.accept(key)
        if holder.__class__ is dict and key.__class__ is not str:
            self._refuse(activation, key)
        elif holder.__class__ is list and key.__class__ is not int and 0 <= runtime.key_of_list(key) < len(holder):
            self._refuse(activation, key, "index")

    def _refuse(self, activation: Any, key: Any, what: str = "map key") -> None:
        if self.container.typed(activation):
            raise CelError(f"unsupported {what} type: {go_name(key)}")


class NonZero(msgspec.Struct, frozen=True, eq=False):
    """`optional.ofNonZeroValue()`: nothing of Go's types is zero, be it empty."""

    value: Origin

    def of(self, activation: Any, value: Any) -> Optional:
        if value.__class__ in (list, dict) and not self.value.default and self.value.typed(activation):
            return Optional(value)
        return non_zero(value)


Typed = Comparison | Search | NonZero


def call_of(typed: Typed, name: str, activation: Any) -> Callable[..., Any]:
    """The operation for forms that give it its operands alone. `name` is the function's."""
    if isinstance(typed, Search):
        return partial(typed.found, activation)
    if isinstance(typed, NonZero):
        return partial(typed.of, activation)
    return partial(typed.equals if name == "_==_" else typed.differs, activation)


def _alike(one: Any, other: Any, field: str, above: str) -> bool:
    """Whether two values of one Go type are equal, `field` of what the field `above` holds."""
    kind = one.__class__
    if kind is dict and other.__class__ is dict:
        if one.keys() != other.keys():
            return False
        for key, held in one.items():
            found = other[key]
            if held.__class__ is str and found.__class__ is str:
                if held != found and not _amount_alike(held, found, key, field):
                    return False
            elif not _alike(held, found, key, field):
                return False
        return True
    if kind is list and other.__class__ is list:
        return len(one) == len(other) and all(_alike(*both, field, above) for both in zip(one, other, strict=True))
    if kind is str and other.__class__ is str:
        return one == other or _amount_alike(one, other, field, above)
    if one is None or other is None:
        return one == other or [] in (one, other)
    return equals(one, other)


def _amount_alike(one: str, other: str, field: str, above: str) -> bool:
    """Whether they are quantities, and amount to the same."""
    is_field = field in QUANTITY or (field == "value" and above in ("target", "current"))
    if above not in QUANTITIES and (above in FLAT or not is_field):
        return False
    try:
        return quantity(one).same(quantity(other))
    except CelError:
        return False
