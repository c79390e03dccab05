"""The one way from text to HTML: everything that is not ours is escaped here, and nowhere else is there markup of it.

What is not printable (terminal codes, bidirectional and zero-width characters, lone surrogates) is shown as an escape,
so that no name can pretend to be another. Knows no figures.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from importlib import resources

from webhook.audit.render import safe


class Html(str):
    """Markup of our own making, with everything else in it escaped."""

    __slots__ = ()


def text(value: str, most: int = 253) -> Html:
    """Escaped for content and for quoted attributes; longer than `most` code points is cut."""
    return Html(html.escape(safe(value if len(value) <= most else value[: most - 1] + "…"), quote=True))


def tag(name: str, inside: str | Iterable[str] = "", /, **attributes: str | bool | None) -> Html:
    """An element. `inside` and attributes of the type `Html` are markup; all others are escaped here."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{name}{shown}>{join(inside)}</{name}>")


def join(parts: str | Iterable[str]) -> Html:
    if isinstance(parts, str):
        return parts if isinstance(parts, Html) else text(parts, 10_000)
    return Html("".join(map(join, parts)))


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{join(value)}"'


def asset(name: str) -> str:
    """One of the page's own files, without indentation and comments: the page has a size to keep."""
    lines = (resources.files(__package__) / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(short for line in lines if (short := line.strip()) and not short.startswith("//"))


def digest(content: str) -> str:
    """The source expression that lets exactly this inline content run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
