"""Certificate files that change are taken up by new handshakes; open connections go on. Knows files and clocks only.

Looked at by stat, once a second: a mounted Secret changes by a link that is swapped, which no watch of the file sees.
A pair that cannot be used leaves the old one in place, and is logged and counted once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from webhook.errors import UserError
from webhook.serve import tls
from webhook.serve.metrics import Cells

SECONDS = 1.0

_Stamp = tuple[int, int, int]
"""Time of change, size and inode of a file; zeros while there is none."""


class Certificates:
    """The serving certificate of one context."""

    def __init__(
        self, context: ssl.SSLContext, certificate: Path, key: Path, *, cells: Cells, log: Callable[..., None]
    ) -> None:
        """The files are those that `context` was made from. Raises `OSError`."""
        self._context = context
        self._certificate = certificate
        self._key = key
        self._cells = cells
        self._log = log
        self._seen = self._signature()
        self._note(tls.read_pair(certificate, key))

    def check(self) -> bool:
        """Takes up what has changed; whether something was taken up. Raises nothing."""
        seen = self._signature()
        if seen == self._seen:
            return False
        try:
            pair = tls.read_pair(self._certificate, self._key)
            tls.load(self._context, pair, where=f"{self._certificate}, {self._key}")
        except (UserError, OSError) as error:
            # Files written one after the other disagree for a moment: the next look sees another signature.
            self._seen = seen
            self._cells.certificate_failures += 1
            self._log("certificate_unusable", level="error", problem=str(error))
            return False
        self._seen = seen
        self._cells.certificate_reloads += 1
        self._note(pair)
        self._log("certificate_reloaded", not_after=self._cells.certificate_not_after)
        return True

    async def watch(self) -> None:
        """Looks for ever."""
        while True:
            await asyncio.sleep(SECONDS)
            self.check()

    def _signature(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key))

    def _note(self, pair: tls.Pair) -> None:
        try:
            self._cells.certificate_not_after = tls.not_after(pair)
        except ValueError:
            self._cells.certificate_not_after = 0.0


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
