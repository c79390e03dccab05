"""Why Pod Security says this of this request: the checks that fail, and the fields that they look at.

The fields are those of the check's page (`policies/pod-security/<id>.yaml`), with what stands there in this object.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from webhook.native.pod_security.catalogue import Page, pages
from webhook.native.pod_security.check import Function
from webhook.native.pod_security.level import NEWEST_MINOR, minor
from webhook.native.pod_security.registry import RUNS
from webhook.policy import Context, Policy
from webhook.review import Request
from webhook.state import State
from webhook.workload import CONTAINER_LISTS, TEMPLATE_PATH, Container, Pod, items, mapping, pod, template

_PREFIX: Final = "pod-security-"
_SAID: Final = re.compile(r'PodSecurity "(baseline|restricted):([^"]+)"')
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")
_WIDTH: Final = 120
_ABSENT: Final = "absent"


class Field(msgspec.Struct, frozen=True):
    """One place that a check looks at."""

    path: str
    value: str
    """As JSON; `absent` where nothing stands."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check that fails."""

    id: str
    title: str
    said: str
    fields: tuple[Field, ...]
    allowed: tuple[str, ...]
    remediation: str


class NativeExplanation(msgspec.Struct, frozen=True, kw_only=True):
    policy: str
    unmatched: str = ""
    message: str = ""
    """What Pod Security says; empty for a pass."""
    checks: tuple[Check, ...] = ()


def is_native(id: str) -> bool:
    return id.startswith(_PREFIX)


def explain_native(policy: Policy, request: Request, *, state: State) -> NativeExplanation:
    """Why `policy`, one of Pod Security's, says what it says."""
    context = Context(request, state=state, clock=time.monotonic, deadline=time.monotonic() + 60)
    verdict = policy.run(context)
    holder = template(context.object, request.kind.kind)
    if verdict is None or holder is None:
        reason = "Pod Security does not look at this kind, operation or subresource, or it is exempt"
        return NativeExplanation(policy=policy.id, unmatched=reason)
    if not verdict.findings:
        return NativeExplanation(policy=policy.id)
    (finding,) = verdict.findings
    said = _SAID.search(finding.message)
    assert said is not None  # noqa: S101 - the text is Pod Security's own
    level: Any = said[1]
    taken = pod(holder)
    described = {page.metadata.name: page for page, _ in pages()}
    checks = [
        _check(described[check], function, taken, holder, request.kind.kind)
        for check, function, _ in RUNS[level, minor(said[2], NEWEST_MINOR)]
        if check in finding.keys
    ]
    return NativeExplanation(policy=policy.id, message=finding.message, checks=tuple(checks))


def _check(page: Page, function: Function, taken: Pod, holder: Mapping[str, Any], kind: str) -> Check:
    spec = page.spec
    return Check(
        id=page.metadata.name,
        title=spec.title,
        said=str(function(taken)),
        fields=tuple(_fields(spec.restricted_fields, _culprits(function, taken), holder, kind)),
        allowed=spec.allowed_values,
        remediation=spec.remediation,
    )


def _culprits(function: Function, taken: Pod) -> list[Container]:
    """The containers without which the pod would pass; none where the pod itself fails."""
    if function(msgspec.structs.replace(taken, containers=())) is not None:
        return []
    return [
        each for each in taken.containers if function(msgspec.structs.replace(taken, containers=(each,))) is not None
    ]


def _fields(paths: Sequence[str], culprits: list[Container], holder: Mapping[str, Any], kind: str) -> Iterator[Field]:
    """What stands in the fields of the culprits and of the pod; where a culprit has none of them, that."""
    prefix = "".join(f"{step}." for step in TEMPLATE_PATH[kind])
    found: list[Field] = []
    absent: list[Field] = []
    bodies = [each.body for each in culprits]
    for path in paths:
        owner = next((each for each in CONTAINER_LISTS if path.startswith(f"spec.{each}[*].")), "")
        if not owner:
            places = list(_walk(holder, path, ""))
            found += [Field(prefix + where, _shown(value)) for where, value in places]
            if not places:
                absent.append(Field(prefix + path, _ABSENT))
            continue
        inner = path.removeprefix(f"spec.{owner}[*].")
        for number, each in enumerate(items(mapping(holder.get("spec")).get(owner))):
            body = mapping(each)
            if not any(body is culprit for culprit in bodies):
                continue
            start = f"{prefix}spec.{owner}[{body.get('name', number)}]."
            places = list(_walk(body, inner, ""))
            found += [Field(start + where, _shown(value)) for where, value in places]
            if not places:
                absent.append(Field(start + inner, _ABSENT))
    named = {each.path.partition("]")[0] for each in found}
    yield from found
    yield from (each for each in absent if not found or ("[" in each.path and each.path.partition("]")[0] not in named))


def _walk(value: Any, path: str, done: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of all that stands at a path, `[*]` for every element of a list."""
    step = _STEP.match(path.lstrip("."))
    if step is None:
        yield done, value
        return
    rest = path.lstrip(".")[step.end() :]
    name, bracket = step.groups()
    if bracket == "*":
        for number, each in enumerate(items(value)):
            yield from _walk(each, rest, f"{done}[{mapping(each).get('name', number)}]")
        return
    held = mapping(value)
    wanted = name if name is not None else bracket.strip("\"'")
    prefix = wanted.removesuffix("*")
    for key in (each for each in held if each == wanted or (wanted != prefix and each.startswith(prefix))):
        shown = f"{done}.{key}" if done and name is not None else f"{done}[{key}]" if name is None else key
        yield from _walk(held[key], rest, shown)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
