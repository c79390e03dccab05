"""Baseline: no privileged containers.

Source: `policy/check_privileged.go`.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod


def privileged_1_0(pod: Pod) -> Violation | None:
    bad_containers = [each.name for each in pod.containers if each.security.get("privileged") is True]
    if not bad_containers:
        return None
    return Violation("privileged", f"{text.containers(bad_containers)} must not set securityContext.privileged=true")


CHECK = Check(id="privileged", level="baseline", versions=((0, privileged_1_0),))
