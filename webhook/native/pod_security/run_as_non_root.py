"""Restricted: each container, or its pod, says that it runs as non-root; from 1.35 not in a user namespace.

Source: `policy/check_runAsNonRoot.go`. An explicit false hides what is missing, as in Kubernetes.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod


def run_as_non_root_1_0(pod: Pod) -> Violation | None:
    pod_value = pod.security.get("runAsNonRoot")
    explicitly_bad = [each.name for each in pod.containers if each.security.get("runAsNonRoot") is False]
    if pod_value is False or explicitly_bad:
        return Violation(
            "runAsNonRoot != true",
            f"{text.setters(pod_value is False, explicitly_bad)} must not set securityContext.runAsNonRoot=false",
        )
    if pod_value is True:
        return None
    implicitly_bad = [each.name for each in pod.containers if each.security.get("runAsNonRoot") is not True]
    if not implicitly_bad:
        return None
    return Violation(
        "runAsNonRoot != true",
        f"pod or {text.containers(implicitly_bad)} must set securityContext.runAsNonRoot=true",
    )


def run_as_non_root_1_35(pod: Pod) -> Violation | None:
    return None if pod.own_users else run_as_non_root_1_0(pod)


CHECK = Check(id="runAsNonRoot", level="restricted", versions=((0, run_as_non_root_1_0), (35, run_as_non_root_1_35)))
