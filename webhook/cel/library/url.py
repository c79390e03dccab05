"""URLs (`apiserver pkg/cel/library/urls.go`), parsed by the rules of Go's `net/url`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from webhook.cel.equality import Library
from webhook.cel.error import CelError
from webhook.cel.library.net import BadAddress, parse_address, parse_text
from webhook.cel.overload import row
from webhook.cel.text import go_quote
from webhook.cel.values import register

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%([0-9a-fA-F]{2})?")
_PORT: Final = re.compile(r"(?::[0-9]*)?", re.ASCII)
_USER: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*", re.ASCII)
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
# What stays as it is when Go writes each part (SAFE), and what is left as it was written (VALID).
_PATH_SAFE: Final = _UNRESERVED | frozenset(b"$&+,/:;=@")
_PATH_VALID: Final = _PATH_SAFE | frozenset(b"!'()*[]%")
_HOST_SAFE: Final = _UNRESERVED | frozenset(b"!$&'()*+,;=:[]<>\"")
_USER_SAFE: Final = _UNRESERVED | frozenset(b"$&+,;=")
_FRAGMENT_SAFE: Final = _UNRESERVED | frozenset(b"$&+,/:;=?@!()*")
_FRAGMENT_VALID: Final = _FRAGMENT_SAFE | frozenset(b"'[]%")


class URL(Library):
    __slots__ = ("fragment", "host", "opaque", "path", "query", "rooted", "scheme", "user")
    tag = "url"

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.opaque = ""
        """What is behind the scheme, where it is no path."""
        self.rooted = False
        """Whether there is a scheme, and then a path without an authority."""
        self.user: str | None = None
        self.host = ""
        self.path = ""
        """Escaped."""
        self.query: str | None = None
        self.fragment = ""
        """Escaped."""

    def same(self, other: URL) -> bool:
        return self.text() == other.text()

    def text(self) -> str:
        query = "" if self.query is None else f"?{self.query}"
        end = query + (f"#{self.fragment}" if self.fragment else "")
        scheme = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            return f"{scheme}{self.opaque}{end}"
        authority = ""
        if (self.scheme and self.path and not self.rooted) or self.host or self.user is not None:
            user = "" if self.user is None else f"{self.user}@"
            authority = f"//{user}{_escaped(self.host.encode('utf-8', 'surrogateescape'), _HOST_SAFE)}"
        return f"{scheme}{authority}{self.path}{end}"


register(URL, "kubernetes.URL", "cel.URL")


class _Bad(Exception):
    pass


def parse(text: str, *, request: bool) -> URL:
    """Go's `Parse`, or with `request` its `ParseRequestURI`, which knows no fragments and wants an absolute path or a
    scheme. Raises `_Bad` with Go's reason."""
    fragment = ""
    if not request:
        text, _, fragment = text.partition("#")
    if _CONTROL.search(text):
        raise _Bad("net/url: invalid control character in URL")
    if not text and request:
        raise _Bad("empty url")
    found = URL("")
    if text == "*":
        found.path = "*"
    else:
        found.scheme, rest = _scheme(text)
        if "?" in rest:
            rest, _, found.query = rest.partition("?")
        _place(found, rest, request=request)
    if fragment:
        _check_escapes(fragment)
        found.fragment = _valid(fragment, _FRAGMENT_VALID, _FRAGMENT_SAFE)
    return found


