"""Parser events of YAML → JSON values with their positions, resolved the way `kubectl` resolves them.

Builds plain values itself: no tags, no Python objects, dates stay text, and neither deep nesting nor aliases that
multiply can exhaust memory. Knows no files and nothing of Kubernetes.

Source: YAML 1.1 as `sigs.k8s.io/yaml` resolves it (scalars become what `kubectl` would send as JSON).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

Step = str | int
Steps = tuple[Step, ...]
"""A field path: `("spec", "validations", 0, "expression")`."""

MAX_DEPTH = 400
"""Levels of nesting; Kubernetes objects use some sixty."""
MAX_ALIASED = 100_000
"""Values that aliases may add to one file: a few lines can otherwise stand for billions."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Where a value starts. Line and column count from 1."""

    line: int
    column: int


class Tree(msgspec.Struct, frozen=True):
    """One document: its value, where each part of it stands, and its first line."""

    value: Any
    marks: dict[Steps, Mark]
    line: int


class Refused(Exception):
    """YAML that we do not take, at a place."""

    def __init__(self, mark: Mark, message: str) -> None:
        self.mark: Mark = mark
        super().__init__(message)


class _Frame:
    """A collection that is being built."""

    __slots__ = ("anchor", "is_map", "key", "keyed", "merges", "size", "steps", "value")

    def __init__(self, value: dict[str, Any] | list[Any], steps: Steps, anchor: str | None) -> None:
        self.value: Any = value
        self.is_map = value.__class__ is dict
        self.steps = steps
        self.anchor = anchor
        self.key = ""
        self.keyed = False
        self.merges: list[Any] = []
        self.size = 1


_OPEN = object()
"""Stands for an anchored collection that is not complete yet."""


class Builder:
    """Parser events in, documents out."""

    def __init__(self, *, marks: bool) -> None:
        self.documents: list[Tree] = []
        self._keep = marks
        self._aliased = 0
        self._start = 1
        self._reset()

    def _reset(self) -> None:
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._marks: dict[Steps, Mark] = {}
        self._root: Any = None

    def take(self, event: Any) -> None:
        """The next event. Raises `Refused`."""
        take = _TAKES.get(event.__class__)
        if take is not None:
            take(self, event)

    def _map(self, event: Any) -> None:
        self._open({}, event)

    def _list(self, event: Any) -> None:
        self._open([], event)

    def _start_document(self, event: Any) -> None:
        self._reset()
        self._start = _mark(event).line

    def _end_document(self, event: Any) -> None:
        self.documents.append(Tree(self._root, self._marks, self._start))

    def _scalar(self, event: Any) -> None:
        plain, text = event.implicit[0] and event.style in (None, ""), event.value
        if self._wants_key():
            self._key(event, text, plain)
            return
        tag = event.tag
        if tag in (None, "!") or not tag.startswith("tag:yaml.org,2002:"):
            value = resolve(text) if plain and tag is None else text
        elif tag == "tag:yaml.org,2002:str":
            value = text
        elif tag == "tag:yaml.org,2002:binary":
            raise Refused(_mark(event), "expected plain text: !!binary has no meaning in a Kubernetes object")
        else:
            value = resolve(text)
        self._add(value, event, 1)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)

    def _wants_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return frame.is_map and not frame.keyed

    def _key(self, event: Any, text: str, plain: bool) -> None:
        frame = self._stack[-1]
        if not plain:
            key = text
        elif text == "<<":
            frame.key, frame.keyed = "<<", True
            frame.merges.append(_OPEN)
            return
        else:
            resolved = resolve(text)
            if resolved is None:
                raise Refused(_mark(event), "expected a key, found null: put it in quotes")
            key = resolved if isinstance(resolved, str) else msgspec.json.encode(resolved).decode()
        if key in frame.value:
            raise Refused(_mark(event), f"the key {key!r} stands here a second time: keep one")
        if event.anchor:
            self._anchors[event.anchor] = (key, 1)
        frame.key, frame.keyed = key, True

    def _open(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        if self._wants_key():
            raise Refused(_mark(event), "expected a key, found a collection")
        if len(self._stack) >= MAX_DEPTH:
            raise Refused(_mark(event), f"nested more than {MAX_DEPTH} levels deep")
        steps = self._steps()
        self._note(steps, event)
        self._stack.append(_Frame(value, steps, event.anchor))
        if event.anchor:
            self._anchors[event.anchor] = (_OPEN, 0)

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        if frame.merges:
            for each in frame.merges:
                for key, value in _merged(each, _mark(event)).items():
                    frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, frame.size)
        self._put(frame.value, frame.size)

    def _alias(self, event: Any) -> None:
        value, size = self._anchors.get(event.anchor, (None, -1))
        if size < 0:
            raise Refused(_mark(event), f"no anchor &{event.anchor} stands before this alias")
        if value is _OPEN:
            raise Refused(_mark(event), f"the alias *{event.anchor} is part of what it stands for")
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise Refused(_mark(event), f"aliases multiply to more than {MAX_ALIASED} values: write them out")
        if self._wants_key():
            if not isinstance(value, str):
                raise Refused(_mark(event), "expected a key, found a collection")
            self._stack[-1].key, self._stack[-1].keyed = value, True
            return
        self._add(value, event, size)

    def _add(self, value: Any, event: Any, size: int) -> None:
        self._note(self._steps(), event)
        self._put(value, size)

    def _put(self, value: Any, size: int) -> None:
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        frame.size += size
        if not frame.is_map:
            frame.value.append(value)
            return
        if frame.key == "<<" and frame.merges and frame.merges[-1] is _OPEN:
            frame.merges[-1] = value
        else:
            frame.value[frame.key] = value
        frame.keyed = False

    def _steps(self) -> Steps:
        if not self._keep or not self._stack:
            return ()
        frame = self._stack[-1]
        return (*frame.steps, frame.key if frame.is_map else len(frame.value))

    def _note(self, steps: Steps, event: Any) -> None:
        if self._keep:
            self._marks[steps] = _mark(event)


_TAKES: dict[type, Callable[[Builder, Any], None]] = {
    yaml.ScalarEvent: Builder._scalar,
    yaml.MappingStartEvent: Builder._map,
    yaml.SequenceStartEvent: Builder._list,
    yaml.MappingEndEvent: Builder._close,
    yaml.SequenceEndEvent: Builder._close,
    yaml.AliasEvent: Builder._alias,
    yaml.DocumentStartEvent: Builder._start_document,
    yaml.DocumentEndEvent: Builder._end_document,
}


def _mark(event: Any) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1)


def _merged(value: Any, mark: Mark) -> dict[str, Any]:
    """What `<<: value` brings; of several maps the first wins."""
    found: dict[str, Any] = {}
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            raise Refused(mark, "expected a map, or a list of maps, after `<<`")
        for key, held in each.items():
            found.setdefault(key, held)
    return found


_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"([-+]?)(?:0x([0-9a-fA-F]+)|0b([01]+)|0o?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str) -> Any:
    """The JSON value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if found := _INTEGER.fullmatch(digits):
        sign, hexadecimal, binary, octal, decimal = found.groups()
        for part, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)):
            if part is not None and len(part) < _LONG:
                return as_number(int(part, base) * (-1 if sign == "-" else 1))
    if _FLOAT.fullmatch(digits):
        real = float(digits)
        if math.isfinite(real):
            return as_number(real)
    return text


_LONG = 40
_INT64 = 2.0**63


def as_number(value: float) -> float:
    """On its way through JSON 1.0 is written `1` and read as an integer, and an integer that is too long as a float."""
    if abs(value) >= _INT64:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
