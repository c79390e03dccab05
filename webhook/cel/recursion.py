"""Room for the compiler's stages to recurse as deep as the API server's limits on expressions allow."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_FRAMES: Final = 8_000
"""250 levels of each of the grammar's rules come to some 4,000 frames."""

_lock = threading.Lock()
_inside = 0
_before = 0


@contextmanager
def room() -> Iterator[None]:
    """Raises Python's recursion limit while any thread is inside.

    The stages call themselves from Python alone, never by way of C (`map`, `tuple(generator)`), so that deep recursion
    takes heap and no stack. What is deeper still ends in a `RecursionError`, which `unit` reports as a compile error.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_before, _FRAMES))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sys.setrecursionlimit(_before)
