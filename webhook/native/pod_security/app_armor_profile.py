"""Baseline: AppArmor may not be switched off or given an unknown profile, by field or by annotation.

Source: `policy/check_appArmorProfile.go`. Annotations are printed as `key="value"` inside plain quotes.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, mapping
from webhook.workload import text as string

ALLOWED = frozenset({"RuntimeDefault", "Localhost"})
ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def app_armor_profile_1_0(pod: Pod) -> Violation | None:
    bad_containers = []
    bad_values = set()
    pod_profile = pod.security.get("appArmorProfile")
    bad_pod = type(pod_profile) is dict and pod_profile.get("type") not in ALLOWED
    if bad_pod:
        bad_values.add(string(mapping(pod_profile).get("type")))
    for container in pod.containers:
        profile = container.security.get("appArmorProfile")
        if type(profile) is dict and profile.get("type") not in ALLOWED:
            bad_containers.append(container.name)
            bad_values.add(string(profile.get("type")))
    bad_annotations = sorted(
        f"{key}={text.go_quoted(value)}"
        for key, value in pod.annotations.items()
        if key.startswith(ANNOTATION) and type(value) is str and not _allowed_annotation(value)
    )
    setters = [text.setters(bad_pod, bad_containers)] if bad_pod or bad_containers else []
    if bad_annotations:
        setters.append(text.plural("annotation", bad_annotations))
    if not setters:
        return None
    values = [*sorted(bad_values), *bad_annotations]
    return Violation(
        text.plural("forbidden AppArmor profile", values),
        f"{' and '.join(setters)} must not set AppArmor profile type to {text.quoted(values)}",
    )


def _allowed_annotation(value: str) -> bool:
    return value in ("", "runtime/default") or value.startswith("localhost/")


CHECK = Check(id="appArmorProfile", level="baseline", versions=((0, app_armor_profile_1_0),))
