"""Compile-time messages with positions. Texts that more than one stage needs stand here.

Must not know trees or types: a stage says where and what.
"""

from __future__ import annotations

from typing import Final

import msgspec

BEFORE: Final = -2
"""In front of the first character: where the server's parser puts what it had to make up."""


class Diagnostic(msgspec.Struct, frozen=True):
    """`at` is an offset in code points, -1 for a message without a position, or `BEFORE`."""

    at: int
    message: str


MOST: Final = 100
"""Problems that the server tells at most (`cel-go common/errors.go`): those that it finds first."""


class Failed(Exception):
    """A stage cannot go on. Never leaves this package."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = sorted(diagnostics[:MOST], key=lambda diagnostic: diagnostic.at)
        super().__init__(self.diagnostics[0].message)


def unsupported(what: str) -> str:
    """For CEL that the API server knows and this compiler does not yet."""
    return f"{what} is not supported yet"


def position(text: str, at: int) -> tuple[int, int, str]:
    """Line and column (from 1, in code points) of an offset, and that line of the text."""
    if at == BEFORE:
        return 1, 0, text.partition("\n")[0]
    if at < 0:
        return 0, 0, ""
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return text.count("\n", 0, at) + 1, at - start + 1, text[start : len(text) if end < 0 else end]
