"""Baseline: no capabilities beyond the ones that container runtimes give by default.

Source: `policy/check_capabilities_baseline.go`. Names are compared as they are: `CAP_CHOWN` and `chown` are not in.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, items, mapping

ALLOWED = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)


def capabilities_baseline_1_0(pod: Pod) -> Violation | None:
    bad_containers = []
    bad_capabilities: set[str] = set()
    for container in pod.containers:
        added = items(mapping(container.security.get("capabilities")).get("add"))
        bad = {name for name in added if type(name) is str and name not in ALLOWED} if added else None
        if bad:
            bad_containers.append(container.name)
            bad_capabilities |= bad
    if not bad_containers:
        return None
    return Violation(
        "non-default capabilities",
        f"{text.containers(bad_containers)} must not include {text.quoted(sorted(bad_capabilities))}"
        " in securityContext.capabilities.add",
    )


CHECK = Check(id="capabilities_baseline", level="baseline", versions=((0, capabilities_baseline_1_0),))
