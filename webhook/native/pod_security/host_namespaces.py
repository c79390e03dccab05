"""Baseline: the node's network, process and IPC namespaces may not be shared.

Source: `policy/check_hostNamespaces.go`.
"""

from __future__ import annotations

from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod

FIELDS = ("hostNetwork", "hostPID", "hostIPC")


def host_namespaces_1_0(pod: Pod) -> Violation | None:
    shared = [f"{field}=true" for field in FIELDS if pod.spec.get(field) is True]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


CHECK = Check(id="hostNamespaces", level="baseline", versions=((0, host_namespaces_1_0),))
