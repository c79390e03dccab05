"""How far the reading of long files is: for people at a terminal, silent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from webhook.audit.render import safe
from webhook.audit.source import expand


class Progress:
    """Bytes and rate on a terminal, twice a second; silent elsewhere."""

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
            read_, rate = self._before + done, (self._before + done) / (now - self._start)
            print(
                f"\r\x1b[Kread {read_ / 1e6:.0f} of {self._total / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s: {safe(file)}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(self, *_: object) -> None:
        if self._wrote:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
