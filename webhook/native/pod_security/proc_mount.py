"""Baseline: /proc stays masked; from 1.35 a pod in a user namespace may unmask it.

Source: `policy/check_procMount_baseline.go`.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod


def proc_mount_1_0(pod: Pod) -> Violation | None:
    bad_containers = []
    bad_values = set()
    for container in pod.containers:
        value = container.security.get("procMount")
        if type(value) is str and value != "Default":
            bad_containers.append(container.name)
            bad_values.add(value)
    if not bad_containers:
        return None
    return Violation(
        "procMount",
        f"{text.containers(bad_containers)} must not set securityContext.procMount"
        f" to {text.quoted(sorted(bad_values))}",
    )


def proc_mount_1_35(pod: Pod) -> Violation | None:
    return None if pod.own_users else proc_mount_1_0(pod)


CHECK = Check(id="procMount", level="baseline", versions=((0, proc_mount_1_0), (35, proc_mount_1_35)))
