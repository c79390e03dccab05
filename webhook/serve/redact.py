"""What of a request may be written to disk: the request again, without secrets, and where they were.

Knows no files. Types stay, emptiness stays, keys stay; only values go, so most policies see no difference, and those
that could are told by the paths. Replaced: values of Secrets and ConfigMaps; literal values of environment variables;
copies of whole objects in annotations (`kubectl.kubernetes.io/last-applied-configuration`); values under or behind a
name that says `password`, `token` or the like; passwords in URLs; private keys; `extra` of the user; the command of an
exec. `managedFields` are left out. Requests that are about nothing but credentials are not recorded at all.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from webhook.review import Request, decode_object

TEXT = "REDACTED"
BASE64 = "UkVEQUNURUQ="

_CREDENTIALS = frozenset({"authentication.k8s.io", "authorization.k8s.io", "oauth.openshift.io"})
_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secrets?|token|credentials?|(?:api|access|account|auth|private|secret|signing"
    r"|encryption|storage)[-_.]?key|apikey|authorization|cookie|dsn|connection[-_]?string)"
)
_NAME = re.compile(rf"(?i){_NAMES}$")
_QUOTED = r"""\"(?:[^"\\]|\\.)*"?|'[^']*'?"""
_BLOCK = r"[|>][^\n]*\n(?:[ \t]+[^\n]*(?:\n|$))+"
_ASSIGNED = re.compile(
    rf"""(?i)({_NAMES}['"\\]*(?:\s*=\s*))(?:{_QUOTED}|\S+)"""  # shells, properties, flags
    rf"""|({_NAMES}['"\\]*:(?:\s+|(?=['"\\])))(?:{_QUOTED}|{_BLOCK}|[^\n]+)"""  # YAML, JSON, headers
)
_FLAG = re.compile(rf"(?i)^--?(?:[a-z0-9]+[-_.])*{_NAMES}$")
_HINTS = ("pass", "pwd", "secret", "token", "credential", "key", "authorization", "cookie", "dsn", "connection")
"""One of these is in each of `_NAMES`: looking for them is ten times as fast."""
_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+@")
_KEY_RUNES = 64
"""Of keys that are remembered: longer ones are no field's."""
_KEY = "PRIVATE KEY-----"
_COPY = re.compile(r'"(?:apiVersion|kind)"\s*:')
_encode = msgspec.json.Encoder().encode


class Keep(Struct, frozen=True):
    """What the operator wants to see in the record all the same."""

    env: bool = False
    config_maps: bool = False


def redact(request: Request, keep: Keep) -> tuple[Request, tuple[str, ...]] | None:
    """The request to be written, with the JSON Pointers of what it lacks; None when it must not be written at all.

    Raises `msgspec.DecodeError`, `RecursionError`.
    """
    if request.resource.group in _CREDENTIALS or request.kind.group in _CREDENTIALS:
        return None
    if (request.resource.resource, request.sub_resource) == ("serviceaccounts", "token"):
        return None
    paths: list[str] = []
    parts: dict[str, Raw] = {}
    for name, raw in (("object", request.object), ("oldObject", request.old_object)):
        value = decode_object(raw)
        parts[name] = Raw(_encode(_Walk(request, keep, paths).root(value, f"/{name}")))
    user = request.user_info
    if user.extra:
        paths.extend(f"/userInfo/extra/{_step(key)}" for key in user.extra)
        user = msgspec.structs.replace(user, extra={key: (TEXT,) * len(values) for key, values in user.extra.items()})
    redacted = msgspec.structs.replace(request, object=parts["object"], old_object=parts["oldObject"], user_info=user)
    return redacted, tuple(paths)


