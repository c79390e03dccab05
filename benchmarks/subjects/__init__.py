"""What is compared. A module a subject, with exactly three names:

* `label`: its row in the table
* `app(clock)`: the ASGI application; instructions are counted with a clock that stands still
* `command(tls)`: the command line of a process that serves it (wall clock)

Timing, load and TLS are not theirs: see `exchange.py`, `process.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, cast

from msgspec import Struct

App = Callable[..., Awaitable[Any]]
Clock = Callable[[], float]

NAMES = ("empty", "codec", "pod_security", "cel", "shipped", "cel_100", "cel_violated")
"""In the order of the table."""
MANY = "cel_1000"
"""Only its memory and start-up are measured."""
SABOTAGED = ("sleepy", "extra_loop")
"""They exist to be caught: the first by the latency gate, the second by the instruction gate."""


class Tls(Struct, frozen=True):
    """Where a process listens, and its certificate."""

    port: int
    certificate: Path
    key: Path


class Subject(Protocol):
    label: str

    def app(self, clock: Clock = ...) -> App: ...
    def command(self, tls: Tls) -> list[str]: ...


def load(name: str) -> Subject:
    """Raises `ModuleNotFoundError` for an unknown name."""
    return cast("Subject", importlib.import_module(f"benchmarks.subjects.{name}"))