def _place(found: URL, rest: str, *, request: bool) -> None:
    """Authority and path."""
    if not rest.startswith("/"):
        if found.scheme:
            found.opaque = rest
            return
        if request:
            raise _Bad("invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise _Bad("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (found.scheme or (not request and not rest.startswith("///"))):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        found.user, found.host = _authority(found.scheme, authority)
    else:
        found.rooted = bool(found.scheme)
    found.path = _path(rest)


def _scheme(text: str) -> tuple[str, str]:
    match = _SCHEME.match(text)
    if match:
        return match.group(1).lower(), text[match.end() :]
    if text.startswith(":"):
        raise _Bad("missing protocol scheme")
    return "", text


def _authority(scheme: str, text: str) -> tuple[str | None, str]:
    user, at, host = text.rpartition("@")
    host = _bracketed(host) if "[" in host else _named(scheme, host)
    if not at:
        return None, host
    if not _USER.fullmatch(user):
        raise _Bad("net/url: invalid userinfo")
    parts = []
    for part in user.split(":", 1):
        _check_escapes(part)
        parts.append(_escaped(unescape(part.encode(), plus=False), _USER_SAFE))
    return ":".join(parts), host


def _named(scheme: str, host: str) -> str:
    """A host by name, or an IPv4 address, with its port."""
    if ":" in host:
        # Several colons are borne where no web browser goes.
        _, _, port = host.partition(":") if scheme in ("http", "https") else host.rpartition(":")
        _check_port(f":{port}")
    return _host(host)


def _bracketed(host: str) -> str:
    """An IPv6 address, perhaps with a zone, and its port."""
    if host.rfind("["):
        raise _Bad("invalid IP-literal")
    inner, bracket, port = host[1:].rpartition("]")
    if not bracket:
        raise _Bad("missing ']' in host")
    _check_port(port)
    address, percent, zone = inner.partition("%25")
    plain = _host(address) + (_zone(percent + zone) if percent else "")
    try:
        read, _ = parse_address(plain)
    except BadAddress as error:
        raise _Bad(f"invalid host: {parse_text(plain, error)}") from None
    if read.bits == 32:
        raise _Bad("invalid IP-literal")
    return f"[{plain}]{port}"


def _check_port(port: str) -> None:
    if not _PORT.fullmatch(port):
        raise _Bad(f"invalid port {go_quote(port)} after host")


def _host(text: str) -> str:
    """A host without its escapes, which only bytes that are not ASCII, and the percent sign, may have."""
    _check_escapes(text, lambda byte: byte >= 0x80 or byte == 0x25)
    return _checked_host(text)


def _zone(text: str) -> str:
    _check_escapes(text, lambda byte: byte in _HOST_SAFE or byte in (0x20, 0x25))
    return _checked_host(text)


def _checked_host(text: str) -> str:
    for byte in _ESCAPE.sub("", text).encode("utf-8", "replace"):
        if byte < 0x80 and byte not in _HOST_SAFE:
            raise _Bad(f"invalid character {go_quote(chr(byte))} in host name")
    return unescape(text.encode("utf-8", "replace"), plus=False).decode("utf-8", "surrogateescape")


def _check_escapes(text: str, allowed: Callable[[int], bool] = lambda _: True) -> None:
    for match in _ESCAPE.finditer(text):
        if match.group(1) is None or not allowed(int(match.group(1), 16)):
            raise _Bad(f"invalid URL escape {go_quote(text[match.start() : match.start() + 3])}")


def _path(text: str) -> str:
    """The path, escaped as Go would where it is not valid as written."""
    _check_escapes(text)
    return _valid(text, _PATH_VALID, _PATH_SAFE)


def _valid(text: str, valid: frozenset[int], safe: frozenset[int]) -> str:
    encoded = text.encode("utf-8", "replace")
    if all(byte in valid for byte in encoded):
        return text
    return _escaped(unescape(encoded, plus=False), safe)


def _escaped(plain: bytes, safe: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in plain)


def unescape(text: bytes, *, plus: bool) -> bytes:
    if plus:
        text = text.replace(b"+", b" ")
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes([int(match.group(1), 16)]), text)


def url(text: str) -> URL:
    shown = text
    try:
        parse(text, request=True)
        if "#" in text:
            shown = text.partition("#")[0]  # what stands before a fragment is read, and shown, alone
            parse(shown, request=False)
            shown = text
        return parse(text, request=False)
    except _Bad as error:
        raise CelError(f"URL parse error during conversion from string: parse {go_quote(shown)}: {error}") from None


def is_url(text: str) -> bool:
    try:
        parse(text, request=True)
    except _Bad:
        return False
    return True


def problem(text: str) -> str:
    """Go's error for a text that is no URL; empty when it is one."""
    try:
        parse(text, request=True)
    except _Bad as error:
        return f"parse {go_quote(text)}: {error}"
    return ""


def get_scheme(value: URL) -> str:
    return value.scheme


def get_host(value: URL) -> str:
    return value.host


def get_hostname(value: URL) -> str:
    host, _ = _split(value.host)
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def get_port(value: URL) -> str:
    return _split(value.host)[1]


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and _PORT.fullmatch(colon + port) else (host, "")


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