class _Walk:
    """Goes through one freshly decoded value and changes it in place."""

    def __init__(self, request: Request, keep: Keep, paths: list[str]) -> None:
        self._keep = keep
        self._paths = paths
        self._exec = request.operation == "CONNECT"
        self._kind = request.kind.kind

    def root(self, value: Any, path: str) -> Any:
        if type(value) is dict:
            self._mapping(value, path, False, kind=self._kind)
        return value

    def _mapping(self, node: dict[str, Any], path: str, secretive: bool, *, kind: Any = None, called: str = "") -> None:
        """`called` is the key under which the mapping stands; `secretive` whether it is inside a Secret, SealedSecret,
        ExternalSecret or the like."""
        kind = node.get("kind", kind)
        secretive = secretive or (type(kind) is str and "secret" in kind.lower())
        named = node.get("name", called)
        for key, value in list(node.items()):
            here = f"{path}/{_step(key)}"
            if key == "managedFields":
                del node[key]
                self._paths.append(here)
            elif type(value) is dict:
                if self._all_secret(key, kind, secretive):
                    self._mask_all(value, here, BASE64 if key in ("data", "binaryData") else TEXT)
                elif key == "annotations":
                    self._annotations(value, here)
                else:
                    self._mapping(value, here, secretive, called=key)
            elif type(value) is list:
                self._sequence(key, value, here, secretive)
            elif type(value) is str:
                if _secret_name(key) or (key == "value" and type(named) is str and _secret_name(named)):
                    self._mask(node, key, value, here)
                else:
                    self._text(node, key, value, here)

    def _all_secret(self, key: str, kind: Any, secretive: bool) -> bool:
        if key == "stringData":
            return True
        if key in ("data", "binaryData"):
            return secretive or (kind == "ConfigMap" and not self._keep.config_maps)
        return key in ("env", "envVars") and not self._keep.env

    def _sequence(self, key: str, values: list[Any], path: str, secretive: bool) -> None:
        env = key == "env" and not self._keep.env
        after_flag = False
        for index, value in enumerate(values):
            here = f"{path}/{index}"
            if type(value) is dict:
                if env and "value" in value:
                    self._mask(value, "value", value["value"], f"{here}/value")
                self._mapping(value, here, secretive)
            elif type(value) is list:
                self._sequence(key, value, here, secretive)
            elif type(value) is str:
                if after_flag or _secret_name(key) or (self._exec and key == "command"):
                    self._mask(values, index, value, here)
                else:
                    self._text(values, index, value, here)
                after_flag = _FLAG.match(value) is not None

    def _annotations(self, node: dict[str, Any], path: str) -> None:
        for key, value in node.items():
            here = f"{path}/{_step(key)}"
            if type(value) is not str:
                continue
            if key.endswith("last-applied-configuration") or _secret_name(key) or _COPY.search(value):
                self._mask(node, key, value, here)
            else:
                self._text(node, key, value, here)

    def _text(self, node: Any, key: Any, value: str, path: str) -> None:
        """A text that is kept, but for secrets inside it."""
        if len(value) < 8:
            return
        if _KEY in value:
            self._mask(node, key, value, path)
            return
        text = value
        if "=" in text or ":" in text:
            lower = text.lower()
            if any(hint in lower for hint in _HINTS):
                text = _ASSIGNED.sub(_assigned, text)
            if "://" in text:
                text = _URL.sub(rf"\1{TEXT}@", text)
        if " " in text:
            text = _HEADER.sub(rf"\1 {TEXT}", text)
        if text != value:
            node[key] = text
            self._paths.append(path)

    def _mask_all(self, node: dict[str, Any], path: str, text: str) -> None:
        for key, value in node.items():
            self._mask(node, key, value, f"{path}/{_step(key)}", text)

    def _mask(self, node: Any, key: Any, value: Any, path: str, text: str = TEXT) -> None:
        """Something of the same type; what is empty stays as it is, and so do keys and how many there are."""
        if type(value) is dict:
            self._mask_all(value, path, text)
        elif type(value) is list:
            for index, each in enumerate(value):
                self._mask(value, index, each, f"{path}/{index}", text)
        elif value and value != text and value is not True:
            node[key] = text if type(value) is str else type(value)()
            self._paths.append(path)


def _secret_name(key: str) -> bool:
    return _known(key) if len(key) <= _KEY_RUNES else _NAME.search(key) is not None


@functools.lru_cache(4096)
def _known(key: str) -> bool:
    return _NAME.search(key) is not None


def _assigned(match: re.Match[str]) -> str:
    return (match[1] or match[2]) + TEXT


def _step(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
