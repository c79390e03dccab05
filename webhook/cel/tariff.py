"""The API server's run-time tariff: what a call costs, by function, resolved overload, arguments and result.

Sources: `cel-go interpreter/runtimecost.go`, `apiserver pkg/cel/library/cost.go`, `cel-go ext/{lists,sets}.go`.
Must not know trees or generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

from webhook.cel.equality import Library
from webhook.cel.library.formats import Format
from webhook.cel.library.net import CIDR, IP
from webhook.cel.overload import Overload
from webhook.cel.patterns import Pattern
from webhook.cel.values import NONE, Map, Optional, key_from

LIMIT: Final = 1_000_000
"""Units that one expression, or one variable, may cost (`apiserver pkg/apis/cel`)."""
EXCEEDED: Final = "operation cancelled: actual cost limit exceeded"
LIST, MAP, MESSAGE = 10, 30, 40

Cost = Callable[[Sequence[Any], Any], int]
"""(arguments, result) → units. A failed argument or result is any other object, of size 1."""


def size(value: Any) -> int:
    """Code points, bytes, entries; bytes of an address, and of a network's prefix; 1 for everything else."""
    if value.__class__ in (str, bytes, list, dict, Map):
        return len(value)
    if value.__class__ is Pattern:
        return len(value.text)
    if value.__class__ is CIDR:
        return (value.length + 7) // 8
    return value.bits // 8 if value.__class__ is IP else 1


