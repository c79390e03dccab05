"""Restricted: every container has a seccomp profile, its own or the pod's; from 1.25 Windows pods need none.

Source: `policy/check_seccompProfile_restricted.go`. What is set wrongly hides what is missing, as in Kubernetes.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.native.pod_security.seccomp_profile_baseline import seccomp_profile_baseline_1_19
from webhook.workload import Pod


def seccomp_profile_restricted_1_19(pod: Pod) -> Violation | None:
    wrong = seccomp_profile_baseline_1_19(pod)
    if wrong is not None:
        return wrong
    # Nothing is set wrongly: a profile that exists is a good one.
    if type(pod.security.get("seccompProfile")) is dict:
        return None
    missing = [each.name for each in pod.containers if type(each.security.get("seccompProfile")) is not dict]
    if not missing:
        return None
    return Violation(
        "seccompProfile",
        f"pod or {text.containers(missing)} must set securityContext.seccompProfile.type"
        ' to "RuntimeDefault" or "Localhost"',
    )


def seccomp_profile_restricted_1_25(pod: Pod) -> Violation | None:
    return None if pod.windows else seccomp_profile_restricted_1_19(pod)


CHECK = Check(
    id="seccompProfile_restricted",
    level="restricted",
    versions=((19, seccomp_profile_restricted_1_19), (25, seccomp_profile_restricted_1_25)),
    overrides=("seccompProfile_baseline",),
)
