"""YAML and JSON files → documents that remember where their parts stood, and what is wrong with them.

Raises nothing for what is in a file. Knows nothing of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from webhook.errors import Problem
from webhook.yamltree import Builder, Mark, Refused, Steps, as_number, resolve

__all__ = ["Document", "File", "Mark", "Steps", "files", "parse", "path_text", "read", "resolve"]

SUFFIXES = (".yaml", ".yml", ".json")


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
        wrong = _problem(self.file, self.lines, mark.line, mark.column, message)
        return msgspec.structs.replace(wrong, path=path_text(steps), policy=policy)

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
        """Where line and column (from 1) of the text at a path stand in the file; its start when escapes hide that.

        Each line of the file holds a piece of the text, whatever style the text is written in: the pieces are found
        one after the other.
        """
        start, text = self.at(steps), _value_at(self.value, steps)
        if steps not in self.marks or not isinstance(text, str) or line < 1:
            return start
        wanted = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
        done = 0
        for number in range(start.line, len(self.lines) + 1):
            whole = self.lines[number - 1]
            piece = _first_piece(whole[start.column - 1 :]) if number == start.line else whole.strip()
            found = text.find(piece, done)
            if found < 0:
                # What ends a flow collection, or a comment, may follow the text on its last line.
                rest = text[done:]
                if not piece.startswith(rest):
                    return start
                found, piece = done, rest
            if piece and found <= wanted <= found + len(piece):
                return Mark(number, whole.index(piece) + 1 + wanted - found)
            done = found + len(piece)
        return start


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
        wrong = Problem(file=name, line=line, message=f"byte {error.start} is not UTF-8: save the file as UTF-8")
        return File(name=name, problems=(wrong,))
    lines = tuple(text.splitlines()) if marks else ()
    json = _json(text)
    if json is not None and not marks:
        return File(name=name, documents=(Document(file=name, value=json),))
    builder = Builder(marks=marks)
    problems: tuple[Problem, ...] = ()
    try:
        next_event = _LOADER(text).get_event
        while (event := next_event()) is not None:
            builder.take(event)
    except Refused as error:
        problems = (_problem(name, lines, error.mark.line, error.mark.column, str(error)),)
    except yaml.YAMLError as error:
        if json is not None:
            # Most JSON is YAML, but not all of it: then it has no positions.
            return File(name=name, documents=(Document(file=name, value=json, lines=lines),))
        problems = (_no_yaml(name, lines, text, error),)
    documents = tuple(
        Document(file=name, value=each.value, lines=lines, marks=each.marks, line=each.line)
        for each in builder.documents
    )
    return File(name=name, documents=documents, problems=problems)


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
    return as_number(value) if type(value) in (int, float) else value


def _no_yaml(name: str, lines: tuple[str, ...], text: str, error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        at = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        line, column = (at.line + 1, at.column + 1) if at else (0, 0)
        return _problem(name, lines, line, column, f"not YAML: {what}")
    # The reader's own errors (control characters) carry an offset, not a mark.
    line = text.count("\n", 0, getattr(error, "position", 0)) + 1
    return _problem(name, lines, line, 0, f"not YAML: {getattr(error, 'reason', error)}")


def _problem(name: str, lines: tuple[str, ...], line: int, column: int, message: str) -> Problem:
    source = lines[line - 1] if 0 < line <= len(lines) and len(lines[line - 1]) <= _SHOWN else ""
    return Problem(file=name, line=line, column=column, message=message, source=source, caret=column if source else 0)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEADER = re.compile(r"[|>][-+0-9]*(\s+#.*)?")
"""What introduces a block of text."""
_SHOWN = 300
"""Longer lines are not quoted in problems."""


def _first_piece(shown: str) -> str:
    """What the line on which a text starts holds of it."""
    shown = shown.strip()
    if _HEADER.fullmatch(shown):
        return ""
    return shown[1:].rstrip("'\",]} ") if shown[:1] in "'\"" else shown


def _value_at(value: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _reason(error: OSError) -> str:
    return f"cannot be read: {(error.strerror or str(error)).lower()}"
