"""Static types: what they are called, when one can stand for another, and how type parameters are found.

The rules are cel-go's (`checker/types.go`): gradual, so `dyn` fits everywhere and only certain clashes are errors.
"""

from __future__ import annotations

from functools import cache

import msgspec


class Type(msgspec.Struct, frozen=True, cache_hash=True):
    """`kind` is the name of a primitive, or `list map type optional wrapper opaque object parameter dyn error`; `name`
    tells opaque types, objects and parameters apart; `arguments` are the element types."""

    kind: str
    name: str = ""
    arguments: tuple[Type, ...] = ()

    def __str__(self) -> str:
        """As messages about overloads write it: `list(dyn)`, `timestamp`, `null`."""
        return self._text(_SHORT)

    def runtime(self) -> str:
        """As `type()` and messages about required results write it: `google.protobuf.Timestamp`, `null_type`."""
        return self._text(_LONG)

    @property
    def outer(self) -> str:
        """`runtime` without the types of elements: `list`."""
        return self.name or _LONG.get(self.kind, self.kind)

    def _text(self, names: dict[str, str]) -> str:
        base = self.name or names.get(self.kind, self.kind)
        if not self.arguments:
            return base
        return f"{base}({', '.join(argument._text(names) for argument in self.arguments)})"

    @property
    def fluid(self) -> bool:
        """Whether it is `dyn`, or the type of something that has an error already."""
        return self.kind in ("dyn", "error")


_SHORT = {"error": "!error!", "optional": "optional_type"}
_LONG = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "error": "!error!",
    "optional": "optional_type",
}

DYN = Type("dyn")
ERROR = Type("error")
NULL = Type("null")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")

PRIMITIVES = {type.kind: type for type in (NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES)}


def list_of(element: Type) -> Type:
    return Type("list", "", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "", (key, value))


def type_of(type: Type) -> Type:
    return Type("type", "", (type,))


def optional_of(type: Type) -> Type:
    return Type("optional", "", (type,))


@cache
def parse_type(text: str) -> Type:
    """A type from its text: `map(string, list(T))`; one capital letter is a parameter, a dotted name is opaque."""
    text = text.strip()
    if text.endswith(")"):
        head, inner = text[:-1].split("(", 1)
        return Type({"optional_type": "optional"}.get(head, head), "", tuple(map(parse_type, split_arguments(inner))))
    if len(text) == 1 and text.isupper():
        return Type("parameter", text)
    if "." in text:
        return Type("opaque", text)
    return Type(text)


def split_arguments(text: str) -> list[str]:
    """Splits at the commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    last = text[start:]
    return [*parts, last] if last.strip() else parts


class Bindings:
    """What the type parameters of one expression stand for so far."""

    def __init__(self) -> None:
        self.found: dict[Type, Type] = {}
        self.made = 0

    def fresh(self) -> Type:
        """A new type parameter; the number shows in messages, as on the server."""
        parameter = Type("parameter", f"_var{self.made}")
        self.made += 1
        return parameter

    def substitute(self, type: Type, *, open_is_dyn: bool = False) -> Type:
        if type.kind == "parameter":
            known = self.found.get(type)
            if known is not None:
                return self.substitute(known, open_is_dyn=open_is_dyn)
            return DYN if open_is_dyn else type
        if not type.arguments:
            return type
        arguments = tuple(self.substitute(argument, open_is_dyn=open_is_dyn) for argument in type.arguments)
        return type if arguments == type.arguments else Type(type.kind, type.name, arguments)

    def assignable(self, one: Type, other: Type) -> bool:
        """Whether `one` can stand where `other` is wanted; remembers what that says about parameters."""
        return self.all_assignable((one,), (other,))

    def all_assignable(self, ones: tuple[Type, ...], others: tuple[Type, ...]) -> bool:
        before = dict(self.found)
        if len(ones) == len(others) and all(map(self._assignable, ones, others)):
            return True
        self.found = before
        return False

    def _assignable(self, one: Type, other: Type) -> bool:
        if other.kind == "parameter":
            fits, bound = self._bind(one, other)
            if fits:
                return True
            if bound:
                return False
        if one.kind == "parameter":
            return self._bind(other, one)[0]
        if one.fluid or other.fluid:
            return True
        if one.kind == "null":
            return other.kind in _NULLABLE
        if other.kind == "null":
            return one.kind in _NULLABLE
        one, other = unwrapped(one), unwrapped(other)
        if one.kind != other.kind:
            return False
        if one.kind == "type":
            return True
        if one.name != other.name or len(one.arguments) != len(other.arguments):
            return False
        return all(map(self._assignable, one.arguments, other.arguments))

    def _bind(self, type: Type, parameter: Type) -> tuple[bool, bool]:
        """(whether `type` can be what `parameter` stands for, whether that was known already)."""
        if type == parameter:
            return True, True
        known = self.found.get(parameter)
        if known is not None:
            if type.kind == "parameter" and type == known:
                return True, True
            if self._assignable(type, known):
                general = more_general(type, known)
                if not self._occurs(parameter, general):
                    self.found[parameter] = general
                return True, True
            return False, True
        if self._occurs(parameter, type):
            return False, False
        self.found[parameter] = type
        return True, False

    def _occurs(self, parameter: Type, type: Type) -> bool:
        if type == parameter:
            return True
        if type.kind == "parameter":
            known = self.found.get(type)
            return known is not None and self._occurs(parameter, known)
        return any(self._occurs(parameter, argument) for argument in type.arguments)


_NULLABLE = ("null", "timestamp", "duration", "object", "opaque", "optional", "wrapper")


def unwrapped(type: Type) -> Type:
    """The type of what may also be null: `wrapper(int)` and `int` stand for each other."""
    return type.arguments[0] if type.kind == "wrapper" else type


def more_general(one: Type, other: Type) -> Type:
    return one if _less_specific(one, other) else other


def _less_specific(one: Type, other: Type) -> bool:
    if one.kind in ("dyn", "parameter"):
        return True
    if other.kind in ("dyn", "parameter"):
        return False
    one, other = unwrapped(one), unwrapped(other)
    if one.kind != other.kind or one.name != other.name or len(one.arguments) != len(other.arguments):
        return False
    return one.kind == "type" or all(map(_less_specific, one.arguments, other.arguments))


def equivalent(one: Type, other: Type) -> bool:
    """Whether two literal elements count as of one type (the homogeneity check)."""
    one, other = unwrapped(one), unwrapped(other)
    if one.kind != other.kind or one.name != other.name or len(one.arguments) != len(other.arguments):
        return False
    return all(map(equivalent, one.arguments, other.arguments))
