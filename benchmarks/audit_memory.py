"""How much memory a process and all that it starts take together, at most."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

_EVERY = 0.03
"""Seconds between two looks."""


class Peak:
    """Looks until `end`. What processes share counts once (PSS)."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        """10⁶ bytes."""
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            self.megabytes = max(self.megabytes, _of(self._pid) / 1000)


def _of(pid: int) -> float:
    """KB (10³ bytes) of the process and those below it; 0 once they are gone."""
    found = 0.0
    with contextlib.suppress(OSError):
        process = Path(f"/proc/{pid}")
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) * 1.024
        for task in (process / "task").iterdir():
            found += sum(_of(int(child)) for child in (task / "children").read_text().split())
    return found
