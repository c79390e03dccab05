"""What becomes of a message literal: nearly all are values of other kinds as soon as they are made. A `Struct` is
a map, an `Int32Value` an int (`cel-go common/types/{provider,json_struct}.go`, each type's `ConvertToNative`)."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any, Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError
from webhook.cel.library.formats import Format
from webhook.cel.library.time import SECOND, duration_text, timestamp_text
from webhook.cel.messages import PROTO
from webhook.cel.printed import printed
from webhook.cel.values import (
    ABSENT,
    INT_MAX,
    INT_MIN,
    Blank,
    Duration,
    Map,
    Optional,
    Timestamp,
    TypeValue,
    Uint,
    key_from,
    type_name,
)


def maker(name: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    """The function from the fields' values, in the order of `fields`, to the message. A field whose value is `ABSENT`
    is taken away. It raises `CelError`."""

    def message(*values: Any) -> Any:
        given: dict[str, Any] = {}
        for field, value in zip(fields, values, strict=True):
            given.pop(field, None)
            if value is not ABSENT:
                given[field] = value
        make = _MAKERS.get(name)
        if make is None:
            raise CelError(f"unknown type '{name}'")
        return make(name, given)

    return message


def optional_field(name: str, value: Any) -> Any:
    """What `T{?name: value}` gives the field, or `ABSENT`."""
    if value.__class__ is not Optional:
        raise CelError(f"cannot initialize optional entry '{name}' from non-optional value {printed(value)}")
    return value.value


# -- from values of CEL to those of Go

_FROM: Final[dict[type, str]] = {
    type(None): "type conversion error from 'null_type' to '{}'",
    bool: "type conversion error from bool to '{}'",
    int: "unsupported type conversion from 'int' to {}",
    Uint: "unsupported type conversion from 'uint' to {}",
    float: "type conversion error from Double to '{}'",
    str: "unsupported native conversion from string to '{}'",
    bytes: "type conversion error from Bytes to '{}'",
    list: "type conversion error from list to '{}'",
    dict: "type conversion error from map to '{}'",
    Map: "type conversion error from map to '{}'",
    Timestamp: "type conversion error from 'Timestamp' to '{}'",
    Duration: "type conversion error from 'Duration' to '{}'",
    TypeValue: "type conversion not supported for 'type'",
    Format: "type conversion error from 'Format' to '{}'",
}
_KINDS: Final[dict[str, type]] = {
    "int64": int,
    "int32": int,
    "protoreflect.EnumNumber": int,
    "uint64": Uint,
    "uint32": Uint,
    "float64": float,
    "float32": float,
    "bool": bool,
    "string": str,
    "[]uint8": bytes,
}
"""Go's types → ours."""
_LIMITS: Final = {
    **dict.fromkeys(("int32", "protoreflect.EnumNumber"), (-(2**31), 2**31 - 1, "integer overflow")),
    "uint32": (0, 2**32 - 1, "unsigned integer overflow"),
}


def _native(value: Any, go: str) -> Any:
    """The value as Go's type has it. Raises `CelError` with Go's words."""
    kind = value.__class__
    if kind is Optional:
        if value.value is ABSENT:
            raise CelError("optional.none() dereference")
        return _native(value.value, go)
    if kind is _KINDS.get(go):
        if go in _LIMITS:
            least, most, text = _LIMITS[go]
            if not least <= value <= most:
                raise CelError(text)
        return _single(value) if go == "float32" else value
    if go == "[]uint8" and kind is list:
        return bytes(_native(element, "uint8") for element in value)
    if go == "string" and isinstance(value, Library) and kind is not Format:
        return value.text()
    raise CelError(_FROM.get(kind, f"type conversion error from '{_last(value)}' to '{{}}'").format(go))


def _last(value: Any) -> str:
    return type_name(value).rpartition(".")[2]


