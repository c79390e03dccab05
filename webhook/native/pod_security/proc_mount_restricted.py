"""Restricted, from 1.35: /proc stays masked, in a user namespace too.

Source: `policy/check_procMount_restricted.go`.
"""

from __future__ import annotations

from webhook.native.pod_security.check import Check, Violation
from webhook.native.pod_security.proc_mount import proc_mount_1_0
from webhook.workload import Pod


def proc_mount_restricted_1_35(pod: Pod) -> Violation | None:
    return proc_mount_1_0(pod)


CHECK = Check(
    id="procMount_restricted",
    level="restricted",
    versions=((35, proc_mount_restricted_1_35),),
    overrides=("procMount",),
)