def _share(units: int, tenths: int = 1) -> int:
    """`ceil(units * tenths / 10)`."""
    return -(-units * tenths // 10)


def opened(value: Any) -> int:
    """The size of a value, or of what an optional holds: cel-go's own functions look into it, Kubernetes' do not."""
    return opened(value.value) if value.__class__ is Optional and value is not NONE else size(value)


def traversal(value: Any) -> int:
    if value.__class__ is list:
        return sum(map(traversal, value))
    if value.__class__ is str:
        return len(value.encode("utf-8", "replace")) // 10
    if value.__class__ is bytes:
        return len(value) // 10
    if value.__class__ in (dict, Map):
        return sum(traversal(key_from(key)) + traversal(element) for key, element in value.items())
    return 1


def _first(tenths: int = 1) -> Cost:
    return lambda arguments, _: _share(size(arguments[0]), tenths)


def _smaller(arguments: Sequence[Any], _: Any) -> int:
    return _share(min(opened(arguments[0]), opened(arguments[1])))


def _equality(arguments: Sequence[Any], result: Any) -> int:
    """Of the libraries' own values, which are at most as large as an address, one unit; but not for `!=`."""
    return 1 if isinstance(arguments[0], Library) else _smaller(arguments, result)


def _regex(arguments: Sequence[Any], _: Any) -> int:
    return _share(1 + size(arguments[0])) * -(-size(arguments[1]) // 4)


def _matches(arguments: Sequence[Any], _: Any) -> int:
    return _share(1 + opened(arguments[0])) * -(-opened(arguments[1]) // 4)


def _contains(arguments: Sequence[Any], _: Any) -> int:
    return _share(opened(arguments[0])) * _share(opened(arguments[1]))


def _product(factor: int) -> Cost:
    return lambda arguments, _: 1 + factor * size(arguments[0]) * size(arguments[1])


def _result(_: Sequence[Any], result: Any) -> int:
    return 11 + size(result)


def _flatten(arguments: Sequence[Any], _: Any) -> int:
    depth = arguments[1] if len(arguments) > 1 and arguments[1].__class__ is int and arguments[1] >= 0 else 1
    return 11 + depth * size(arguments[0])


def _quadratic(arguments: Sequence[Any], _: Any) -> int:
    count = size(arguments[0])
    text = count and arguments[0].__class__ is list and arguments[0][0].__class__ in (str, bytes)
    return 11 + int(count * count * (Fraction(21, 10) if text else 2))


def _contains_ip(arguments: Sequence[Any], _: Any) -> int:
    return _share(2 * size(arguments[0]))


def _contains_ip_text(arguments: Sequence[Any], _: Any) -> int:
    return _share(2 * size(arguments[0])) + _share(size(arguments[1]))


def _contains_cidr(arguments: Sequence[Any], _: Any) -> int:
    return _share(2 * size(arguments[0])) + _share(size(arguments[0])) + 1


def _contains_cidr_text(arguments: Sequence[Any], result: Any) -> int:
    return _contains_cidr(arguments, result) + _share(size(arguments[1]))


_FORMATS: Final = {
    **dict.fromkeys(("DNS1123Label", "DNS1035Label", "DNS1123LabelPrefix", "DNS1035LabelPrefix"), 8),
    **dict.fromkeys(("DNS1123Subdomain", "DNS1123SubdomainPrefix", "QualifiedName"), 15),
    "LabelValue": 10,
    "URI": 276,
    "byte": 21,
}


def _validate(arguments: Sequence[Any], _: Any) -> int:
    form, value = arguments
    return _share(1 + size(value)) * _FORMATS.get(form.name, 18) if isinstance(form, Format) else 1


_ALWAYS: Final[dict[str, Cost]] = {
    "_==_": _equality,
    "_!=_": _smaller,
    **dict.fromkeys(("startsWith", "endsWith"), lambda arguments, _: _share(opened(arguments[1]))),
    "contains": _contains,
    "matches": _matches,
    **dict.fromkeys(("find", "findAll"), _regex),
    **dict.fromkeys(
        (
            *("lowerAscii", "upperAscii", "substring", "trim"),
            *("url", "quantity", "isQuantity", "semver", "isSemver", "cidr", "isCIDR", "ip", "isIP"),
        ),
        _first(),
    ),
    **dict.fromkeys(("strings.quote", "format"), lambda arguments, _: _share(opened(arguments[0]))),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _first(2)),
    "join": lambda _, result: _share(size(result), 2) if result.__class__ is str else 1,
    **dict.fromkeys(
        ("isSorted", "sum", "min", "max", "indexOf", "lastIndexOf", "includes"),
        lambda arguments, _: traversal(arguments[0]),
    ),
    **dict.fromkeys(("sets.contains", "sets.intersects"), _product(1)),
    "sets.equivalent": _product(2),
    **dict.fromkeys(("slice", "lists.range", "reverse"), _result),
    "flatten": _flatten,
    "distinct": _quadratic,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "check": lambda _, __: 350_000,
}
"""Whatever the static types are."""


def cost_of(function: str, rows: Sequence[Overload]) -> Cost | None:
    """What a call costs; `None` for one unit. `rows` are the overloads that the checker left open: some tariffs apply
    only where it left one."""
    only = rows[0].arguments if len(rows) == 1 else ()
    kinds = tuple(type.kind for type in only)
    match function:
        case "_+_" if kinds in (("string", "string"), ("bytes", "bytes")):
            return lambda arguments, _: _share(opened(arguments[0]) + opened(arguments[1]))
        case "_<_" | "_<=_" | "_>_" | "_>=_" if kinds in (("string", "string"), ("bytes", "bytes")):
            return _smaller
        case "@in" if kinds[1:] == ("list",):
            return lambda arguments, _: size(arguments[1])
        case "string" if kinds == ("bytes",):
            return _first()
        case "bytes" if kinds == ("string",):
            return _first()
        case "@sortByAssociatedKeys" if kinds:
            return lambda arguments, result: _quadratic(arguments[1:], result)
        case "sort" if kinds:
            return _quadratic
        case "ip" if rows[0].member:
            return None
        case "containsIP" if kinds[1:] == ("string",):
            return _contains_ip_text
        case "containsCIDR" if kinds[1:] == ("string",):
            return _contains_cidr_text
    return _ALWAYS.get(function)


_STEEP: Final = ("sets.contains", "sets.intersects", "sets.equivalent", "distinct", "sort", "@sortByAssociatedKeys")
_STEEP_TOGETHER: Final = ("contains", "matches", "find", "findAll")


def steep(rows: Sequence[Overload], constant: Sequence[bool]) -> bool:
    """Whether a call may cost far more than its arguments' sizes together, so that it must be known before it
    is made. `constant` says which arguments are."""
    function = rows[0].function
    if function in _STEEP_TOGETHER or function.startswith("sets."):
        return function in (*_STEEP_TOGETHER, *_STEEP) and not any(constant[:2])
    return function in _STEEP and not constant[0] and cost_of(function, rows) is not None
