"""CEL values as tagged JSON: `{"int": "1"}`, `{"list": […]}`. The form in which `cel eval` prints values, and in which
conformance vectors are stored; every value and its type survive the round trip."""

from __future__ import annotations

import json
import math
from typing import Any

from webhook.cel.equality import Library
from webhook.cel.library.time import duration_text, timestamp_text
from webhook.cel.values import ABSENT, Blank, Duration, Map, Optional, Timestamp, TypeValue, Uint, key_from


def encode(value: Any) -> dict[str, Any]:
    """The tagged form of a value."""
    match value:
        case None:
            return {"null": None}
        case bool():
            return {"bool": value}
        case Uint():
            return {"uint": str(int(value))}
        case int():
            return {"int": str(value)}
        case float():
            return {"double": _double(value)}
        case str():
            return {"string": value}
        case bytes():
            return {"bytes": value.hex()}
        case list():
            return {"list": [encode(element) for element in value]}
        case dict() | Map():
            return {"map": [[encode(key_from(key)), encode(element)] for key, element in value.items()]}
        case TypeValue():
            return {"type": value.name}
        case Timestamp() | Duration():
            kind = "timestamp" if isinstance(value, Timestamp) else "duration"
            sign = -1 if value.ns < 0 and kind == "duration" else 1
            seconds, nanos = divmod(sign * value.ns, 10**9)
            return {kind: {"seconds": str(sign * seconds), "nanos": sign * nanos}}
        case Optional():
            return {"optional": None if value.value is ABSENT else encode(value.value)}
        case Blank():
            return {"opaque": value.name}
        case Library():
            return {value.tag: value.text()}
    raise TypeError(f"not a CEL value: {value.__class__.__name__}")


def _double(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def plain(tagged: dict[str, Any]) -> str:
    """A tagged value for people to read, as CEL would write it."""
    ((tag, value),) = tagged.items()
    match tag:
        case "null":
            return "null"
        case "bool":
            return "true" if value else "false"
        case "int" | "double" | "type":
            return str(value)
        case "uint":
            return f"{value}u"
        case "string":
            return json.dumps(value, ensure_ascii=False)
        case "bytes":
            return "b'" + "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(value)) + "'"
        case "list":
            return f"[{', '.join(map(plain, value))}]"
        case "map":
            return "{" + ", ".join(f"{plain(key)}: {plain(element)}" for key, element in value) + "}"
        case "timestamp" | "duration":
            seconds, nanos = int(value["seconds"]), value["nanos"]
            kind = Timestamp if tag == "timestamp" else Duration
            made = kind(seconds * 10**9 + nanos)
            text = timestamp_text(made) if isinstance(made, Timestamp) else duration_text(made)
            return f'{tag}("{text}")'
        case "optional":
            return "optional.none()" if value is None else f"optional.of({plain(value)})"
    return f"{tag}({json.dumps(value, ensure_ascii=False)})"
