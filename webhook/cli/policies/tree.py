"""A traced expression as lines for people, and as JSON: each part with its value, and what decided marked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from webhook.audit.render import safe
from webhook.cel.metering import Failure
from webhook.cel.tagged import encode, plain
from webhook.cel.trace import Step, Turn
from webhook.cel.tree import Call, Fold, Has, Ident, Index, Literal, Node, Select
from webhook.cel.unparse import unparse
from webhook.check.why import deciding, deciding_turns

_TEXT: Final = 72
_VALUE: Final = 88
_TURNS: Final = 3
"""Elements of a loop that are shown where none decided."""
_JSON: Final = 4_000
"""Characters of a value beyond which JSON says only what kind it is."""
_COLOURS: Final = {"red": "31", "green": "32", "dim": "2", "bold": "1"}


class Paint:
    """Colour where a person looks and has not declined it (`NO_COLOR`)."""

    def __init__(self) -> None:
        self._on = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._on else text

    def value(self, value: Any) -> str:
        text = brief(value)
        if value is True:
            return self(text, "green")
        return self(text, "red") if value is False or value.__class__ is Failure else text


def brief(value: Any, width: int = _VALUE) -> str:
    """One line for a value, whatever its size."""
    if value.__class__ is Failure:
        return f"error: {_cut(safe(value.text), width)}"
    text = safe(plain(encode(value)))
    if len(text) <= width:
        return text
    if isinstance(value, dict):
        # What is short says which one it is; of the rest the names.
        parts = [f"{safe(str(key))}: {_inside(each)}" for key, each in value.items()]
        return _cut(f"{{{', '.join(sorted(parts, key=_ends_open))}}}", width)
    if isinstance(value, list):
        return _cut(f"a list of {len(value)}: {text}", width)
    return _cut(text, width)


def _inside(value: Any) -> str:
    if isinstance(value, dict | list) and value:
        return "{…}" if isinstance(value, dict) else "[…]"
    return safe(plain(encode(value)))


def _ends_open(part: str) -> bool:
    return part.endswith(("{…}", "[…]"))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def lines(step: Step, paint: Paint, indent: int) -> Iterator[str]:
    """The tree of an expression, the whole first."""
    marked = {id(each) for each in deciding(step)} if step.value is False or step.failed else set()
    yield from _lines(step, paint, indent, marked)


def _lines(step: Step, paint: Paint, indent: int, marked: set[int]) -> Iterator[str]:
    head = ">" if id(step) in marked else " "
    text = _cut(safe(unparse(step.node)), _TEXT)
    yield f"{paint(head, 'red')}{'  ' * indent}{text}  =  {paint.value(step.value)}"
    for part in shown(step):
        yield from _lines(part, paint, indent + 1, marked)
    yield from _turns(step, paint, indent + 1, marked)
    for node in step.skipped:
        if not isinstance(node, Literal):
            yield f" {'  ' * indent}  {paint(f'{_cut(safe(unparse(node)), _TEXT)}  not evaluated', 'dim')}"


def _turns(step: Step, paint: Paint, indent: int, marked: set[int]) -> Iterator[str]:
    turns: Sequence[Turn] = deciding_turns(step) or step.turns[:_TURNS]
    for turn in turns:
        names = ", ".join(f"{name} = {brief(value, 60)}" for name, value in turn.names)
        yield f" {'  ' * indent}{paint(f'with {names}:', 'dim')}"
        for part in turn.steps:
            if not part.constant:
                yield from _lines(part, paint, indent + 1, marked)
    left = len(step.turns) - len(turns)
    if left > 0:
        yield f" {'  ' * indent}{paint(f'and {left} more', 'dim')}"


def shown(step: Step) -> Iterator[Step]:
    """The parts that tell more than the whole: no constants, no names, and of `a.b.c` only where it breaks off."""
    for part in step.steps:
        if part.constant or isinstance(part.node, Ident):
            continue
        if _continues(step.node, part.node) and not part.failed:
            yield from shown(part)
            continue
        if isinstance(step.node, Select | Index | Has) and isinstance(part.node, Select | Index) and not part.failed:
            if step.failed or isinstance(step.node, Has):
                # What the missing key was looked for in.
                yield Step(part.node, part.value)
            else:
                yield from shown(part)
            continue
        yield part


def _continues(node: Node, part: Node) -> bool:
    """Whether `part` is the left of a chain such as `a + b + c`, whose operands stand side by side."""
    return isinstance(node, Call) and isinstance(part, Call) and node.function == part.function and node.target is None


def record(step: Step) -> dict[str, Any]:
    """The same as JSON, with values in their tagged form."""
    marked = {id(each) for each in deciding(step)} if step.value is False or step.failed else set()
    return _record(step, marked)


def _record(step: Step, marked: set[int]) -> dict[str, Any]:
    made: dict[str, Any] = {"expression": unparse(step.node)}
    if step.value.__class__ is Failure:
        made["error"] = step.value.text
    else:
        made["value"] = _tagged(step.value)
    if id(step) in marked:
        made["decided"] = True
    if step.variable:
        made["variable"] = step.variable
    if parts := [_record(each, marked) for each in step.steps if not each.constant and not _is_root(each.node)]:
        made["parts"] = parts
    if step.turns:
        made["elements"] = [
            {
                "names": {name: _tagged(value) for name, value in turn.names},
                "parts": [_record(each, marked) for each in turn.steps if not each.constant],
            }
            for turn in step.turns
        ]
    if step.skipped:
        made["notEvaluated"] = list(map(unparse, step.skipped))
    if isinstance(step.node, Fold) and deciding_turns(step):
        made["decidedAt"] = [step.turns.index(turn) for turn in deciding_turns(step)]
    return made


def _is_root(node: Node) -> bool:
    return isinstance(node, Ident)


def _tagged(value: Any) -> dict[str, Any]:
    tagged = encode(value)
    return tagged if len(json.dumps(tagged)) <= _JSON else {"large": brief(value)}
