"""The writer of one Python module: constants, functions, lines. Knows no CEL.

`Module.constant` and `Module.helper` are the only ways for a value to be named in generated source, and names are made
from numbers: no text of a policy can reach it.

Whatever a function names of its module is a parameter of it with a default, so that functions that differ in nothing
but constants are the same text, and share their code.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

COMMON: Final[dict[str, Any]] = {"__builtins__": builtins}
"""What is called the same in all modules, by name: helpers that are functions or classes of our own modules."""

_PACKAGE: Final = __name__.rpartition(".")[0]
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


class Module:
    """A module under construction."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        """Constants, and helpers that are not in `COMMON`, by name."""
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
            # As the keys of decoded objects are (`view.py`): who is the same need not be compared.
            self.namespace[name] = sys.intern(value) if value.__class__ is str else value
        return name

    def helper(self, call: Callable[..., Any]) -> str:
        """The name under which generated code calls one of our own functions."""
        name = self._helpers.get(call)
        if name is None:
            name = _common(call)
            if not name:
                name = self.name("call_")
                self.namespace[name] = call
            self._helpers[call] = name
        return name

    def function(self, lines: list[str]) -> None:
        """Its first line is its head."""
        self._functions.append(lines)

    def functions(self) -> dict[str, str]:
        """Name → source; who is called stands before who calls."""
        found: dict[str, str] = {}
        for head, *lines in self._functions:
            body = "\n".join([*lines, ""])
            name, parameters = head[len("def ") : -len("):")].split("(")
            needed = [each for each in dict.fromkeys(_NAME.findall(body)) if each in self.namespace or each in found]
            bound = ", ".join([parameters, *(f"{each}={each}" for each in needed)])
            found[name] = f"def {name}({bound}):\n{body}"
        return found


def _common(call: Callable[..., Any]) -> str:
    """The name that a helper has in all modules, whichever was written first; empty for what was made for one."""
    name: str = getattr(call, "__qualname__", "")
    if getattr(sys.modules.get(call.__module__), name, None) is not call:
        return ""
    package, _, module = call.__module__.rpartition(".")
    if package != _PACKAGE or hasattr(builtins, name):
        name = f"{module}_{name}"  # several libraries have an `add` of their own
    return name if COMMON.setdefault(name, call) is call else ""


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
