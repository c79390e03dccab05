"""The files that a user names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from webhook.errors import UserError


def exist(paths: Iterable[Path]) -> None:
    """Raises `UserError` for the first that is not there."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
