"""What a Pod Security check is: an id, a level, and one function for each version that changed it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from webhook.native.pod_security.level import EvaluatedLevel
from webhook.workload import Pod


class Violation(Struct, frozen=True, gc=False):
    """Why a pod fails a check. The reason is stable, the detail names containers and values."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Function = Callable[[Pod], Violation | None]


class Check(Struct, frozen=True, kw_only=True):
    """One check of the Pod Security Standards, under the id that Kubernetes gives it."""

    id: str
    level: EvaluatedLevel
    versions: tuple[tuple[int, Function], ...]
    """(minor version from which it holds, function), rising; the newest that is not too new runs."""
    overrides: tuple[str, ...] = ()
    """Baseline checks that `restricted` leaves out wherever this one runs."""
