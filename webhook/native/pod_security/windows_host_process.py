"""Baseline: no Windows HostProcess containers.

Source: `policy/check_windowsHostProcess.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, mapping


def windows_host_process_1_0(pod: Pod) -> Violation | None:
    bad_pod = _host_process(pod.security)
    bad_containers = [each.name for each in pod.containers if _host_process(each.security)]
    if not bad_pod and not bad_containers:
        return None
    return Violation(
        "hostProcess",
        f"{text.setters(bad_pod, bad_containers)} must not set securityContext.windowsOptions.hostProcess=true",
    )


def _host_process(security: Mapping[str, Any]) -> bool:
    return mapping(security.get("windowsOptions")).get("hostProcess") is True


CHECK = Check(id="windowsHostProcess", level="baseline", versions=((0, windows_host_process_1_0),))
