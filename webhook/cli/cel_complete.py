"""Tab in the prompt of `cel eval`: commands, files, functions, and the fields of what is bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from glob import escape, glob
from pathlib import Path
from typing import Any, Final

from webhook.cel.overload import Overload
from webhook.cli.cel_session import COMMANDS, INPUTS

DELIMITERS: Final = " \t\n\"'(),=<>!&|+-*/%{};"
"""What ends a word: `object.spec.containers[0].na` is one."""

_MEMBERS: Final = (
    *("all(", "exists(", "exists_one(", "map(", "filter(", "sortBy("),
    *("transformList(", "transformMap(", "transformMapEntry(", "optMap(", "optFlatMap("),
)
_GLOBALS: Final = ("has(", "true", "false", "null")
_STEP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[\??(\d+)\]")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Completer:
    """`readline`'s completer protocol over a session's inputs."""

    def __init__(
        self,
        inputs: Mapping[str, Any],
        functions: Mapping[str, tuple[Overload, ...]],
        line: Callable[[], str],
    ) -> None:
        """`line` gives the line that is being typed, up to its end."""
        self._inputs = inputs
        self._line = line
        self._found: list[str] = []
        names = [name for name in functions if name[0].isalpha() and "@" not in name]
        self._members = sorted(
            {*_MEMBERS, *(f"{name}(" for name in names if any(row.member for row in functions[name]))}
        )
        self._globals = sorted({f"{name}(" for name in names if not all(row.member for row in functions[name])})

    def __call__(self, text: str, state: int) -> str | None:
        """The candidate number `state` for the word `text`."""
        if state == 0:
            self._found = sorted(set(self.candidates(text, self._line())))
        return self._found[state] if state < len(self._found) else None

    def candidates(self, text: str, line: str) -> Iterable[str]:
        if line.lstrip().startswith(":"):
            command, blank, _ = line.lstrip().partition(" ")
            if not blank:
                return [each for each in COMMANDS if each.startswith(text)]
            if command in INPUTS:
                return _files(text)
        base, dot, prefix = text.rpartition(".")
        if not dot:
            words = [*self._globals, *_GLOBALS, *(name for name in INPUTS.values() if name in self._inputs)]
            return [word for word in words if word.startswith(text)]
        question = "?" if prefix.startswith("?") else ""
        prefix = prefix.removeprefix("?")
        fields = [name for name in self._fields(base) if name.startswith(prefix)]
        # A value with fields is hardly asked for functions, of which there are hundreds.
        members = [] if question or fields else [name for name in self._members if name.startswith(prefix)]
        return [f"{base}.{question}{name}" for name in (*fields, *members)]

    def _fields(self, path: str) -> list[str]:
        """The fields that stand at a path of what is bound, as far as a name can say them."""
        value: Any = self._inputs
        for step in path.replace(".?", ".").split("."):
            at = 0
            while at < len(step):
                match = _STEP.match(step, at)
                if match is None:
                    return []
                name, index = match.groups()
                if name is not None:
                    value = value.get(name) if isinstance(value, dict) else None
                else:
                    value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
                at = match.end()
        return [key for key in value if _WORD.match(key)] if isinstance(value, dict) else []


def _files(text: str) -> list[str]:
    found = glob(f"{escape(text)}*")  # noqa: PTH207 - what was typed, not a path that it could be
    return [f"{each}/" if Path(each).is_dir() else each for each in found]
