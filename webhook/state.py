"""Cluster state that a review does not carry: Namespace labels, params.

A read-only snapshot out of files that `kubectl get … -o yaml` writes. What is not in it is unknown, and
nothing is guessed: policies that need it raise `NeedsState`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Key = tuple[str, str, str, str]
"""(apiVersion, kind, namespace or '', name)."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. Kinds of which it holds at least one object count as known in full."""

    objects: Mapping[Key, Any] = {}
    digest: str = ""
    """Hex SHA-256 (first 16 characters) of the content; empty for no snapshot."""
    taken_at: float = 0.0
    """Seconds since the epoch of the oldest file; 0.0 for no snapshot."""
    kinds: frozenset[tuple[str, str]] = frozenset()

    def namespace(self, name: str) -> Any | None:
        """The Namespace object, or None when it is not in the snapshot."""
        return self.objects.get(("v1", "Namespace", "", name))

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Any | None:
        return self.objects.get((api_version, kind, namespace, name))

    def knows(self, api_version: str, kind: str) -> bool:
        """Whether absence of an object of this kind means that it does not exist."""
        return (api_version, kind) in self.kinds

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[Any]:
        """Objects of a kind, of one namespace or (None) of all, in key order."""
        return [
            self.objects[key]
            for key in sorted(self.objects)
            if key[:2] == (api_version, kind) and namespace in (None, key[2])
        ]


EMPTY = State()


def snapshot(objects: Iterable[Any], *, taken_at: float) -> State:
    """A state out of decoded Kubernetes objects (no Lists). Later duplicates win."""
    held: dict[Key, Any] = {}
    for each in objects:
        meta = each.get("metadata") or {}
        held[each["apiVersion"], each["kind"], meta.get("namespace") or "", meta["name"]] = each
    canonical = msgspec.json.encode(sorted(held.items(), key=lambda item: item[0]), order="sorted")
    return State(
        objects=held,
        digest=hashlib.sha256(canonical).hexdigest()[:16],
        taken_at=taken_at,
        kinds=frozenset(key[:2] for key in held),
    )
