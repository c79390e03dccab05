"""Paths into JSON values: who asks for what of an object (`webhook.cel.reads`), and what of it is decoded (`view`)."""

from __future__ import annotations

from enum import Enum


class Below(Enum):
    """Steps of a path that are no names of fields."""

    ELEMENT = 0
    """Each element of a list. Of a map, all of it."""
    PRESENCE = 1
    """Whether the value is there, of which type it is, and of a list how long: always the last step."""


Path = tuple[str | Below, ...]
"""From the object downwards. It ends where all below is asked for."""
