"""URLs (`apiserver pkg/cel/library/urls.go`), parsed by the rules of Go's `net/url.ParseRequestURI`."""

from __future__ import annotations

import re
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError
from webhook.cel.overload import row
from webhook.cel.text import go_quote
from webhook.cel.values import register

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%([0-9a-fA-F]{2})?")
_PORT: Final = re.compile(r"(?::[0-9]*)?", re.ASCII)
_PATH_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~$&+,/:;=@!'()*[]%")
_HOST_SAFE: Final = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]*")


class URL(Library):
    __slots__ = ("host", "path", "query", "raw", "scheme", "user")
    tag = "url"

    def __init__(self, scheme: str, user: str, host: str, path: str, query: str | None, raw: str) -> None:
        self.scheme = scheme
        self.user = user
        self.host = host
        self.path = path
        """Escaped."""
        self.query = query
        self.raw = raw

    def same(self, other: URL) -> bool:
        return self.text() == other.text()

    def text(self) -> str:
        authority = f"//{self.user + '@' if self.user else ''}{self.host}" if self.host or self.user else ""
        scheme = f"{self.scheme}:" if self.scheme else ""
        return f"{scheme}{authority}{self.path}{'' if self.query is None else '?' + self.query}"


register(URL, "kubernetes.URL", "cel.URL")


class _Bad(Exception):
    pass


def parse_request_uri(text: str) -> URL:
    """Raises `_Bad` with Go's reason."""
    if _CONTROL.search(text):
        raise _Bad("net/url: invalid control character in URL")
    if not text:
        raise _Bad("empty url")
    if text == "*":
        return URL("", "", "", "*", None, text)
    scheme, rest = _scheme(text)
    query: str | None = None
    if "?" in rest:
        rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return URL(scheme, "", "", rest, query, text)  # opaque
        raise _Bad("invalid URI for request")
    user = host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        user, host = _authority(authority)
    return URL(scheme, user, host, _path(rest), query, text)


def _scheme(text: str) -> tuple[str, str]:
    match = _SCHEME.match(text)
    if match:
        return match.group(1).lower(), text[match.end() :]
    if text.startswith(":"):
        raise _Bad("missing protocol scheme")
    return "", text


def _authority(text: str) -> tuple[str, str]:
    user, at, host = text.rpartition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*", user):
        raise _Bad("net/url: invalid userinfo")
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise _Bad("missing ']' in host")
        port = host[end + 1 :]
    else:
        port = ":" + host.rpartition(":")[2] if ":" in host else ""
    if not _PORT.fullmatch(port):
        raise _Bad(f"invalid port {go_quote(port)} after host")
    for match in _ESCAPE.finditer(host):
        raise _Bad(f'invalid URL escape "{host[match.start() : match.start() + 3]}"')
    if not _HOST_SAFE.fullmatch(host):
        bad = next(character for character in host if not _HOST_SAFE.fullmatch(character))
        raise _Bad(f'invalid character "{bad}" in host name')
    return user, host


def _path(text: str) -> str:
    """The path, escaped as Go would where it is not valid as written."""
    for match in _ESCAPE.finditer(text):
        if match.group(1) is None:
            raise _Bad(f'invalid URL escape "{text[match.start() : match.start() + 3]}"')
    encoded = text.encode("utf-8", "replace")
    if all(byte in _PATH_SAFE for byte in encoded):
        return text
    plain = unescape(encoded, plus=False)
    safe = _PATH_SAFE - frozenset(b"%[]!'()*")
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in plain)


def unescape(text: bytes, *, plus: bool) -> bytes:
    if plus:
        text = text.replace(b"+", b" ")
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes([int(match.group(1), 16)]), text)


def url(text: str) -> URL:
    try:
        return parse_request_uri(text)
    except _Bad as error:
        raise CelError(f"URL parse error during conversion from string: parse {go_quote(text)}: {error}") from None


def is_url(text: str) -> bool:
    try:
        parse_request_uri(text)
    except _Bad:
        return False
    return True


def problem(text: str) -> str:
    """Go's error for a text that is no URL; empty when it is one."""
    try:
        parse_request_uri(text)
    except _Bad as error:
        return f"parse {go_quote(text)}: {error}"
    return ""


def get_scheme(value: URL) -> str:
    return value.scheme


def get_host(value: URL) -> str:
    return value.host


def get_hostname(value: URL) -> str:
    host = value.host
    if host.startswith("["):
        return host[1 : host.rfind("]")]
    return host.partition(":")[0]


def get_port(value: URL) -> str:
    return value.host.rpartition("]")[2].partition(":")[2]


def get_escaped_path(value: URL) -> str:
    return value.path


def get_query(value: URL) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in (value.query or "").split("&"):
        if not pair or ";" in pair:
            continue
        key, _, content = pair.partition("=")
        if any(match.group(1) is None for match in _ESCAPE.finditer(pair)):
            continue
        name, text = (unescape(part.encode("utf-8"), plus=True).decode("utf-8", "replace") for part in (key, content))
        found.setdefault(name, []).append(text)
    return found


_U: Final = "kubernetes.URL"

OVERLOADS: Final = (
    row(f"url(string) -> {_U}", url),
    row("isURL(string) -> bool", is_url, total=True),
    row(f"{_U}.getScheme() -> string", get_scheme, total=True),
    row(f"{_U}.getHost() -> string", get_host, total=True),
    row(f"{_U}.getHostname() -> string", get_hostname, total=True),
    row(f"{_U}.getPort() -> string", get_port, total=True),
    row(f"{_U}.getEscapedPath() -> string", get_escaped_path, total=True),
    row(f"{_U}.getQuery() -> map(string, list(string))", get_query, total=True),
)
