"""Levels and versions of the Pod Security Standards, and which of them a namespace asks for.

Source: `k8s.io/pod-security-admission api/helpers.go`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Level = Literal["privileged", "baseline", "restricted"]
EvaluatedLevel = Literal["baseline", "restricted"]

LEVELS: tuple[Level, ...] = ("privileged", "baseline", "restricted")
"""From the loosest to the strictest."""

LATEST = "latest"
NEWEST_MINOR = 37
"""The newest minor version whose rules are known here; newer ones evaluate as this one."""

LABEL = "pod-security.kubernetes.io/"

_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,17})")


class Standard(Struct, frozen=True):
    """A level at a version, as texts show it."""

    level: Level
    version: str
    """`latest` or `v1.N`."""

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def parse_level(text: Any) -> Level | None:
    return next((level for level in LEVELS if level == text), None)


def parse_version(text: Any) -> str | None:
    """The version if it is one, `latest` or `v1.N`; else None."""
    if text == LATEST or (isinstance(text, str) and _VERSION.fullmatch(text)):
        return str(text)
    return None


def minor(version: str, newest: int) -> int:
    """Whose rules a version means on a server that knows no rules newer than v1.`newest`."""
    newest = min(newest, NEWEST_MINOR)
    return newest if version == LATEST else min(int(version.removeprefix("v1.")), newest)


def in_force(labels: Mapping[str, Any], default: Standard) -> tuple[Standard, bool]:
    """What warnings in a namespace with these labels are about, and whether a label had a say in it.

    A `warn` level decides with its own version, as in the API server. Without one, an `enforce` level
    that is stricter than the default takes its place. Without either the default level stays, at the version
    that some label pins. A level that cannot be read is `privileged`, such a version `latest`.
    """
    warn, enforce = labels.get(LABEL + "warn"), parse_level(labels.get(LABEL + "enforce"))
    if warn is not None:
        level: Level = parse_level(warn) or "privileged"
        versions: tuple[str, ...] = ("warn",)
    elif enforce is not None and LEVELS.index(enforce) > LEVELS.index(default.level):
        level, versions = enforce, ("warn", "enforce")
    else:
        level, versions = default.level, ("warn", "audit", "enforce")
    pinned = next((value for mode in versions if (value := labels.get(f"{LABEL}{mode}-version")) is not None), None)
    version = default.version if pinned is None else parse_version(pinned) or LATEST
    labelled = warn is not None or level != default.level or pinned is not None
    return Standard(level, version), labelled
