"""`string.format` as Kubernetes has it (`cel-go ext/formatting.go`, not its second version): en-US grouping, and
exponents that are printed as powers of ten."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from webhook.cel.error import CelError
from webhook.cel.library.conversions import string_of_bool
from webhook.cel.library.time import duration_text, timestamp_text
from webhook.cel.overload import row
from webhook.cel.text import double_text
from webhook.cel.types import Type
from webhook.cel.values import Duration, Map, Timestamp, TypeValue, Uint, key_from, type_name

_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_GO_ESCAPES: Final = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_PRECISION: Final = re.compile(r"[0-9]*", re.ASCII)


def parse_format(text: str, available: int) -> Iterator[str | tuple[str, int]]:
    """Literal pieces, and (verb, precision or -1) for each of `available` arguments.

    Raises `CelError` where the text is malformed, or asks for more of them.
    """
    at = used = 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            yield text[at:]
            return
        if percent > at:
            yield text[at:percent]
        at = percent + 1
        if at == len(text):
            raise CelError("unexpected end of string")
        if text[at] == "%":
            yield "%"
            at += 1
            continue
        if used >= available:
            raise CelError(f"index {used} out of range")
        used += 1
        verb, at = _clause(text, at)
        yield verb


def _clause(text: str, at: int) -> tuple[tuple[str, int], int]:
    precision = -1
    if text[at] == ".":
        digits = _PRECISION.match(text, at + 1)
        found = digits.group() if digits else ""
        at += 1 + len(found)
        if at >= len(text):
            raise _unparsed("error while parsing precision: could not find end of precision specifier")
        if not found or len(found) > 9:
            raise _unparsed(f'error while parsing precision: strconv.Atoi: parsing "{found}": invalid syntax')
        precision = int(found)
    verb = text[at]
    if verb not in _VERBS:
        byte = verb.encode("utf-8", "replace")[0]  # the server looks at bytes, and shows one as a code point
        raise _unparsed(f'unrecognized formatting clause "{chr(byte)}"')
    return (verb, precision), at + 1


def _unparsed(text: str) -> CelError:
    return CelError(f"could not parse formatting clause: {text}")


def format_string(text: str, arguments: list[Any]) -> str:
    made: list[str] = []
    used = 0
    for piece in parse_format(text, len(arguments)):
        if isinstance(piece, str):
            made.append(piece)
            continue
        made.append(format_one(*piece, arguments[used]))
        used += 1
    return "".join(made)


def format_one(verb: str, precision: int, value: Any) -> str:
    """One argument under one verb. Raises `CelError` with the server's text when its type does not fit."""
    return str(_VERBS[verb](value, 6 if precision < 0 else precision))


_ACCEPTED: Final = {
    "s": ("string", "bool", "bytes", "int", "uint", "double", "map", "list", "type", "duration", "timestamp", "null"),
    "d": ("int", "uint"),
    "f": ("double", "string"),
    "e": ("double", "string"),
    "b": ("int", "uint", "bool"),
    "o": ("int", "uint"),
    "x": ("int", "uint", "string", "bytes"),
    "X": ("int", "uint", "string", "bytes"),
}


def format_type_problem(verb: str, type: Type) -> str:
    """What the server's checker says of an argument of this static type; empty when it fits."""
    if type.kind in ("dyn", "error", "parameter", *_ACCEPTED[verb]):
        return ""
    return _error(_TEXTS[verb], type.outer).text


_HEX_TEXT: Final = "only integers, byte buffers, and strings can be formatted as hex"
_TEXTS: Final = {
    "s": "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
    "timestamps",
    "d": "decimal clause can only be used on integers",
    "f": "fixed-point clause can only be used on doubles",
    "e": "scientific clause can only be used on doubles",
    "b": "only integers and bools can be formatted as binary",
    "o": "octal clause can only be used on integers",
    "x": _HEX_TEXT,
    "X": _HEX_TEXT,
}


def _error(text: str, given: str) -> CelError:
    return CelError(f"error during formatting: {text}, was given {given}")


