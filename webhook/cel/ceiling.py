"""What a call may cost at most, and how large its result may be, from the sizes of its arguments.

The tariff (`tariff.py`) read as an upper bound. `Unbounded` where size tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from webhook.cel.overload import Overload
from webhook.cel.poly import INPUT, Poly, Unbounded, larger, number, plus, scaled, smaller, symbol, times
from webhook.cel.types import Type
from webhook.cel.values import Map


class Extent(msgspec.Struct, frozen=True):
    """How large a value may be.

    The weight of a JSON value is at most the bytes that it is written with: a text's UTF-8 bytes and its quotes; of
    lists and maps the sum of their parts and a separator each, so that elements' weights add up to less than the
    whole's, and there are at most half as many of them.
    """

    weight: Poly
    count: Poly
    """Of elements or entries."""
    most: Poly | None = None
    """Of an int: its value, if there is a bound. Of a list of ints: their values."""


SCALARS: Final = {
    "bool": 5,
    "null": 4,
    "int": 20,
    "uint": 20,
    "double": 26,
    "timestamp": 64,
    "duration": 64,
    "type": 64,
}


def extent(weight: Poly, *, most: Poly | None = None) -> Extent:
    return Extent(weight, scaled(weight, 0.5), most)


SCALAR: Final = extent(number(64))
FAILED: Final = Extent(number(4), number(1))
"""An error: of size 1."""
INPUTS: Final = extent(symbol(INPUT))


def weigh(value: Any) -> int:
    """A value's weight."""
    if value.__class__ is str:
        return len(value.encode("utf-8", "replace")) + 2
    if value.__class__ is bytes:
        return len(value) + 2
    if value.__class__ is list:
        return 2 + sum(1 + weigh(each) for each in value)
    if value.__class__ in (dict, Map):
        return 2 + sum(2 + weigh(key) + weigh(each) for key, each in value.items())
    return 64 if value.__class__ not in (int, bool, type(None)) else len(str(value))


def of_constant(value: Any) -> Extent:
    count = len(value) if value.__class__ in (list, dict, Map) else 0
    most = number(max(value, 0)) if value.__class__ is int else None
    return Extent(number(weigh(value)), number(count), most)


def either(one: Extent, other: Extent) -> Extent:
    most = None if one.most is None or other.most is None else larger(one.most, other.most)
    return Extent(larger(one.weight, other.weight), larger(one.count, other.count), most)


class Argument(msgspec.Struct, frozen=True):
    """An argument of a call."""

    extent: Extent
    type: Type
    constant: Any = None
    inner: tuple[Argument, ...] = ()
    """The elements, where it is written as a list."""

    @property
    def size(self) -> Poly:
        """What the tariff calls its size."""
        if self.constant.__class__ in (str, bytes, list):
            return number(len(self.constant))
        if self.type.kind in ("list", "map"):
            return self.extent.count
        return number(1) if self.type.kind in SCALARS else plus(self.extent.weight, number(16))


def _share(units: Poly, tenths: int = 1) -> Poly:
    return plus(scaled(units, tenths / 10), number(1))


_TENTH: Final = frozenset(
    {
        *("lowerAscii", "upperAscii", "substring", "trim", "strings.quote", "format"),
        *("url", "quantity", "isQuantity", "semver", "isSemver", "cidr", "isCIDR", "ip", "isIP"),
    }
)
_EQUALITY: Final = frozenset(("_==_", "_!=_"))
_ORDERING: Final = frozenset(("_<_", "_<=_", "_>_", "_>=_"))
_WALKED: Final = frozenset(("isSorted", "sum", "min", "max", "indexOf", "lastIndexOf", "includes"))


def cost(
    function: str,
    rows: Sequence[Overload],
    given: Sequence[Argument],
    result: Extent,
    lesser: Callable[[Poly, Poly], Poly] = smaller,
) -> Poly:
    """What a call costs at most, beside what its arguments do. `lesser` knows how to bound the lesser of two sizes."""
    if function in _EQUALITY or (function in _ORDERING and _texts(rows)):
        return _share(lesser(given[0].size, given[1].size))
    if function in _TENTH:
        return _share(given[0].size)
    if function in _WALKED:
        return plus(given[0].extent.weight, number(16))
    charged = _CHARGED.get(function)
    return number(1) if charged is None else charged(rows, given, result)


