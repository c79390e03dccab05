"""What people are told about the 19 checks: `policies/pod-security/<check id>.yaml`, read and validated as a set.

Knows the files' form; decides nothing about pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

from webhook.errors import InvalidInput, Problem
from webhook.native.pod_security.level import EvaluatedLevel
from webhook.native.pod_security.registry import CHECKS
from webhook.policy import Metadata, Severity

FOLDER = Path(__file__).resolve().parents[2] / "policies" / "pod-security"
PACK = "pod-security"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Spec(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The headings of a check's page; none may be missing or empty."""

    pack: Literal["pod-security"]
    level: EvaluatedLevel
    title: str
    severity: Severity
    default: Literal["on", "off"]
    checks: str
    why: str
    restricted_fields: tuple[str, ...]
    allowed_values: tuple[str, ...]
    versions: dict[str, str]
    """`v1.N` → what holds from this version on; exactly the versions that have a function."""
    remediation: str
    references: tuple[str, ...]
    ticket: str


class Name(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class Page(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One file: a policy whose decision is Python."""

    api_version: Literal["wouldblock.dev/v1"]
    kind: Literal["NativePolicy"]
    metadata: Name
    spec: Spec


@cache
def pages() -> tuple[tuple[Page, Path], ...]:
    """(page, file) of every check in evaluation order. Raises `InvalidInput` with all that is wrong with them."""
    return read(FOLDER)


def catalogue() -> tuple[tuple[str, Metadata, str], ...]:
    """(check id, metadata, file name below `policies`) of every check in evaluation order. Raises as `pages`."""
    return tuple((page.metadata.name, _metadata(page.spec), f"{PACK}/{file.name}") for page, file in pages())


def read(folder: Path) -> tuple[tuple[Page, Path], ...]:
    """`pages` of another folder."""
    found = []
    problems = []
    for check in CHECKS:
        file = folder / f"{check.id}.yaml"
        try:
            page = msgspec.convert(yaml.load(file.read_text(encoding="utf-8"), _Loader), Page)  # noqa: S506 (safe)
        except (OSError, UnicodeError, yaml.YAMLError, msgspec.ValidationError) as error:
            problems.append(Problem(file=str(file), message=str(error), policy=check.id))
            continue
        versions = [f"v1.{minor}" for minor, _ in check.versions]
        faults = [
            *(f"{heading} is empty" for heading in _empty(page.spec)),
            *(
                [f"metadata.name is {page.metadata.name}, expected {check.id}"]
                if page.metadata.name != check.id
                else []
            ),
            *([f"level is {page.spec.level}, expected {check.level}"] if page.spec.level != check.level else []),
            *(
                [f"versions are {[*page.spec.versions]}, expected {versions}"]
                if [*page.spec.versions] != versions
                else []
            ),
        ]
        problems += [Problem(file=str(file), path="spec", message=fault, policy=check.id) for fault in faults]
        found.append((page, file))
    expected = {f"{check.id}{suffix}" for check in CHECKS for suffix in (".yaml", ".cases.yaml")}
    problems += [
        Problem(file=str(file), message="no check has this id: delete the file or rename it")
        for file in sorted(folder.glob("*.yaml"))
        if file.name not in expected
    ]
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def _empty(spec: Spec) -> Iterator[str]:
    return (heading for heading in spec.__struct_fields__ if not getattr(spec, heading))


def _metadata(spec: Spec) -> Metadata:
    return Metadata(
        title=spec.title,
        severity=spec.severity,
        pack=spec.pack,
        remediation=spec.remediation,
        references=spec.references,
        ticket=spec.ticket,
        default=spec.default,
    )
