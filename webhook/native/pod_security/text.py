"""How Pod Security writes its texts: quoting, plurals, and who set what. Knows no check.

Source: `k8s.io/pod-security-admission policy/helpers.go`, Go `strconv.Quote`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quoted(values: Iterable[str]) -> str:
    """`"a", "b"`; what is inside is not escaped, as in Kubernetes."""
    return '"' + '", "'.join(values) + '"'


def plural(word: str, values: Sequence[str]) -> str:
    """The word, with an s unless there is exactly one value."""
    return word if len(values) == 1 else word + "s"


def containers(names: Sequence[str]) -> str:
    """`container "a"` or `containers "a", "b"`."""
    return f"{plural('container', names)} {quoted(names)}"


def setters(pod: bool, names: Sequence[str]) -> str:
    """`pod`, `container "a"` or `pod and container "a"`; empty when nobody did it."""
    if not names:
        return "pod" if pod else ""
    return f"pod and {containers(names)}" if pod else containers(names)


def go_quoted(value: str) -> str:
    """The string as Go's `%q` prints it: printable characters of any script stay, the rest is escaped."""
    return '"' + "".join(map(_go_character, value)) + '"'


def _go_character(character: str) -> str:
    escape = _ESCAPES.get(character)
    if escape is not None:
        return escape
    code = ord(character)
    if character == " " or unicodedata.category(character)[0] in "LMNPS":
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
