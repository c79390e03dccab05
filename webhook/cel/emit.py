"""The writer of one Python module: constants, functions, lines. Knows no CEL.

`Module.constant` and `Module.helper` are the only ways for a value to be named in generated source, and names are made
from numbers: no text of a policy can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Module:
    """A module under construction."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self._constants: dict[Any, str] = {}
        self._helpers: dict[Any, str] = {}
        self._functions: list[list[str]] = []
        self._numbers: dict[str, int] = {}

    def name(self, prefix: str) -> str:
        """A new name. Takes no text from outside."""
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        return f"{prefix}{number}"

    def constant(self, value: Any) -> str:
        """The name of a constant in the pool."""
        key = (value.__class__, value) if value.__class__ in (str, bytes, int, float) else id(value)
        # 0.0 and -0.0 are equal, and NaN is not: keep doubles apart by identity.
        if value.__class__ is float:
            key = id(value)
        name = self._constants.get(key)
        if name is None:
            name = self._constants[key] = self.name("k")
            self.namespace[name] = value
        return name

    def helper(self, call: Callable[..., Any]) -> str:
        """The name under which generated code calls one of our own functions."""
        name = self._helpers.get(call)
        if name is None:
            name = getattr(call, "__name__", "call")
            if not name.isidentifier() or name in self.namespace:
                name = self.name("call_")
            self._helpers[call] = name
            self.namespace[name] = call
        return name

    def function(self, lines: list[str]) -> None:
        self._functions.append(lines)

    def source(self) -> str:
        return "\n\n".join("\n".join(lines) for lines in self._functions) + "\n"


class Writer:
    """The lines of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = 1
        self.temporaries = 0

    def line(self, text: str) -> None:
        self.lines.append(f"{'    ' * self.indent}{text}")

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """A compound statement: generator and output have the same shape."""
        self.line(header)
        self.indent += 1
        yield
        self.indent -= 1

    def temporary(self, prefix: str = "t") -> str:
        self.temporaries += 1
        return f"{prefix}{self.temporaries}"

    def insert(self, position: int, text: str) -> None:
        """A line at an earlier position of the block that is being written."""
        self.lines.insert(position, f"{'    ' * self.indent}{text}")
