"""CEL values as Python objects, at run time.

| CEL | Python |
| --- | --- |
| null, bool, int, double, string, bytes | `None bool int float str bytes` |
| uint | `Uint`, a subclass of `int`, so that `1u == 1` holds by itself |
| list, map | `list`; `dict` when all keys are strings, else `Map` |
| timestamp, duration | `Timestamp`, `Duration`: whole nanoseconds |
| type, optional | `TypeValue`, `Optional` |

Traps of Python that this module answers: `bool` is an `int` (test `value.__class__`, never `isinstance(value, int)`),
and `True == 1 == 1.0` as a dictionary key (`Map` keeps them apart).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1


class Uint(int):
    """An unsigned 64-bit integer. Arithmetic gives plain ints: wrap the results."""

    __slots__ = ()


class BoolKey(msgspec.Struct, frozen=True):
    """A bool as key of a `Map`: unlike `True`, it is not equal to 1."""

    value: bool


class HeldKey:
    """A list, map or optional as key of a `Map`: as on the server, it is equal to nothing but itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class NumberKey:
    """An uint or a double as key of a `Map`: unlike them, it is not equal to an int, nor the one to the other."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumberKey) or self.value.__class__ is not other.value.__class__:
            return False
        return bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


_KEYS = {False: BoolKey(False), True: BoolKey(True)}


class Map(dict[Any, Any]):
    """A map that may have keys other than strings. Keys are stored as `key_of` gives them."""

    __slots__ = ()


class Duration(msgspec.Struct, frozen=True, order=True):
    ns: int
    """Within int64, as in Go."""


class Timestamp(msgspec.Struct, frozen=True):
    ns: int
    """Since 1970-01-01T00:00:00Z; years 1 to 9999."""
    offset: int = 0
    """Seconds east of UTC in which it was written: `string()` keeps it, equality does not look at it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and self.ns == other.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __lt__(self, other: Timestamp) -> bool:
        return self.ns < other.ns


class TypeValue(msgspec.Struct, frozen=True):
    name: str


class Blank(msgspec.Struct, frozen=True):
    """A message without a value of its own, `google.protobuf.Empty{}`."""

    name: str


class Absent:
    """The content of `optional.none()`."""

    __slots__ = ()


ABSENT: Final = Absent()


class Optional:
    """An optional value; `NONE` is the only one whose `value` is `ABSENT`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getitem__(self, key: Any) -> Optional:
        """Selection by a constant name, which generated code writes as a subscript."""
        held = self.value
        if held.__class__ is Optional:
            return NONE  # only one is opened
        if held.__class__ is list:
            # What the subscript of a list raises, so that the error reads the same.
            raise TypeError("list indices must be integers")
        found = held.get(key, ABSENT) if isinstance(held, dict) else ABSENT
        return NONE if found is ABSENT else Optional(found)


NONE: Final = Optional(ABSENT)

_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Map: "map",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
    TypeValue: "type",
    Optional: "optional_type",
    Blank: "google.protobuf.Empty",
}
_GO_NAMES: dict[type, str] = {
    type(None): "types.Null",
    bool: "types.Bool",
    int: "types.Int",
    Uint: "types.Uint",
    float: "types.Double",
    str: "types.String",
    bytes: "types.Bytes",
    list: "*types.baseList",
    dict: "*types.baseMap",
    Map: "*types.baseMap",
    Duration: "types.Duration",
    Timestamp: "types.Timestamp",
    TypeValue: "*types.Type",
    Optional: "*types.Optional",
    Blank: "*types.protoObj",
}


_UNHASHED: set[type] = {bytes}


def register(cls: type, name: str, go: str, *, hashed: bool = True) -> None:
    """Names a library's own class, as `type()` and as error texts say it. `hashed`: whether it can be a map's key."""
    _NAMES[cls] = name
    _GO_NAMES[cls] = go
    if not hashed:
        _UNHASHED.add(cls)


def type_name(value: Any) -> str:
    """What `type(value)` is called."""
    return _NAMES[value.__class__]


def go_name(value: Any) -> str:
    """The Go type that some of the server's error texts name."""
    name = _GO_NAMES[value.__class__]
    # What arithmetic of quantities gives is a pointer.
    return f"*{name}" if getattr(value, "made", False) else name


_HELD = (list, dict, Map, Optional)


class Unhashable(Exception):
    """The value cannot be a key."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(value)


def key_of(value: Any) -> Any:
    """A CEL map key as the key of a Python dictionary. Raises `Unhashable`."""
    kind = value.__class__
    if kind is bool:
        return _KEYS[value]
    if kind is Uint or kind is float:
        return NumberKey(value)
    if kind in _UNHASHED:
        raise Unhashable(value)
    return HeldKey(value) if kind in _HELD else value


def key_from(key: Any) -> Any:
    """The CEL value of a dictionary's key."""
    return key.value if key.__class__ in _STORED else key


_STORED: Final = (BoolKey, HeldKey, NumberKey)


def at_key(made: dict[Any, Any], key: Any) -> Any:
    """What a map has at a key as it is stored, or `ABSENT`. A number is looked for as ints and uints too; where only
    a double equals it, the server finds none."""
    found = made.get(key, ABSENT)
    if found is not ABSENT or key.__class__ not in (int, NumberKey):
        return found
    number: Any = key_from(key)
    if number.__class__ is float:
        if not number.is_integer():
            return ABSENT
        found = made.get(int(number), ABSENT) if INT_MIN <= number <= INT_MAX else ABSENT
    elif number.__class__ is Uint:
        return made.get(int(number), ABSENT)
    return made.get(NumberKey(Uint(number)), ABSENT) if found is ABSENT and 0 <= number <= UINT_MAX else found


def make_map(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map; of equal keys the last one counts, as on the server. Raises `Unhashable`."""
    made = Map((key_of(key), value) for key, value in pairs)
    return dict(made) if all(key.__class__ is str for key in made) else made