def _string(value: Any, _: int = 0, *, inner: bool = False) -> str:
    match value:
        case str():
            return f'"{value.translate(_GO_ESCAPES)}"' if inner else value
        case bool():
            return string_of_bool(value)
        case int():
            return str(int(value))
        case float():
            if math.isfinite(value) and inner:
                return f"{value:.6f}"
            return f'"{double_text(value)}"' if inner else double_text(value)
        case bytes():
            try:
                decoded = value.decode()
            except UnicodeDecodeError:
                said = "invalid UTF-8 in bytes, cannot convert to string"
                raise CelError(f'error during formatting: could not convert argument "{said}" to string') from None
            return f'b"{decoded.translate(_GO_ESCAPES)}"' if inner else decoded
        case Timestamp():
            return f'timestamp("{timestamp_text(value)}")' if inner else timestamp_text(value)
        case Duration():
            return f'duration("{duration_text(value)}")' if inner else duration_text(value)
        case TypeValue():
            return value.name
        case None:
            return "null"
        case list():
            return f"[{', '.join(_string(element, inner=True) for element in value)}]"
        case dict() | Map():
            return _map(value)
    raise _no_function(type_name(value)) if inner else _error(_TEXTS["s"], type_name(value))


def _no_function(what: str) -> CelError:
    return CelError(f"error during formatting: no formatting function for {what}")


def _map(value: dict[Any, Any]) -> str:
    entries = []
    for key, element in value.items():
        key = key_from(key)
        if key.__class__ not in (str, bool, int, Uint):
            raise _no_function(f"map key of type {type_name(key)}")
        entries.append((_string(key, inner=True), f"{_string(key, inner=True)}:{_string(element, inner=True)}"))
    return "{" + ", ".join(text for _, text in sorted(entries)) + "}"


def _decimal(value: Any, _: int) -> str:
    if value.__class__ not in (int, Uint):
        raise _error(_TEXTS["d"], type_name(value))
    return str(int(value))


def _number(value: Any, verb: str) -> float:
    if value.__class__ is str and value in _NUMBERS:
        return _NUMBERS[value]
    if value.__class__ is not float:
        raise _error(_TEXTS[verb], type_name(value))
    return float(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def _fixed(value: Any, precision: int) -> str:
    number = _number(value, "f")
    # The server's text library drops the sign of a negative zero.
    return f"{number or 0.0:,.{precision}f}" if math.isfinite(number) else _not_finite(number)


def _scientific(value: Any, precision: int) -> str:
    number = _number(value, "e")
    # The server's text library takes the precision for a width, and always prints six digits.
    if not math.isfinite(number):
        return _not_finite(number).rjust(precision)
    mantissa, _, exponent = f"{number or 0.0:.6e}".partition("e")
    return f"{mantissa}×10{exponent.removeprefix('+').translate(_SUPERSCRIPT)}".rjust(precision)


def _binary(value: Any, _: int) -> str:
    if value.__class__ is bool:
        return "1" if value else "0"
    if value.__class__ not in (int, Uint):
        raise _error(_TEXTS["b"], type_name(value))
    return f"{int(value):b}"


def _octal(value: Any, _: int) -> str:
    if value.__class__ not in (int, Uint):
        raise _error(_TEXTS["o"], type_name(value))
    return f"{int(value):o}"


def _hex(value: Any, _: int) -> str:
    match value:
        case str():
            return value.encode("utf-8", "replace").hex()
        case bytes():
            return value.hex()
        case int() if value.__class__ is not bool:
            return f"{int(value):x}"
    raise _error(_HEX_TEXT, type_name(value))


def _upper_hex(value: Any, _: int) -> str:
    return _hex(value, 0).upper()


_VERBS: Final[dict[str, Any]] = {
    "s": _string,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "o": _octal,
    "x": _hex,
    "X": _upper_hex,
}

OVERLOADS: Final = (row("string.format(list(dyn)) -> string", format_string),)
