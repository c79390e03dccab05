"""Baseline: only sysctls that are namespaced and harmless; the list grows with the versions.

Source: `policy/check_sysctls.go`. Names are listed in the order of the pod, unquoted, with repetitions.
"""

from __future__ import annotations

from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, items, mapping
from webhook.workload import text as string

ALLOWED_1_0 = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_syncookies",
    }
)
ALLOWED_1_27 = ALLOWED_1_0 | {"net.ipv4.ip_local_reserved_ports"}
ALLOWED_1_29 = ALLOWED_1_27 | {
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
}
ALLOWED_1_32 = ALLOWED_1_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
ALLOWED_1_37 = ALLOWED_1_32 | {"net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_slow_start_after_idle"}


def sysctls_1_0(pod: Pod) -> Violation | None:
    return _sysctls(pod, ALLOWED_1_0)


def sysctls_1_27(pod: Pod) -> Violation | None:
    return _sysctls(pod, ALLOWED_1_27)


def sysctls_1_29(pod: Pod) -> Violation | None:
    return _sysctls(pod, ALLOWED_1_29)


def sysctls_1_32(pod: Pod) -> Violation | None:
    return _sysctls(pod, ALLOWED_1_32)


def sysctls_1_37(pod: Pod) -> Violation | None:
    return _sysctls(pod, ALLOWED_1_37)


def _sysctls(pod: Pod, allowed: frozenset[str]) -> Violation | None:
    names = [string(mapping(each).get("name")) for each in items(pod.security.get("sysctls"))]
    bad = [name for name in names if name not in allowed]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


CHECK = Check(
    id="sysctls",
    level="baseline",
    versions=((0, sysctls_1_0), (27, sysctls_1_27), (29, sysctls_1_29), (32, sysctls_1_32), (37, sysctls_1_37)),
)
