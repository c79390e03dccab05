"""All implementations of CEL on the same hundred questions: a process each, turn by turn, equal answers first.

Ratios are of one round each, in which every subject had its turn within the same seconds: the machine's moods are in
both numbers. Times are CPU seconds: of the thread that evaluates, for cel-go of its process, whose garbage
collector runs beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.cel_engines import ENGINES, OWN
from benchmarks.cel_expressions import pairs
from benchmarks.host import ROOT

FOREIGN = ROOT / ".venv-bench" / "bin" / "python"
"""Made by `make bench-cel`."""
ROUNDS = 5
SECONDS = 0.2
SLOW = 1.0
"""An engine that needs more for once is asked in one round only."""
_TAKES = {"cpp", "rust", "celpy", "go"}
"""Those that make something of their own out of an object."""


class Times(Struct):
    """Of one subject and one object, a number a round, in seconds."""

    ask: list[float] = []
    take: list[float] = []
    idle: list[float] = []
    """A hundred calls that evaluate nothing, where a binding's calls are shown apart."""


class Race(Struct):
    """`times` by subject and size; `absent`: why a subject did not run."""

    sizes: tuple[str, ...]
    times: dict[str, dict[str, Times]] = {}
    absent: dict[str, str] = {}
    failing: int = 0
    """Of the hundred, how many are false on the middle object."""

    def ratio(self, subject: str, size: str, *, to: str = "hand") -> float:
        """How much longer than another, in the median round."""
        pairs_ = zip(self.times[subject][size].ask, self.times[to][size].ask, strict=False)
        return statistics.median(one / other for one, other in pairs_)

    def seconds(self, subject: str, size: str) -> float:
        return min(self.times[subject][size].ask)

    def taking(self, subject: str, size: str) -> float | None:
        taken = self.times[subject][size].take
        return min(taken) if taken and subject in _TAKES else None


class _Worker:
    def __init__(self, name: str, objects: Path) -> None:
        python = sys.executable if name in OWN else str(FOREIGN)
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.cel_worker", name, str(objects)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        first = self._read()
        if "failed" in first:
            self.close()
            raise RuntimeError(first["failed"])
        self.answers: dict[str, list[object]] = first["answers"]

    def measure(self, size: str, seconds: float) -> tuple[float, float, float | None]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"size": size, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        said = self._read()
        return said["ask"], said["take"], said["idle"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the subject ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class _Go:
    """cel-go, through the end-to-end tests' oracle."""

    def __init__(self, objects: dict[str, Any]) -> None:
        from tests.e2e.oracle.process import Oracle
        from tests.e2e.plane.binaries import NoControlPlane, find

        try:
            self._oracle = Oracle(find(print, build=False))
        except NoControlPlane as error:
            raise RuntimeError(str(error)) from None
        self._objects = objects
        self._repeat = dict.fromkeys(objects, 10)
        try:
            self.answers = {size: self._ask(size, 1)["values"] for size in objects}
        except BaseException:
            self._oracle.close()
            raise

    def _ask(self, size: str, repeat: int) -> dict[str, Any]:
        question = {"expressions": [each.cel for each in pairs()], "object": self._objects[size], "repeat": repeat}
        (answer,) = self._oracle.ask([question])
        if "values" not in answer:
            raise RuntimeError(f"cel-go: {answer}")
        return answer

    def measure(self, size: str, seconds: float) -> tuple[float, float, None]:
        answer = self._ask(size, self._repeat[size])
        once = answer["nanoseconds"] / 1e9
        if once * self._repeat[size] < seconds / 2:
            self._repeat[size] = max(1, int(seconds / once))
            return self.measure(size, seconds)
        return once, answer["decoding_nanoseconds"] / 1e9, None

    def close(self) -> None:
        self._oracle.close()


def race(objects: dict[str, Any], file: Path, names: Sequence[str], *, rounds: int = ROUNDS) -> Race:
    """Asks everybody. `file` holds `objects`. Raises `RuntimeError` when a subject answers otherwise than the hand."""
    found = Race(tuple(objects))
    with contextlib.ExitStack() as stack:
        workers = dict(_started(objects, file, names, found, stack))
        right = workers["hand"].answers
        found.failing = sum(each is not True for each in right[found.sizes[1]])
        for name, worker in workers.items():
            for size in found.sizes:
                wrong = [i for i, each in enumerate(worker.answers[size]) if each is not right[size][i]]
                if wrong or len(worker.answers[size]) != len(right[size]):
                    raise RuntimeError(
                        f"{name}, {size}: answers question {wrong[:5]} otherwise: {pairs()[wrong[0]].cel}"
                    )
            found.times[name] = {size: Times() for size in found.sizes}
        for number in range(rounds):
            for size in found.sizes:
                for name, worker in workers.items():
                    times = found.times[name][size]
                    if number and times.ask[0] > SLOW:
                        continue
                    ask, take, idle = worker.measure(size, SECONDS)
                    times.ask.append(ask)
                    times.take.append(take)
                    if idle is not None:
                        times.idle.append(idle)
    return found


def _started(
    objects: dict[str, Any], file: Path, names: Sequence[str], found: Race, stack: contextlib.ExitStack
) -> Iterator[tuple[str, _Worker | _Go]]:
    for name in names:
        if name not in OWN and name != "go" and not FOREIGN.is_file():
            found.absent[name] = "not installed: make bench-cel"
            continue
        try:
            worker: _Worker | _Go = _Go(objects) if name == "go" else _Worker(name, file)
        except RuntimeError as error:
            if name in OWN:
                raise
            found.absent[name] = str(error)
            continue
        stack.callback(worker.close)
        yield name, worker


SUBJECTS = (*ENGINES, "go")
