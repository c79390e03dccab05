"""Baseline: seccomp may not be switched off: by annotation before 1.19, by field since.

Source: `policy/check_seccompProfile_baseline.go`.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, mapping
from webhook.workload import text as string

ALLOWED = frozenset({"RuntimeDefault", "Localhost"})
POD_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
CONTAINER_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"


def seccomp_profile_baseline_1_0(pod: Pod) -> Violation | None:
    keys = {POD_ANNOTATION, *(CONTAINER_ANNOTATION + container.name for container in pod.containers)}
    bad = sorted(
        f"{key}={text.go_quoted(value)}"
        for key in keys
        if type(value := pod.annotations.get(key)) is str and not _allowed_annotation(value)
    )
    if not bad:
        return None
    return Violation("seccompProfile", f"forbidden {text.plural('annotation', bad)} {', '.join(bad)}")


def seccomp_profile_baseline_1_19(pod: Pod) -> Violation | None:
    bad_containers = []
    bad_values = set()
    pod_profile = pod.security.get("seccompProfile")
    bad_pod = type(pod_profile) is dict and pod_profile.get("type") not in ALLOWED
    if bad_pod:
        bad_values.add(string(mapping(pod_profile).get("type")))
    for container in pod.containers:
        profile = container.security.get("seccompProfile")
        if type(profile) is dict and profile.get("type") not in ALLOWED:
            bad_containers.append(container.name)
            bad_values.add(string(profile.get("type")))
    if not bad_values:
        return None
    return Violation(
        "seccompProfile",
        f"{text.setters(bad_pod, bad_containers)} must not set securityContext.seccompProfile.type"
        f" to {text.quoted(sorted(bad_values))}",
    )


def _allowed_annotation(value: str) -> bool:
    return value in ("runtime/default", "docker/default") or value.startswith("localhost/")


CHECK = Check(
    id="seccompProfile_baseline",
    level="baseline",
    versions=((0, seccomp_profile_baseline_1_0), (19, seccomp_profile_baseline_1_19)),
)