_Charge = Callable[[Sequence[Overload], Sequence[Argument], Extent], Poly]


def _kinds(rows: Sequence[Overload]) -> tuple[str, ...]:
    return tuple(type.kind for type in rows[0].arguments) if len(rows) == 1 else ()


def _texts(rows: Sequence[Overload]) -> bool:
    return _kinds(rows) in (("string", "string"), ("bytes", "bytes"))


def _addition(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return _share(plus(given[0].size, given[1].size)) if _texts(rows) else number(1)


def _membership(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return plus(given[1].size, number(1)) if _kinds(rows)[1:] == ("list",) else number(1)


def _match(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    text, pattern = given[0].size, given[1].size
    return times(_share(plus(text, number(1))), plus(scaled(pattern, 0.25), number(1)))


def _fifth(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return _share(given[0].size, 2)


def _copied(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return plus(number(12), result.count)


def _compared(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return plus(number(1), scaled(times(given[0].size, given[1].size), 2))


def _sorted(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return plus(number(12), scaled(times(given[0].size, given[0].size), 2.1))


def _inside(rows: Sequence[Overload], given: Sequence[Argument], result: Extent) -> Poly:
    return plus(number(10), _share(given[1].size))


_CHARGED: Final[dict[str, _Charge]] = {
    "_+_": _addition,
    "@in": _membership,
    "string": lambda rows, given, result: _share(given[0].size),
    "bytes": lambda rows, given, result: _share(given[0].size),
    "startsWith": lambda rows, given, result: _share(given[1].size),
    "endsWith": lambda rows, given, result: _share(given[1].size),
    "contains": lambda rows, given, result: times(_share(given[0].size), _share(given[1].size)),
    **dict.fromkeys(("matches", "find", "findAll"), _match),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _fifth),
    "join": lambda rows, given, result: _share(plus(result.weight, number(1)), 2),
    **dict.fromkeys(("sets.contains", "sets.intersects", "sets.equivalent"), _compared),
    **dict.fromkeys(("slice", "lists.range", "reverse"), _copied),
    "flatten": lambda rows, given, result: plus(number(12), scaled(given[0].size, _depth(given))),
    **dict.fromkeys(("distinct", "sort", "@sortByAssociatedKeys"), _sorted),
    **dict.fromkeys(("containsIP", "containsCIDR"), _inside),
    "validate": lambda rows, given, result: scaled(_share(plus(given[1].size, number(1))), 276),
    "check": lambda rows, given, result: number(350_000),
}


def _depth(given: Sequence[Argument]) -> int:
    if len(given) == 1:
        return 1
    if given[1].constant.__class__ is not int:
        raise Unbounded
    return max(given[1].constant, 1)


def result(function: str, type: Type, given: Sequence[Argument]) -> Extent:
    """How large a call's result may be. Raises `Unbounded`."""
    if type.kind in SCALARS:
        return extent(number(SCALARS[type.kind]), most=_most(function, given))
    if function in _MADE:
        return _MADE[function](given)
    if function in _SAME:
        return given[0].extent
    if function in _INSIDE:
        return extent(given[0].extent.weight)
    if function in _SMALL:
        return SCALAR
    raise Unbounded


def _most(function: str, given: Sequence[Argument]) -> Poly | None:
    values = [each.extent.most for each in given]
    if function == "size":
        return given[0].size
    if function == "_+_" and values[0] is not None and values[1] is not None:
        return plus(values[0], values[1])
    if function == "_-_" and given[1].constant.__class__ is int and given[1].constant >= 0:
        return values[0]
    return None


def _sum(given: Sequence[Argument]) -> Extent:
    one, other = (each.extent for each in given)
    return Extent(plus(one.weight, other.weight, number(64)), plus(one.count, other.count), _most("_+_", given))


def _bytes(argument: Argument) -> Poly:
    if argument.constant.__class__ is str:
        return number(len(argument.constant.encode("utf-8", "replace")))
    return argument.extent.weight


def _parts(text: Argument, separator: Argument) -> Poly:
    """How many parts a text falls into at most."""
    if separator.constant.__class__ is str and separator.constant:
        return plus(scaled(text.extent.weight, 1 / len(separator.constant)), number(1))
    return plus(text.extent.weight, number(1))


def _split(given: Sequence[Argument]) -> Extent:
    parts = _parts(given[0], given[1])
    return Extent(plus(given[0].extent.weight, scaled(parts, 3), number(2)), parts)


def _replace(given: Sequence[Argument]) -> Extent:
    return extent(plus(given[0].extent.weight, times(_parts(given[0], given[1]), _bytes(given[2])), number(2)))


def _join(given: Sequence[Argument]) -> Extent:
    one = given[0].extent
    between = times(one.count, _bytes(given[1])) if len(given) > 1 else {}
    return extent(plus(one.weight, between, number(2)))


def _find_all(given: Sequence[Argument]) -> Extent:
    weight = given[0].extent.weight
    return Extent(plus(scaled(weight, 4), number(5)), plus(weight, number(1)))


_PRECISION: Final = re.compile(r"%\.([0-9]+)")


def _format(given: Sequence[Argument]) -> Extent:
    text, values = given
    if text.constant.__class__ is not str or not (values.inner or values.constant == []):
        raise Unbounded
    precision = max(map(int, _PRECISION.findall(text.constant)), default=0)
    parts = [number(2 + 4 * len(text.constant))]
    for each in values.inner:
        # A double may be 300 digits long, whatever it was written with; a nested text is quoted.
        factor = 2 if each.type.kind in ("string", "bytes") else 100
        parts.append(plus(scaled(each.extent.weight, factor), number(512 + precision)))
    return extent(plus(*parts))


def _range(given: Sequence[Argument]) -> Extent:
    most = given[0].extent.most
    if most is None:
        raise Unbounded
    return Extent(plus(scaled(most, 21), number(2)), most, most)


def _larger_of(given: Sequence[Argument]) -> Extent:
    return either(given[0].extent, given[-1].extent)


_SAME: Final = frozenset(
    {
        *("dyn", "sort", "reverse", "distinct", "slice", "@sortByAssociatedKeys"),
        *("optional.of", "optional.ofNonZeroValue", "value", "optional.unwrap", "unwrapOpt"),
        *("lowerAscii", "upperAscii", "substring", "trim", "find", "charAt", "bytes"),
        *("quantity", "semver", "url", "getScheme", "getHost", "getHostname", "getPort"),
    }
)
"""No larger than the first argument."""
_INSIDE: Final = frozenset(("first", "last", "min", "max", "flatten", "sum", "_[_]", "_[?_]"))
"""Something of the first argument."""
_SMALL: Final = frozenset(
    {
        *("type", "ip", "cidr", "masked", "optional.none", "format.named", "timestamp", "duration", "add", "sub"),
        *(f"_{symbol}_" for symbol in "-*/%"),
        *("-_", "int", "uint", "double", "bool"),
        *("path", "check", "group", "serviceAccount", "resource", "subresource", "namespace", "name"),
        *("fieldSelector", "labelSelector", "error", "reason"),
        *(
            f"format.{name}"
            for name in (
                *("dns1123Label", "dns1123Subdomain", "dns1035Label", "qualifiedName", "dns1123LabelPrefix"),
                *("dns1123SubdomainPrefix", "dns1035LabelPrefix", "labelValue", "uri", "uuid", "byte", "date"),
                "datetime",
            )
        ),
    }
)
_MADE: Final[dict[str, Callable[[Sequence[Argument]], Extent]]] = {
    "_+_": _sum,
    "string": lambda given: extent(plus(given[0].extent.weight, number(64))),
    "split": _split,
    "replace": _replace,
    "join": _join,
    "findAll": _find_all,
    "format": _format,
    "lists.range": _range,
    "strings.quote": lambda given: extent(plus(scaled(given[0].extent.weight, 2), number(2))),
    "getEscapedPath": lambda given: extent(scaled(given[0].extent.weight, 3)),
    "getQuery": lambda given: extent(plus(scaled(given[0].extent.weight, 12), number(8))),
    "validate": lambda given: extent(plus(scaled(given[1].extent.weight, 4), number(2_048))),
    "or": _larger_of,
    "orValue": _larger_of,
}
