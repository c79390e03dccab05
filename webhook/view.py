"""What of an object is decoded: what somebody will ask for. Of most objects that is the smaller part, and each value
that is made takes memory which is cold again when the next review comes.

Where a policy looks is known before it runs (`webhook.cel.reads`), as paths. A view is made of the paths of all who
look at the same value: what it decodes is for them as the whole object would be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TypedDict
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw

from webhook.paths import Below, Path
from webhook.review import decode_object

USUAL: Final[frozenset[Path]] = frozenset(
    [
        ("apiVersion",),
        ("metadata", "name"),
        ("metadata", "labels"),
        *(("metadata", "ownerReferences", Below.ELEMENT, field) for field in ("kind", "name", "controller")),
    ]
)
"""What is asked of every object, whatever the policies: in which group's types the server holds it, who owns it, which
selectors select it."""


class View:
    """Immutable. `view_of` makes it."""

    __slots__ = ("__weakref__", "_decoder", "paths")

    def __init__(self, paths: frozenset[Path]) -> None:
        self.paths = paths
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def prepare(self) -> msgspec.json.Decoder[Any]:
        """Makes the decoder, which takes a millisecond."""
        if self._decoder is None:
            self._decoder = msgspec.json.Decoder(_type(self.paths))
        return self._decoder

    def decode(self, raw: Raw) -> Any:
        """The object's value as far as it is asked for; None for `null`. Raises `msgspec.DecodeError` or
        `RecursionError`."""
        try:
            return (self._decoder or self.prepare()).decode(raw)
        except msgspec.ValidationError:  # nothing that an API server would write
            return decode_object(raw)

    def covers(self, other: View) -> bool:
        """Whether it shows all that the other does."""
        return other.paths <= self.paths or () in self.paths


def view_of(paths: frozenset[Path]) -> View:
    """The view on these paths and on what is `USUAL`: the same one for equal paths, as long as somebody holds it."""
    if () in paths:
        return WHOLE
    paths |= USUAL
    found = _known.get(paths)
    if found is None:
        found = _known[paths] = View(paths)
    return found


_known: Final[WeakValueDictionary[frozenset[Path], View]] = WeakValueDictionary()


def together(views: Iterable[View]) -> View:
    """Does for all who can do with one of them; without any, all there is."""
    found = {view.paths for view in views}
    return view_of(frozenset().union(*found)) if found else WHOLE


WHOLE: Final = View(frozenset([()]))

_NO_MAP: Final = list[Any] | str | bool | int | float | None
_NO_LIST: Final = dict[str, Any] | str | bool | int | float | None


def _type(paths: Iterable[Path]) -> Any:
    """What msgspec is to decode, of a value of which these paths are asked for. Whatever type the value has is fine."""
    below: dict[str | Below, set[Path]] = {}
    for path in paths:
        if not path:
            return Any
        below.setdefault(path[0], set()).add(path[1:])
    below.pop(Below.PRESENCE, None)
    elements = below.pop(Below.ELEMENT, None)
    if elements is None:
        return _fields(tuple(sorted((name, _type(inner)) for name, inner in below.items() if isinstance(name, str))))
    element = Any if below else _type(elements)
    return Any if element is Any else _elements(element)


# One type for what is asked for alike: a type takes kilobytes, and containers are the same wherever a pod stands.


@lru_cache(maxsize=1024)
def _fields(types: tuple[tuple[str, Any], ...]) -> Any:
    # The objects' keys are these very texts, and interned ones are those that policies ask for.
    fields = {sys.intern(name): type for name, type in types}
    return TypedDict("_Fields", fields, total=False) | _NO_MAP  # type: ignore[operator]


@lru_cache(maxsize=1024)
def _elements(type: Any) -> Any:
    return list[type] | _NO_LIST
