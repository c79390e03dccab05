"""YAML files → JSON values that remember where they stood, read the way `kubectl` reads them.

The reader works on parser events and builds plain JSON values itself: no tags, no Python objects, dates stay
text, and neither deep nesting nor aliases that multiply can exhaust memory. Knows nothing of Kubernetes.

Sources: YAML 1.1 as `sigs.k8s.io/yaml` resolves it (scalars become what `kubectl` would send as JSON).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from webhook.errors import Problem

Step = str | int
Steps = tuple[Step, ...]
"""A field path: `("spec", "validations", 0, "expression")`."""

SUFFIXES = (".yaml", ".yml", ".json")

MAX_DEPTH = 400
"""Levels of nesting; Kubernetes objects use some sixty."""
MAX_ALIASED = 100_000
"""Values that aliases may add to one file: a few lines can otherwise stand for billions."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Where a value starts. Line and column count from 1."""

    line: int
    column: int
    scalar: bool = False


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document of a file."""

    file: str
    value: Any
    lines: tuple[str, ...] = ()
    """The whole file's lines."""
    marks: dict[Steps, Mark] = {}
    line: int = 1

    def at(self, steps: Steps) -> Mark:
        """Where the value at a path stands, or the nearest value around it."""
        for end in range(len(steps), -1, -1):
            mark = self.marks.get(steps[:end])
            if mark is not None:
                return mark
        return Mark(self.line, 1)

    def problem(self, steps: Steps, message: str, *, policy: str = "") -> Problem:
        """What is wrong at a path, with the source line of the file."""
        mark = self.at(steps)
        source = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        return Problem(
            file=self.file,
            line=mark.line,
            column=mark.column,
            path=path_text(steps),
            message=message,
            source=source if len(source) <= _SHOWN else "",
            caret=mark.column if len(source) <= _SHOWN else 0,
            policy=policy,
        )

    def part(self, steps: Steps) -> Document:
        """The value at a path as a document of its own, such as an item of a List."""
        mark, depth = self.at(steps), len(steps)
        return Document(
            file=self.file,
            value=_value_at(self.value, steps),
            lines=self.lines,
            marks={path[depth:]: each for path, each in self.marks.items() if path[:depth] == steps},
            line=mark.line,
        )

    def inside(self, steps: Steps, line: int, column: int) -> Mark:
        """Where line and column (from 1) of the text at a path stand in the file; its start when escapes hide that."""
        mark = self.at(steps)
        text = self.marks.get(steps) and _value_at(self.value, steps)
        if not isinstance(text, str) or line < 1:
            return mark
        wanted = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
        cursor = 0
        for number in range(mark.line, len(self.lines) + 1):
            whole = self.lines[number - 1]
            shown = whole[mark.column - 1 :].strip() if number == mark.line else whole.strip()
            if number == mark.line:
                if re.fullmatch(r"[|>][-+0-9]*(\s+#.*)?", shown):
                    continue
                if shown[:1] in "'\"":
                    shown = shown[1:].rstrip("'\",]} ")
            if not shown:
                continue
            found = text.find(shown, cursor)
            if found < 0:
                # The rest of the line may be the end of a flow collection or a comment: only the part that is text.
                found = cursor if text.startswith(shown[: len(text) - cursor], cursor) else -1
                if found < 0:
                    return mark
            if found <= wanted <= found + len(shown):
                return Mark(number, whole.index(shown) + 1 + wanted - found)
            cursor = found + len(shown)
            if cursor >= len(text):
                break
        return mark


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read: the documents before the first problem, and what is wrong with it."""

    name: str
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()


def path_text(steps: Steps) -> str:
    """`spec.validations[0].expression`; keys that are no plain words in brackets."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", step):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]"
    return text


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files of these paths in a stable order: a file as it is, a folder's YAML and JSON files at any depth.

    Hidden entries are skipped: a mounted ConfigMap holds its files twice, once below `..data`.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for entry in sorted(path.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if not entry.is_symlink():
                    yield from files([entry])
            elif entry.suffix in SUFFIXES:
                yield entry


def read(path: Path, *, marks: bool = True) -> File:
    """Reads a file. Whatever is wrong is a `Problem` of the answer; nothing is raised.

    `marks=False` leaves positions out, which big snapshots do not need.
    """
    name = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        return File(name=name, problems=(Problem(file=name, message=_reason(error)),))
    return parse(data, name=name, marks=marks)


def parse(data: bytes, *, name: str, marks: bool = True) -> File:
    """As `read`, of bytes; `name` stands for the file in problems."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _failed(name, (), line, 0, f"byte {error.start} is not UTF-8: save the file as UTF-8", ())
    lines = tuple(text.splitlines()) if marks else ()
    json = _json(text)
    if json is not None and not marks:
        return File(name=name, documents=(Document(file=name, value=json),))
    builder = _Builder(name, lines, marks)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _Refused as error:
        return _failed(name, builder.documents, error.mark.line, error.mark.column, str(error), lines)
    except yaml.YAMLError as error:
        if json is not None:
            # Most JSON is YAML, but not all of it: then it has no positions.
            return File(name=name, documents=(Document(file=name, value=json, lines=lines),))
        return _failed_yaml(name, builder.documents, error, text, lines)
    return File(name=name, documents=tuple(builder.documents))


def _failed_yaml(
    name: str, documents: Iterable[Document], error: yaml.YAMLError, text: str, lines: tuple[str, ...]
) -> File:
    if isinstance(error, yaml.MarkedYAMLError):
        at = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        line, column = (at.line + 1, at.column + 1) if at else (0, 0)
        return _failed(name, documents, line, column, f"not YAML: {what}", lines)
    # The reader's own errors (control characters) carry an offset, not a mark.
    line = text.count("\n", 0, getattr(error, "position", 0)) + 1
    return _failed(name, documents, line, 0, f"not YAML: {getattr(error, 'reason', error)}", lines)


def _json(text: str) -> dict[str, Any] | None:
    """The object, if the text is one JSON object and nothing else."""
    if text.lstrip()[:1] != "{":
        return None
    try:
        found: dict[str, Any] = _as_sent(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return None
    return found


def _as_sent(value: Any) -> Any:
    """A JSON value with its numbers as `kubectl` would write them."""
    if isinstance(value, dict):
        return {key: _as_sent(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_sent(each) for each in value]
    return _number(value) if type(value) in (int, float) else value


def _number(value: float) -> float:
    """On its way through JSON 1.0 is written `1` and read as an integer, and an integer that is too long as a float."""
    if abs(value) >= _INT64:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _failed(
    name: str, documents: Iterable[Document], line: int, column: int, message: str, lines: tuple[str, ...]
) -> File:
    source = lines[line - 1] if 0 < line <= len(lines) and len(lines[line - 1]) <= _SHOWN else ""
    problem = Problem(
        file=name, line=line, column=column, message=message, source=source, caret=column if source else 0
    )
    return File(name=name, documents=tuple(documents), problems=(problem,))


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SHOWN = 300
"""Longer lines are not quoted in problems."""


class _Refused(Exception):
    """YAML that we do not take, at a place."""

    def __init__(self, mark: Mark, message: str) -> None:
        self.mark: Mark = mark
        super().__init__(message)


class _Frame:
    """A collection that is being built."""

    __slots__ = ("anchor", "key", "keyed", "merges", "size", "steps", "value")

    def __init__(self, value: dict[str, Any] | list[Any], steps: Steps, anchor: str | None) -> None:
        self.value = value
        self.steps = steps
        self.anchor = anchor
        self.key = ""
        self.keyed = False
        self.merges: list[Any] = []
        self.size = 1


_OPEN = object()
"""Stands for an anchored collection that is not complete yet."""


class _Builder:
    """Parser events in, documents out."""

    def __init__(self, name: str, lines: tuple[str, ...], marks: bool) -> None:
        self.documents: list[Document] = []
        self._name = name
        self._lines = lines
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
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(_mark(event))
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._reset()
            self._start = _mark(event).line
        elif isinstance(event, yaml.DocumentEndEvent):
            self.documents.append(
                Document(file=self._name, value=self._root, lines=self._lines, marks=self._marks, line=self._start)
            )

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
            raise _Refused(_mark(event), "expected plain text: !!binary has no meaning in a Kubernetes object")
        else:
            value = resolve(text)
        self._add(value, event, 1, scalar=True)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)

    def _wants_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].keyed

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
                raise _Refused(_mark(event), "expected a key, found null: put it in quotes")
            key = resolved if isinstance(resolved, str) else msgspec.json.encode(resolved).decode()
        if key in frame.value:
            raise _Refused(_mark(event), f"the key {key!r} stands here a second time: keep one")
        if event.anchor:
            self._anchors[event.anchor] = (key, 1)
        frame.key, frame.keyed = key, True

    def _open(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        if self._wants_key():
            raise _Refused(_mark(event), "expected a key, found a collection")
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(_mark(event), f"nested more than {MAX_DEPTH} levels deep")
        steps = self._steps()
        self._note(steps, event)
        self._stack.append(_Frame(value, steps, event.anchor))
        if event.anchor:
            self._anchors[event.anchor] = (_OPEN, 0)

    def _close(self, mark: Mark) -> None:
        frame = self._stack.pop()
        if frame.merges and isinstance(frame.value, dict):
            for each in frame.merges:
                for key, value in _merged(each, mark).items():
                    frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, frame.size)
        self._put(frame.value, frame.size)

    def _alias(self, event: Any) -> None:
        value, size = self._anchors.get(event.anchor, (None, -1))
        if size < 0:
            raise _Refused(_mark(event), f"no anchor &{event.anchor} stands before this alias")
        if value is _OPEN:
            raise _Refused(_mark(event), f"the alias *{event.anchor} is part of what it stands for")
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _Refused(_mark(event), f"aliases multiply to more than {MAX_ALIASED} values: write them out")
        if self._wants_key():
            if not isinstance(value, str):
                raise _Refused(_mark(event), "expected a key, found a collection")
            self._stack[-1].key, self._stack[-1].keyed = value, True
            return
        self._add(value, event, size)

    def _add(self, value: Any, event: Any, size: int, *, scalar: bool = False) -> None:
        self._note(self._steps(), event, scalar=scalar)
        self._put(value, size)

    def _put(self, value: Any, size: int) -> None:
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        frame.size += size
        if isinstance(frame.value, list):
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
        return (*frame.steps, len(frame.value) if isinstance(frame.value, list) else frame.key)

    def _note(self, steps: Steps, event: Any, *, scalar: bool = False) -> None:
        if self._keep:
            self._marks[steps] = Mark(event.start_mark.line + 1, event.start_mark.column + 1, scalar)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _merged(value: Any, mark: Mark) -> dict[str, Any]:
    """What `<<: value` brings; of several maps the first wins."""
    found: dict[str, Any] = {}
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            raise _Refused(mark, "expected a map, or a list of maps, after `<<`")
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
                return _number(int(part, base) * (-1 if sign == "-" else 1))
    if _FLOAT.fullmatch(digits):
        real = float(digits)
        if math.isfinite(real):
            return _number(real)
    return text


_LONG = 40
_INT64 = 2.0**63


def _value_at(value: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _reason(error: OSError) -> str:
    return f"cannot be read: {(error.strerror or str(error)).lower()}"
