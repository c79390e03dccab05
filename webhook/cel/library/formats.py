"""Named formats (`apiserver pkg/cel/library/format.go`): validation of names, labels, dates by apimachinery's rules and
texts (`util/validation`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError
from webhook.cel.library.time import timestamp_of_string
from webhook.cel.library.url import problem
from webhook.cel.overload import row
from webhook.cel.values import NONE, Optional, register

Check = Callable[[str], list[str]]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})", re.ASCII)
_HOUR: Final = re.compile(r".{11}[0-9]{2}:", re.ASCII)
"""Here, unlike in `timestamp()`, an hour has two digits."""
_UUID: Final = re.compile("[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Format(Library):
    __slots__ = ("check", "name")
    tag = "format"

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self.check = check

    def same(self, other: Format) -> bool:
        return self.name == other.name

    def text(self) -> str:
        return self.name


register(Format, "kubernetes.NamedFormat", "cel.Format", hashed=False)


_is_subdomain: Final = re.compile(_SUBDOMAIN, re.ASCII).fullmatch


def _shape(pattern: str, message: str, limit: int, *examples: str, of_subdomain: str = "") -> Check:
    """A length and a regular expression, reported as apimachinery's `RegexError` does, or as `of_subdomain` what is a
    subdomain at least."""
    compiled = re.compile(pattern, re.ASCII)
    shown = ",  or ".join(f"'{example}'" for example in examples)
    text = f"{message} (e.g. {shown}, regex used for validation is '{pattern}')"

    def check(value: str) -> list[str]:
        problems = []
        if len(value.encode("utf-8", "replace")) > limit:
            problems.append(f"must be no more than {limit} bytes")
        if not compiled.fullmatch(value):
            problems.append(of_subdomain if of_subdomain and _is_subdomain(value) else text)
        return problems

    return check


dns_1123_label: Final = _shape(
    _LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    63,
    "my-name",
    "123-abc",
    of_subdomain="must not contain dots",
)
dns_1123_subdomain: Final = _shape(
    _SUBDOMAIN,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    253,
    "example.com",
)
dns_1035_label: Final = _shape(
    _DNS_1035,
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    63,
    "my-name",
    "abc-123",
)
label_value: Final = _shape(
    f"({_NAME})?",
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    63,
    "MyValue",
    "my_value",
    "12345",
)
_name_part: Final = _shape(
    _NAME,
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    63,
    "MyName",
    "my.name",
    "123-abc",
)


def qualified_name(value: str) -> list[str]:
    parts = value.split("/")
    if len(parts) > 2:
        return [
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            f"an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_NAME}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    problems = []
    if len(parts) == 2:
        if not parts[0]:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {text}" for text in dns_1123_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        problems.append("name part must be non-empty")
    return problems + [f"name part {text}" for text in _name_part(name)]


def _prefix(check: Check) -> Check:
    """For a generateName: a trailing dash is fine."""

    def masked(value: str) -> list[str]:
        return check(f"{value[:-2]}a" if len(value) > 1 and value.endswith("-") else value)

    return masked


def uri(value: str) -> list[str]:
    found = problem(value)
    return [found] if found else []


def uuid(value: str) -> list[str]:
    return [] if _UUID.fullmatch(value) else ["does not match the UUID format"]


def byte(value: str) -> list[str]:
    return [] if _BASE64.fullmatch(value) else ["invalid base64"]


def date(value: str) -> list[str]:
    return ["invalid date"] if not _DATE.fullmatch(value) or datetime(f"{value}T00:00:00Z") else []


def datetime(value: str) -> list[str]:
    if not _HOUR.match(value):
        return ["invalid datetime"]
    try:
        timestamp_of_string(value.upper())
    except CelError:
        return ["invalid datetime"]
    return []


_NAMES: Final = {
    "qualifiedName": "QualifiedName",
    "labelValue": "LabelValue",
    "uri": "URI",
    **{
        f"dns{rest}": f"DNS{rest}"
        for kind in ("1123Label", "1123Subdomain", "1035Label")
        for rest in (kind, f"{kind}Prefix")
    },
}
"""What a format is called, where that is not the name by which it is found."""

FORMATS: Final = {
    name: Format(_NAMES.get(name, name), check)
    for name, check in {
        "dns1123Label": dns_1123_label,
        "dns1123Subdomain": dns_1123_subdomain,
        "dns1035Label": dns_1035_label,
        "qualifiedName": qualified_name,
        "dns1123LabelPrefix": _prefix(dns_1123_label),
        "dns1123SubdomainPrefix": _prefix(dns_1123_subdomain),
        "dns1035LabelPrefix": _prefix(dns_1035_label),
        "labelValue": label_value,
        "uri": uri,
        "uuid": uuid,
        "byte": byte,
        "date": date,
        "datetime": datetime,
    }.items()
}


def named(name: str) -> Optional:
    return Optional(FORMATS[name]) if name in FORMATS else NONE


def validate(form: Format, value: str) -> Optional:
    problems: list[str] = form.check(value)
    return Optional(problems) if problems else NONE


def _constant(form: Format) -> Callable[[], Format]:
    return lambda: form


_F: Final = "kubernetes.NamedFormat"

OVERLOADS: Final = (
    row(f"format.named(string) -> optional_type({_F})", named, total=True),
    row(f"{_F}.validate(string) -> optional_type(list(string))", validate, total=True),
    *(row(f"format.{name}() -> {_F}", _constant(form), total=True) for name, form in FORMATS.items()),
)
