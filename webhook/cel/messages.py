"""Message literals as the checker sees them, such as `google.protobuf.Timestamp{seconds: 1}`: which types it takes for
messages, and their fields (`cel-go checker/checker.go`, `common/types/provider.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from webhook.cel.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT, Type, list_of, map_of

PROTO: Final = "google.protobuf."
ANY: Final = f"{PROTO}Any"
EMPTY: Final = f"{PROTO}Empty"
_ROWS: Final = map_of(STRING, DYN)

WRAPPERS: Final[Mapping[str, Type]] = {
    f"{PROTO}{name}Value": type
    for name, type in {
        "Bool": BOOL,
        "Bytes": BYTES,
        "Double": DOUBLE,
        "Float": DOUBLE,
        "Int32": INT,
        "Int64": INT,
        "String": STRING,
        "UInt32": UINT,
        "UInt64": UINT,
    }.items()
}
"""What may be null or of that type, as far as the checker knows."""

WELL_KNOWN: Final[Mapping[str, Type]] = {
    ANY: DYN,
    f"{PROTO}Struct": _ROWS,
    f"{PROTO}Value": DYN,
    f"{PROTO}ListValue": list_of(DYN),
    **{name: Type("wrapper", "", (held,)) for name, held in WRAPPERS.items()},
}
"""Types whose names are not those of the values that they become."""

EVERY_FIELD: Final = "map"
"""The type, no message, of which the server's checker finds every field."""
_TIME: Final = {"seconds": INT, "nanos": INT}
_FIELDS: Final[Mapping[str, Mapping[str, Type]]] = {
    ANY: {"type_url": STRING, "value": BYTES},
    EMPTY: {},
    f"{PROTO}Timestamp": _TIME,
    f"{PROTO}Duration": _TIME,
    f"{PROTO}Struct": {"fields": _ROWS},
    f"{PROTO}ListValue": {"values": list_of(DYN)},
    f"{PROTO}Value": {
        "null_value": INT,
        "number_value": DOUBLE,
        "string_value": STRING,
        "bool_value": BOOL,
        "struct_value": _ROWS,
        "list_value": list_of(DYN),
    },
    **{name: {"value": held} for name, held in WRAPPERS.items()},
    # The server's checker knows them, by their short names, and has no fields of them.
    **{name: {} for name in ("bool", "bytes", "double", "int", "string", "uint")},
}
_BY_TYPE: Final[Mapping[Type, str]] = {
    TIMESTAMP: f"{PROTO}Timestamp",
    DURATION: f"{PROTO}Duration",
    Type("null"): f"{PROTO}NullValue",
    list_of(DYN): f"{PROTO}ListValue",
    _ROWS: f"{PROTO}Struct",
}


def message_of(name: str, type: Type) -> str:
    """Whose fields a literal of the type `name` has; empty if it is no message."""
    if type.kind in ("dyn", "wrapper", "object"):
        return name
    return _BY_TYPE.get(type, "")


def fields_of(message: str, objects: Mapping[str, Mapping[str, Type]]) -> Mapping[str, Type] | None:
    """The fields of a message; None where the server finds no such type."""
    return _FIELDS[message] if message in _FIELDS else objects.get(message)
