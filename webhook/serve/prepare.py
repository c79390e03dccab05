"""A thread beside the first reviews: it makes what they would otherwise wait for.

Readiness does not wait for it either: a review that comes first makes what it needs itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Final

from webhook.policy import Policy

_PAUSE: Final = 4.0
"""Times as long as a policy took: the interpreter belongs to the reviews."""


class Preparation:
    """Prepares policies one after the other until it is done or closed."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies = tuple(policy for policy in policies if policy.prepare is not None)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prepare", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends it after the policy at hand."""
        self._closed.set()

    def _run(self) -> None:
        for policy in self._policies:
            began = time.perf_counter()
            assert policy.prepare is not None  # noqa: S101 - only such policies are taken
            with contextlib.suppress(Exception):  # the review that needs it says what is wrong
                policy.prepare()
            if self._closed.wait(_PAUSE * (time.perf_counter() - began)):
                return