def _single(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


_SAFE: Final = 2**53 - 1
"""Integers beyond become texts in JSON."""


def _json(value: Any) -> Any:
    """As JSON, in which there are no integers."""
    kind = value.__class__
    if value is None or kind in (bool, str, float):
        return value
    if kind is int or kind is Uint:
        return float(value) if -_SAFE <= value <= _SAFE else str(int(value))
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind is Timestamp:
        return timestamp_text(value)
    if kind is Duration:
        return duration_text(value)
    if kind is list:
        return [_json(element) for element in value]
    if kind is dict or kind is Map:
        return {_native(key_from(key), "string"): _json(held) for key, held in value.items()}
    if kind is Optional and value.value is not ABSENT:
        return _json(value.value)
    return _native(value, "*structpb.Value")


# -- messages from their fields


def _field(name: str, field: str, convert: Callable[[], Any]) -> Any:
    try:
        return convert()
    except CelError as error:
        raise CelError(f"field type conversion error for {name}.{field} value type: {error.text}") from None


def _empty(name: str, _: dict[str, Any]) -> Any:
    return Blank(name)


def _any(_: str, __: dict[str, Any]) -> Any:
    raise CelError("unsupported conversion to ref.Val: (*dynamicpb.Message)")


def _nanoseconds(name: str, given: dict[str, Any]) -> int:
    go = {"seconds": "int64", "nanos": "int32"}
    parts = {field: _field(name, field, lambda: _native(given[field], go[field])) for field in given}  # noqa: B023
    return int(parts.get("seconds", 0) * SECOND + parts.get("nanos", 0))


def _timestamp(name: str, given: dict[str, Any]) -> Timestamp:
    seconds, nanos = divmod(_nanoseconds(name, given), SECOND)
    # Go's seconds are an int64 that wraps around.
    return Timestamp(((seconds - INT_MIN) % 2**64 + INT_MIN) * SECOND + nanos)


def _duration(name: str, given: dict[str, Any]) -> Duration:
    return Duration(min(max(_nanoseconds(name, given), INT_MIN), INT_MAX))


def _wrapper(go: str, unset: Any) -> Callable[[str, dict[str, Any]], Any]:
    def make(name: str, given: dict[str, Any]) -> Any:
        return _field(name, "value", lambda: _native(given["value"], go)) if given else unset

    return make


def _whole(field: str, kind: type) -> Callable[[str, dict[str, Any]], Any]:
    """A `Struct` of its rows, a `ListValue` of its elements."""

    def make(name: str, given: dict[str, Any]) -> Any:
        value = given.get(field, kind())
        if not isinstance(value, kind):
            raise CelError(f"unsupported field type for {name}.{field}: {printed(TypeValue(type_name(value)))}")
        return _field(name, field, lambda: _json(value))

    return make


_CHOICES: Final = {
    "null_value": "protoreflect.EnumNumber",
    "number_value": "float64",
    "string_value": "string",
    "bool_value": "bool",
    "struct_value": "*structpb.Struct",
    "list_value": "*structpb.ListValue",
}


def _value(name: str, given: dict[str, Any]) -> Any:
    """A `Value`: the last field that was set."""
    found = None
    for field, value in given.items():
        found = _field(name, field, lambda: _chosen(field, value))  # noqa: B023
    return found


def _chosen(field: str, value: Any) -> Any:
    while value.__class__ is Optional and value.value is not ABSENT:
        value = value.value
    if field == "struct_value" and isinstance(value, dict):
        return _json(value)
    if field == "list_value" and value.__class__ is list:
        return _json(value)
    if field == "list_value" and isinstance(value, dict):
        if not value:
            return []
        first = _native(key_from(next(iter(value))), "string")
        raise CelError(f"type conversion error, no such field '{first.title()}' in type 'structpb.ListValue'")
    made = _native(value, _CHOICES[field])
    return None if field == "null_value" else made


_MAKERS: Final[dict[str, Callable[[str, dict[str, Any]], Any]]] = {
    f"{PROTO}Any": _any,
    f"{PROTO}Empty": _empty,
    f"{PROTO}Timestamp": _timestamp,
    f"{PROTO}Duration": _duration,
    f"{PROTO}Struct": _whole("fields", dict),
    f"{PROTO}ListValue": _whole("values", list),
    f"{PROTO}Value": _value,
    f"{PROTO}BoolValue": _wrapper("bool", False),
    f"{PROTO}BytesValue": _wrapper("[]uint8", b""),
    f"{PROTO}DoubleValue": _wrapper("float64", 0.0),
    f"{PROTO}FloatValue": _wrapper("float32", 0.0),
    f"{PROTO}Int32Value": _wrapper("int32", 0),
    f"{PROTO}Int64Value": _wrapper("int64", 0),
    f"{PROTO}StringValue": _wrapper("string", ""),
    f"{PROTO}UInt32Value": _wrapper("uint32", Uint(0)),
    f"{PROTO}UInt64Value": _wrapper("uint64", Uint(0)),
}
