"""How far the reading of long files is: for people at a terminal, silent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from webhook.audit.render import safe
from webhook.audit.source import expand


class Progress:
    """Bytes, rate and time left on a terminal, twice a second; silent elsewhere."""

    def __init__(self, logs: Sequence[str]) -> None:
        self._shown = sys.stderr.isatty()
        self._total = 0
        if self._shown:
            self._total = sum(
                Path(each).stat().st_size for each in expand(logs) if each != "-" and Path(each).is_file()
            )
        self._start = self._next = time.monotonic()
        self._before = 0
        self._last = ("", 0)
        self._wrote = False

    def __enter__(self) -> Progress:
        return self

    def __call__(self, file: str, done: int) -> None:
        if file != self._last[0]:
            self._before += self._last[1]
        self._last = (file, done)
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + 0.5
        if now - self._start > 1:
            self._wrote = True
            print(
                f"\r\x1b[K{self._line(self._before + done, now - self._start, file)}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def _line(self, done: int, seconds: float, file: str) -> str:
        rate = done / seconds
        line = f"read {done / 1e6:.0f} of {self._total / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s"
        if rate and self._total >= done:
            line += f", {_time((self._total - done) / rate)} left"
        return f"{line}: {safe(file)}" if file else line

    def __exit__(self, *_: object) -> None:
        if self._wrote:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
