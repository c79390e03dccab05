"""Which workload a write belongs to: pods, ReplicaSets and Jobs are reduced to what people deploy.

Knows names only: an owner when one is recorded, and how Kubernetes builds the names of what it creates. Where
neither tells, the workload is unknown, and nothing is guessed.

Sources: `apimachinery util/rand` (SafeEncodeString: hashes use only `4-9bcdf`), `pkg/controller/cronjob` (Job names
end in minutes since the epoch).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from webhook import workload

KINDS = {key: kind for key, kind in workload.KINDS.items() if kind != "PodTemplate"}
"""(group, resource) → kind, as owners are written. Others are called by their resource."""

_HASHED = re.compile(r"(.+)-([4-9bcdf]{1,10})")
_REPLICA = re.compile(r"(.+)-([4-9bcdf]{1,10})-[bcdfghjklmnpqrstvwxz2456789]{5}")
_SCHEDULED = re.compile(r"(.+)-(\d{8,10})")


class Origin(NamedTuple):
    """Where a write comes from. Writes with equal `root` are one workload, with equal `trial` one change of it."""

    root: str
    """`Deployment/web`; empty when nothing tells."""
    trial: str
    """Names one state of the root's template, such as a ReplicaSet's hash; empty when the write is the root's own."""


UNKNOWN = Origin("", "?")


def origin(group: str, resource: str, name: str, owner: str) -> Origin:
    """The origin of a write. `owner` is `Kind/name` of the object's controller, empty when none is known."""
    if owner:
        return _owned(owner, own=f"{resource}/{name}")
    if not name:
        return UNKNOWN
    kind = KINDS.get((group, resource))
    if kind == "Pod" and (match := _REPLICA.fullmatch(name)):
        return Origin(f"Deployment/{match[1]}", match[2])
    if kind == "ReplicaSet" and (match := _HASHED.fullmatch(name)):
        return Origin(f"Deployment/{match[1]}", match[2])
    if kind == "Job" and (match := _SCHEDULED.fullmatch(name)):
        return Origin(f"CronJob/{match[1]}", "template")
    return Origin(f"{kind or (f'{resource}.{group}' if group else resource)}/{name}", "")


def _owned(owner: str, *, own: str) -> Origin:
    kind, _, name = owner.partition("/")
    if kind == "ReplicaSet":
        # The ReplicaSet of a Deployment carries the hash of its template; one that stands alone is its own root.
        match = _HASHED.fullmatch(name)
        return Origin(f"Deployment/{match[1]}", match[2]) if match else Origin(owner, "template")
    if kind == "Job":
        match = _SCHEDULED.fullmatch(name)
        return Origin(f"CronJob/{match[1]}", "template") if match else Origin(owner, "template")
    if kind == "Deployment" and own.startswith("replicasets/"):
        match = _HASHED.fullmatch(own.removeprefix("replicasets/"))
        return Origin(owner, match[2] if match else "template")
    return Origin(owner, "template")
