"""From a review to the verdict of a level: what Pod Security looks at, whom it lets pass, which standard holds.

Knows reviews and namespaces' labels; the checks know pods only.
Source: `k8s.io/pod-security-admission admission/admission.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from webhook.native.pod_security.evaluate import Failures, Results, evaluate, message
from webhook.native.pod_security.level import LATEST, NEWEST_MINOR, EvaluatedLevel, Level, Standard, in_force, minor
from webhook.native.pod_security.screen import suspects
from webhook.policy import PASS, Context, Finding, Severity, Verdict
from webhook.review import Request
from webhook.workload import CONTAINER_LISTS, KINDS, Pod, annotations_of, items, mapping, pod, template, text

RESOURCES = KINDS
"""(group, resource) that Pod Security evaluates → kind. Subresources of controllers are not looked at."""

POD_SUBRESOURCES = ("ephemeralcontainers", "resize")
"""Subresources of pods that it evaluates; not: exec, attach, binding, eviction, log, portforward, proxy, status."""


class PodSecurityConfig(Struct, frozen=True, kw_only=True):
    """How the pack is set up; the same words as Pod Security admission's own configuration file."""

    level: Level = "restricted"
    """Whose warnings are shown in namespaces that have no labels, or whose labels are unknown."""
    version: str = LATEST
    """`latest` or `v1.N`."""
    exempt_usernames: tuple[str, ...] = ()
    exempt_namespaces: tuple[str, ...] = ()
    exempt_runtime_classes: tuple[str, ...] = ()
    server_minor: int = NEWEST_MINOR
    """N of the API server's version 1.N: it knows no rules newer than itself."""


class Case(Struct, kw_only=True):
    """One review as both levels see it."""

    holder: Mapping[str, Any]
    """What holds the pod's `metadata` and `spec`."""
    suspects: int
    """The checks that it may fail (`screen.BITS`)."""
    standard: Standard
    """The level whose findings are shown, and the version at which both levels are evaluated."""
    origin: Literal["label", "config"]
    results: Results
    taken_apart: Pod | None = None

    def pod(self) -> Pod:
        """For the checks that have to look; most reviews need none."""
        if self.taken_apart is None:
            self.taken_apart = pod(self.holder)
        return self.taken_apart


_CASE = object()


def verdict(
    context: Context, level: EvaluatedLevel, policy: str, config: PodSecurityConfig, severities: Mapping[str, Severity]
) -> Verdict | None:
    """What a level says of a review; None where Pod Security would not look.

    Only findings of the level in force are for the person at the keyboard, so that a review has one warning
    of Pod Security at most, the one that the API server gives. May raise `DeadlineExceeded`.
    """
    if _CASE in context.memo:
        case: Case | None = context.memo[_CASE]
    else:
        case = context.memo[_CASE] = _case(context, config)
    if case is None:
        return None
    standard = case.standard
    failures: Failures = ()
    if case.suspects:
        failures = evaluate(
            case.pod(),
            level,
            minor(standard.version, config.server_minor),
            suspects=case.suspects,
            results=case.results,
            tick=context.check_deadline,
        )
    # One of the two levels says it: the note is the review's, not the level's.
    notes = (("pss", f"{standard}/{case.origin}"),) if level == "baseline" else ()
    if not failures:
        return Verdict(notes=notes) if notes else PASS
    checks = tuple(check for check, _ in failures)
    finding = Finding(
        policy=policy,
        message=message(level, standard.version, failures) if context.texts else "",
        severity=min((severities[check] for check in checks), key=lambda severity: severity.rank),
        verbatim=True,
        warn=level == standard.level,
        keys=checks,
    )
    return Verdict(findings=(finding,), notes=notes)


def _case(context: Context, config: PodSecurityConfig) -> Case | None:
    request = context.request
    kind = _evaluated_kind(request)
    if kind is None or _exempt(request, config):
        return None
    holder = template(context.object, kind)
    if holder is None:
        return None
    reviewed: Case | None = context.reviewed.get(_CASE)
    if reviewed is not None and _alike(holder, reviewed.holder):
        return reviewed
    spec = mapping(holder.get("spec"))
    if text(spec.get("runtimeClassName")) in config.exempt_runtime_classes:
        return None
    if kind == "Pod" and request.operation == "UPDATE" and not _significant(context):
        return None
    standard, labelled = Standard(config.level, config.version), False
    namespace = context.state.namespace(request.namespace)
    if namespace is not None:
        labels = mapping(mapping(mapping(namespace).get("metadata")).get("labels"))
        standard, labelled = in_force(labels, standard)
    return Case(
        holder=holder,
        suspects=suspects(spec, annotations_of(holder), context.check_deadline),
        standard=standard,
        origin="label" if labelled else "config",
        results={},
    )


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pods differ in nothing but images, as most updates leave them: no check looks at those."""
    if annotations_of(one) != annotations_of(other):
        return False
    spec, other_spec = mapping(one.get("spec")), mapping(other.get("spec"))
    return spec.keys() == other_spec.keys() and all(
        _alike_containers(value, other_spec[key]) if key in CONTAINER_LISTS else value == other_spec[key]
        for key, value in spec.items()
    )


def _alike_containers(some: Any, others: Any) -> bool:
    if some == others:
        return True
    if type(some) is not list or type(others) is not list or len(some) != len(others):
        return False
    for one, other in zip(some, others, strict=True):
        if one != other and not (
            type(one) is type(other) is dict
            and one.keys() == other.keys()
            and all(value == other[key] for key, value in one.items() if key != "image")
        ):
            return False
    return True


def _evaluated_kind(request: Request) -> str | None:
    if request.operation not in ("CREATE", "UPDATE"):
        return None
    kind = RESOURCES.get((request.resource.group, request.resource.resource))
    if request.sub_resource and not (kind == "Pod" and request.sub_resource in POD_SUBRESOURCES):
        return None
    return kind


def _exempt(request: Request, config: PodSecurityConfig) -> bool:
    return request.namespace in config.exempt_namespaces or request.user_info.username in config.exempt_usernames


def _significant(context: Context) -> bool:
    """Whether the update of a pod is one that Pod Security evaluates: containers added or removed, images changed."""
    new, old = context.object, context.old_object
    # The very same object: `Context.of_old_object` asks about what is stored, which has no update to judge.
    if new is old:
        return True
    new_spec, old_spec = mapping(mapping(new).get("spec")), mapping(mapping(old).get("spec"))
    for field in ("containers", "initContainers"):
        if _images(new_spec, field) != _images(old_spec, field):
            return True
    known = dict(_named_images(old_spec))
    return any(known.get(name) != image for name, image in _named_images(new_spec))


def _images(spec: Mapping[str, Any], field: str) -> Sequence[str]:
    return [text(mapping(each).get("image")) for each in items(spec.get(field))]


def _named_images(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    containers = map(mapping, items(spec.get("ephemeralContainers")))
    return [(text(each.get("name")), text(each.get("image"))) for each in containers]
