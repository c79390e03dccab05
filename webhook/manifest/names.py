"""The kinds of name that Kubernetes knows: each function says what is wrong with a text, or nothing.

Source: `apimachinery pkg/util/validation/validation.go`, `pkg/api/validation/path/name.go`.
"""

from __future__ import annotations

import re

_LABEL_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL_1123}(\.{_LABEL_1123})*")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("package", "namespace", "null", "return", "true", "var", "void", "while"),
    }
)
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def trim(text: str) -> str:
    """Go's `strings.TrimSpace`, which is not Python's `str.strip`."""
    return text.strip(_SPACE)


def dns_subdomain(text: str) -> str:
    if len(text) <= 253 and _SUBDOMAIN.fullmatch(text):
        return ""
    return (
        f"expected a DNS name (lower-case letters, digits, '-' and '.', at most 253 characters), found {_short(text)}"
    )


def dns_1035_label(text: str) -> str:
    if len(text) <= 63 and _LABEL_1035.fullmatch(text):
        return ""
    return f"expected letters, digits and '-', starting with a letter, at most 63 characters, found {_short(text)}"


def api_version(text: str) -> str:
    """`v1` or `group/v1`."""
    group, _, version = text.rpartition("/")
    if dns_1035_label(version) or (group and dns_subdomain(group)):
        return f"expected a version such as v1, or group/version such as apps/v1, found {_short(text)}"
    return ""


def qualified(text: str) -> str:
    """A label key, an annotation key, the name of a match condition: `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    if (slash and dns_subdomain(prefix)) or len(name) > 63 or not _NAME.fullmatch(name):
        return (
            "expected [prefix/]name (name: letters, digits, '-', '_' and '.', at most 63 characters; prefix: a DNS "
            f"name), found {_short(text)}"
        )
    return ""


def label_value(text: str) -> str:
    if not text or (len(text) <= 63 and _NAME.fullmatch(text)):
        return ""
    return f"expected a label value (letters, digits, '-', '_' and '.', at most 63 characters), found {_short(text)}"


def path_segment(text: str) -> str:
    """What may be an object's name at all."""
    if text in (".", "..") or "/" in text or "%" in text:
        return f"expected an object's name (not '.', '..', nor with '/' or '%'), found {_short(text)}"
    return ""


def cel_identifier(text: str) -> str:
    if _IDENTIFIER.fullmatch(text) and text not in _RESERVED:
        return ""
    return f"expected a CEL identifier (letters, digits and '_', no reserved word), found {_short(text)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
