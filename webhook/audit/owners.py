"""Whose is it? Namespace and workload → the team that owns it, and how that is known.

Three sources, the first that has an answer: a map file (`--owners FILE`), the Namespace's labels, the Namespace's
annotations, both from a snapshot. Where none has one, nobody is named: an owner is never guessed.

The file is one YAML document. Entries are tried from the last to the first, as in a CODEOWNERS file, so what is
special stands below what is general; `owner: ""` says that nobody owns it. Patterns are shell patterns (`*`, `?`,
`[ab]`) over the whole name:

    owners:
    - namespaces: ["*"]
      owner: platform
    - namespaces: [shop, shop-*]
      owner: team-shop
    - namespaces: [shop]
      workloads: [Deployment/search-*, CronJob/*]
      clusters: [prod-*]
      owner: team-search

Knows nothing of facts, tickets and figures.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from webhook import yamlfile
from webhook.errors import InvalidInput, Problem
from webhook.state import EMPTY, State
from webhook.yamlfile import Document, Steps

KEYS = ("wouldblock.dev/owner", "team", "owner")
"""Labels and annotations of a Namespace that name its owner, the first that is there."""


class Owner(Struct, frozen=True):
    name: str
    """Empty when nobody is known, or when the map file says that nobody is."""
    source: str
    """How it is known, for people: `owners.yaml:4`, `label team`, `annotation owner`; empty when it is not."""


UNKNOWN = Owner("", "")


class Entry(Struct, frozen=True, kw_only=True):
    """One entry of the map file. Empty lists match anything."""

    namespaces: tuple[str, ...]
    workloads: tuple[str, ...] = ()
    """`Kind/name`."""
    clusters: tuple[str, ...] = ()
    owner: str
    source: str = ""


class Owners:
    """Answers who owns something; remembers what was asked."""

    def __init__(self, entries: Sequence[Entry] = (), *, state: State = EMPTY, keys: Sequence[str] = KEYS) -> None:
        self._rules = [_Rule(each) for each in reversed(entries)]
        self._state = state
        self._keys = tuple(keys)
        self._of_namespace: dict[str, Owner] = {}
        self._known: dict[tuple[str, str, str], Owner] = {}

    def of(self, namespace: str, workload: str = "", *, cluster: str = "") -> Owner:
        """`workload` is `Kind/name`, empty for a whole namespace; `namespace` is empty for what is cluster-scoped."""
        key = cluster, namespace, workload
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(namespace, workload, cluster)
        return found

    def _find(self, namespace: str, workload: str, cluster: str) -> Owner:
        for rule in self._rules:
            if rule.matches(namespace, workload, cluster):
                return rule.owner
        if namespace not in self._of_namespace:
            self._of_namespace[namespace] = self._marked(namespace)
        return self._of_namespace[namespace]

    def _marked(self, namespace: str) -> Owner:
        stored = self._state.namespace(namespace) if namespace else None
        meta = (stored or {}).get("metadata") or {}
        for kind in ("label", "annotation"):
            values = meta.get(f"{kind}s") or {}
            for key in self._keys:
                value = values.get(key)
                if isinstance(value, str) and value.strip():
                    return Owner(value.strip(), f"{kind} {key}")
        return UNKNOWN


class _Rule:
    __slots__ = ("_clusters", "_namespaces", "_workloads", "owner")

    def __init__(self, entry: Entry) -> None:
        self._namespaces = _pattern(entry.namespaces)
        self._workloads = _pattern(entry.workloads)
        self._clusters = _pattern(entry.clusters)
        self.owner = Owner(entry.owner, entry.source)

    def matches(self, namespace: str, workload: str, cluster: str) -> bool:
        return all(
            pattern is None or pattern.fullmatch(text) is not None
            for pattern, text in (
                (self._namespaces, namespace),
                (self._workloads, workload),
                (self._clusters, cluster),
            )
        )


def _pattern(globs: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, globs))) if globs else None


def read_owners(path: Path) -> tuple[Entry, ...]:
    """The entries of a map file in its order. Raises `InvalidInput` with everything that is wrong, by line."""
    file = yamlfile.read(path)
    problems = list(file.problems)
    entries: list[Entry] = []
    documents = [each for each in file.documents if each.value is not None]
    if not problems and len(documents) != 1:
        text = f"expected one YAML document with a list `owners`, found {len(documents)}"
        problems.append(Problem(file=file.name, message=text))
    for document in documents if not problems else ():
        for found in _entries(document):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                entries.append(found)
    if problems:
        raise InvalidInput(problems)
    return tuple(entries)


_LISTS = ("namespaces", "workloads", "clusters")
_FIELDS = (*_LISTS, "owner")


def _entries(document: Document) -> Iterator[Entry | Problem]:
    value = document.value
    listed = value.get("owners") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        yield document.problem(
            (), "expected a mapping with a list `owners`: {owners: [{namespaces: [shop], owner: …}]}"
        )
        return
    for key in value:
        if key != "owners":
            yield document.problem((key,), "unknown field; expected `owners` and nothing else")
    last: dict[tuple[Any, ...], int] = {}
    good: list[tuple[int, Entry]] = []
    for index, each in enumerate(listed):
        steps: Steps = ("owners", index)
        wrong = list(_mistakes(document, steps, each))
        yield from wrong
        if wrong:
            continue
        entry = Entry(
            **{key: tuple(each.get(key) or ()) for key in _LISTS},
            owner=each["owner"].strip(),
            source=f"{Path(document.file).name}:{document.at(steps).line}",
        )
        last[_about(entry)] = index
        good.append((index, entry))
    for index, entry in good:
        winner = last[_about(entry)]
        if winner == index:
            yield entry
        else:
            line = document.at(("owners", winner)).line
            yield document.problem(("owners", index), f"never applies: line {line} has the same patterns and wins")


def _about(entry: Entry) -> tuple[Any, ...]:
    return tuple(frozenset(getattr(entry, key)) for key in _LISTS)


def _mistakes(document: Document, steps: Steps, value: Any) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield document.problem(steps, "expected an entry such as {namespaces: [shop, shop-*], owner: team-shop}")
        return
    for key in value:
        if key not in _FIELDS:
            yield document.problem((*steps, key), f"unknown field; expected {', '.join(_FIELDS)}")
    if not isinstance(value.get("owner"), str):
        what = '`owner: ""` says that nobody owns it'
        yield document.problem((*steps, "owner") if "owner" in value else steps, f"expected text in `owner`; {what}")
    if not value.get("namespaces"):
        yield document.problem(steps, 'expected `namespaces`, a list of patterns; ["*"] for all of them')
    for key in _LISTS:
        patterns = value.get(key)
        if patterns is None:
            continue
        if not isinstance(patterns, list):
            yield document.problem((*steps, key), f"expected a list of patterns in `{key}`")
            continue
        for number, pattern in enumerate(patterns):
            if not isinstance(pattern, str):
                yield document.problem((*steps, key, number), "expected text")
            elif key == "workloads" and "/" not in pattern and pattern != "*":
                yield document.problem((*steps, key, number), "expected Kind/name, such as Deployment/web or */web")
