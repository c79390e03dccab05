"""`==`, `in` and `<` on values of any type, as cel-go has them (`common/types/*.go`)."""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.error import CelError, no_ability, no_overload, unhashable
from webhook.cel.values import (
    ABSENT,
    Duration,
    Map,
    Optional,
    Timestamp,
    TypeValue,
    Uint,
    Unhashable,
    at_key,
    key_from,
    key_of,
)

_NUMBERS = (int, float, Uint)
_PLAIN = (str, type(None), bool, bytes, Timestamp, Duration, TypeValue)


class Library:
    """Base of the libraries' own classes: comparing one with a value of another kind is an error, not false."""

    __slots__ = ()
    tag = ""
    """What the tagged form of a value calls it."""

    def text(self) -> str:
        """The canonical text."""
        raise NotImplementedError

    def same(self, other: Any) -> bool:
        """Equality with an object of the same class."""
        raise NotImplementedError


def equals(one: Any, other: Any) -> bool:
    """CEL's `==`. Raises `CelError` when a library's object meets another kind that is not null."""
    kind = one.__class__
    if kind is str or kind is bool or one is None:
        return other.__class__ is kind and bool(one == other)
    if kind in _NUMBERS:
        if other.__class__ not in _NUMBERS:
            return False
        # The server compares a double with an integer as two doubles; Python would compare exactly.
        if kind is float or other.__class__ is float:
            return float(one) == float(other)
        return bool(one == other)
    if kind is list:
        if other.__class__ is not list or len(one) != len(other):
            return False
        return all(map(_element_equals, one, other))
    if kind is dict or kind is Map:
        if not isinstance(other, dict) or len(one) != len(other):
            return False
        if kind is dict:  # its keys are strings, which nothing else equals
            for key, value in one.items():
                if key not in other:
                    return False
                held = other[key]
                if value.__class__ is str:
                    if held.__class__ is not str or value != held:
                        return False
                elif not _element_equals(value, held):
                    return False
            return True
        return all(_held_equally(value, at_key(other, key)) for key, value in one.items())
    if kind is Optional:
        if other.__class__ is not Optional:
            return False
        if one.value is ABSENT or other.value is ABSENT:
            return one.value is other.value
        if other.value is None and isinstance(one.value, Library):
            raise no_overload()
        return equals(one.value, other.value)
    if isinstance(one, Library):
        if other is None:
            return False
        if other.__class__ is not kind:
            raise no_overload()
        return one.same(other)
    return other.__class__ is kind and bool(one == other)


def _held_equally(value: Any, found: Any) -> bool:
    return found is not ABSENT and _element_equals(value, found)


def _element_equals(one: Any, other: Any) -> bool:
    # Inside lists and maps only a strict false ends the comparison: an error counts as equal.
    try:
        return equals(one, other)
    except CelError:
        return True


def differs(one: Any, other: Any) -> bool:
    """CEL's `!=`: whatever is not strictly equal differs, an erring comparison too."""
    return not equal_or_error(one, other)


def equal_or_error(one: Any, other: Any) -> bool:
    """Equality for membership and `!=`: an error counts as unequal."""
    try:
        return equals(one, other)
    except CelError:
        return False


def member(value: Any, container: Any) -> bool:
    """CEL's `in`."""
    kind = container.__class__
    if kind is list or kind is tuple:
        if value.__class__ is str:
            return value in container
        return any(equal_or_error(value, element) for element in container)
    if kind is dict or kind is Map:
        return has_key(container, value)
    raise no_overload()


def hashed_member(value: Any, container: Any) -> bool:
    """`in`, in a map that the expression made or a list of constants: the server panics over what cannot be a key.
    Raises `Crash`."""
    if isinstance(container, dict | list) and container:
        try:
            key_of(value)
        except Unhashable:
            raise unhashable(value) from None
    return member(value, container)


def has_key(container: dict[Any, Any], key: Any) -> bool:
    if key.__class__ is str:
        return key in container
    if key.__class__ is bool or key.__class__ in _NUMBERS:
        return container.__class__ is Map and at_key(container, key_of(key)) is not ABSENT
    return container.__class__ is Map and key.__class__ in _OTHER_KEYS and key in container


_OTHER_KEYS: Final = (type(None), Timestamp, Duration, TypeValue)
"""Of which only a map that an expression made can have any."""


def keys(container: dict[Any, Any]) -> list[Any]:
    return list(container) if container.__class__ is dict else [key_from(key) for key in container]


_ORDERED = (str, bytes, bool, Timestamp, Duration)
_NAMES = {-2: "_<_", -1: "_<=_", 1: "_>=_", 2: "_>_"}


def compare(one: Any, other: Any, operator: int) -> int:
    """-1, 0 or 1. `operator` (-2 `<`, -1 `<=`, 1 `>=`, 2 `>`) only names it in errors."""
    kind = one.__class__
    if kind in _NUMBERS:
        if other.__class__ not in _NUMBERS:
            raise no_overload()
        if one != one or other != other:
            raise CelError("NaN values cannot be ordered")
        if kind is float or other.__class__ is float:
            one, other = float(one), float(other)
    elif kind in _ORDERED:
        if other.__class__ is not kind:
            raise no_overload()
    else:
        raise no_ability(one, _NAMES[operator])
    return -1 if one < other else int(one != other)


def less(one: Any, other: Any) -> bool:
    return compare(one, other, -2) < 0


def less_equal(one: Any, other: Any) -> bool:
    return compare(one, other, -1) <= 0


def greater(one: Any, other: Any) -> bool:
    return compare(one, other, 2) > 0


def greater_equal(one: Any, other: Any) -> bool:
    return compare(one, other, 1) >= 0
