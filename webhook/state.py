"""Cluster state that a review does not carry: Namespace labels, params.

A read-only snapshot out of files that `kubectl get … -o yaml` writes. What is not in it is unknown, and
nothing is guessed: policies that need it raise `NeedsState`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from webhook.errors import InvalidInput, Problem

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


def snapshot(objects: Iterable[Any], *, taken_at: float, kinds: Iterable[tuple[str, str]] = ()) -> State:
    """A state out of decoded Kubernetes objects (no Lists). Later duplicates win.

    `kinds` are (apiVersion, kind) known in full beside those of the objects: the ones that an empty list names.
    """
    held: dict[Key, Any] = {}
    for each in objects:
        meta = each.get("metadata") or {}
        held[each["apiVersion"], each["kind"], meta.get("namespace") or "", meta["name"]] = each
    canonical = msgspec.json.encode(sorted(held.items(), key=lambda item: item[0]), order="sorted")
    return State(
        objects=held,
        digest=hashlib.sha256(canonical).hexdigest()[:16],
        taken_at=taken_at,
        kinds=frozenset(key[:2] for key in held) | frozenset(kinds),
    )


def read_snapshot(paths: Sequence[Path]) -> State:
    """The snapshot in files that `kubectl get … -o yaml` (or `-o json`) writes: objects, Lists, folders of both.

    It is as old as its oldest file. Raises `InvalidInput` with every problem of every file: half a snapshot would
    claim that objects are absent.
    """
    # Serving starts without a snapshot too, and then needs no YAML reader.
    from webhook import yamlfile

    objects: list[Any] = []
    kinds: set[tuple[str, str]] = set()
    problems: list[Problem] = []
    taken: list[float] = []
    for path in yamlfile.files(paths):
        file = yamlfile.read(path, marks=False)
        problems.extend(file.problems)
        for document in file.documents:
            for value, steps in _members(document.value, kinds):
                if wrong := _not_an_object(value):
                    problems.append(document.problem(steps, wrong))
                else:
                    objects.append(value)
        if not file.problems:
            taken.append(path.stat().st_mtime)
    if problems:
        raise InvalidInput(problems)
    return snapshot(objects, taken_at=min(taken, default=0.0), kinds=kinds)


def is_list(value: Any) -> bool:
    """Whether a value is a list of objects as the API gives it, and not an object whose kind ends in `List`."""
    if not isinstance(value, dict) or not str(value.get("kind", "")).endswith("List"):
        return False
    meta = value.get("metadata")
    return isinstance(value.get("items"), list) and not (isinstance(meta, dict) and meta.get("name"))


def _members(value: Any, kinds: set[tuple[str, str]]) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """The objects of a document with their paths in it; `kinds` gains what a typed list names, empty or not."""
    if value is None:
        return
    if not is_list(value):
        yield value, ()
        return
    of_kind, version = value["kind"].removesuffix("List"), value.get("apiVersion")
    if of_kind and isinstance(version, str):
        kinds.add((version, of_kind))
    for index, item in enumerate(value["items"]):
        # The API leaves kind and version out of the items of a typed list.
        if of_kind and isinstance(item, dict):
            yield {"apiVersion": version, "kind": of_kind, **item}, ("items", index)
        else:
            yield item, ("items", index)


def _not_an_object(value: Any) -> str:
    """Why a value is no stored Kubernetes object; empty when it is one."""
    if not isinstance(value, dict):
        return "expected a Kubernetes object, as `kubectl get -o yaml` writes it"
    meta = value.get("metadata")
    if not isinstance(value.get("apiVersion"), str) or not isinstance(value.get("kind"), str):
        return "expected apiVersion and kind, as every Kubernetes object has"
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        return "expected metadata.name, as every stored object has"
    return "" if isinstance(meta.get("namespace", ""), str | None) else "expected text in metadata.namespace"
