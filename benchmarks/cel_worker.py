"""One engine in a process of its own: `python -m benchmarks.cel_worker ENGINE OBJECTS`, driven by `cel.py`.

A line of JSON a question. First it says what the engine answers for each object, or why it cannot; then, for each
`{"size", "seconds"}`, how long taking the object and asking all hundred took, as CPU seconds of this thread.

With `count SIZE…` instead it is what callgrind looks at: for each object a child that asks few times, and one that asks
many times (`cel_counts.py`).
"""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cel_engines import ENGINES, Engine, answers, read_objects

FEW, MANY = 2, 12
_WARM = 3


def main(name: str, objects: dict[str, Any]) -> None:
    began = time.perf_counter()
    try:
        engine = ENGINES[name]()
        taken = {size: engine.take(value) for size, value in objects.items()}
        made = time.perf_counter() - began
        first = {"answers": {size: answers(engine, each) for size, each in taken.items()}, "made": made}
    except Exception as error:
        _say({"failed": f"{type(error).__name__}: {error}"})
        return
    gc.collect()
    gc.freeze()
    _say(first)
    idle = getattr(engine, "idle", None)
    for line in sys.stdin:
        asked = json.loads(line)
        value, each, seconds = objects[asked["size"]], taken[asked["size"]], asked["seconds"]
        _say(
            {
                "take": _time(functools.partial(engine.take, value), seconds / 4),
                "ask": _time(functools.partial(engine.ask, each), seconds),
                "idle": _time(functools.partial(idle, each), seconds / 4) if idle is not None else None,
            }
        )


def _time(work: Callable[[], object], seconds: float) -> float:
    """CPU seconds for once."""
    times, spent = 1, 0.0
    while True:
        began = time.thread_time()
        for _ in range(times):
            work()
        spent = time.thread_time() - began
        if spent >= seconds / 2:
            return spent / times
        times = max(times + 1, min(times * 100, int(times * seconds / max(spent, 1e-6))))


def count(name: str, objects: dict[str, Any]) -> None:
    """Under callgrind. Prints a line a child: size, number, process id."""
    engine = ENGINES[name]()
    for size, value in objects.items():
        taken = engine.take(value)
        for _ in range(_WARM):
            engine.ask(taken)
        gc.collect()
        gc.freeze()
        gc.disable()
        for number in (FEW, MANY):
            _say([size, number, _child(engine, taken, number)])


def _child(engine: Engine, taken: Any, number: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for _ in range(number):
                engine.ask(taken)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("a child failed")
    return child


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    held = read_objects(Path(sys.argv[2]))
    if sys.argv[3:4] == ["count"]:
        count(sys.argv[1], held)
    else:
        main(sys.argv[1], held)
