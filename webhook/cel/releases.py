"""The versions of Kubernetes that are known here. Imports nothing: flags are described with it."""

from __future__ import annotations

from typing import Final

OLDEST: Final = 34
NEWEST: Final = 37
KNOWN: Final = tuple(f"1.{minor}" for minor in range(OLDEST, NEWEST + 1))


def parse_version(text: str) -> int:
    """The minor of `1.N`. Raises `ValueError` for one that is not known."""
    if text not in KNOWN:
        raise ValueError(f"unknown Kubernetes version {text!r}, expected one of {', '.join(KNOWN)}")
    return int(text.partition(".")[2])
