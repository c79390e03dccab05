"""Restricted, from 1.8: privilege escalation is switched off explicitly; from 1.25 Windows pods need not.

Source: `policy/check_allowPrivilegeEscalation.go`.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod


def allow_privilege_escalation_1_8(pod: Pod) -> Violation | None:
    bad_containers = [
        each.name for each in pod.containers if each.security.get("allowPrivilegeEscalation") is not False
    ]
    if not bad_containers:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{text.containers(bad_containers)} must set securityContext.allowPrivilegeEscalation=false",
    )


def allow_privilege_escalation_1_25(pod: Pod) -> Violation | None:
    return None if pod.windows else allow_privilege_escalation_1_8(pod)


CHECK = Check(
    id="allowPrivilegeEscalation",
    level="restricted",
    versions=((8, allow_privilege_escalation_1_8), (25, allow_privilege_escalation_1_25)),
)
