"""Baseline: SELinux types only from the container family, no user, no role; the level is free.

Source: `policy/check_seLinuxOptions.go`. 1.31 adds `container_engine_t`.
"""

from __future__ import annotations

from typing import Any

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod
from webhook.workload import text as string

TYPES_1_0 = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
TYPES_1_31 = TYPES_1_0 | {"container_engine_t"}


def se_linux_options_1_0(pod: Pod) -> Violation | None:
    return _se_linux_options(pod, TYPES_1_0)


def se_linux_options_1_31(pod: Pod) -> Violation | None:
    return _se_linux_options(pod, TYPES_1_31)


def _se_linux_options(pod: Pod, types: frozenset[str]) -> Violation | None:
    bad: list[dict[str, Any]] = []
    bad_containers = []
    pod_options = pod.security.get("seLinuxOptions")
    bad_pod = type(pod_options) is dict and _forbidden(pod_options, types)
    if bad_pod:
        bad.append(pod_options)  # type: ignore[arg-type]
    for container in pod.containers:
        options = container.security.get("seLinuxOptions")
        if type(options) is dict and _forbidden(options, types):
            bad_containers.append(container.name)
            bad.append(options)
    if not bad:
        return None
    faults = []
    bad_types = sorted({string(options.get("type")) for options in bad} - types)
    if bad_types:
        faults.append(f"{text.plural('type', bad_types)} {text.quoted(bad_types)}")
    faults += [f"{field} may not be set" for field in ("user", "role") if any(string(each.get(field)) for each in bad)]
    return Violation(
        "seLinuxOptions",
        f"{text.setters(bad_pod, bad_containers)} set forbidden securityContext.seLinuxOptions: {'; '.join(faults)}",
    )


def _forbidden(options: dict[str, Any], types: frozenset[str]) -> bool:
    return string(options.get("type")) not in types or any(string(options.get(field)) for field in ("user", "role"))


CHECK = Check(id="seLinuxOptions", level="baseline", versions=((0, se_linux_options_1_0), (31, se_linux_options_1_31)))
