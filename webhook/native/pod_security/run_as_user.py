"""Restricted, from 1.23: no explicit user 0; from 1.35 allowed in a user namespace.

Source: `policy/check_runAsUser.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod


def run_as_user_1_23(pod: Pod) -> Violation | None:
    bad_pod = _root(pod.security)
    bad_containers = [each.name for each in pod.containers if _root(each.security)]
    if not bad_pod and not bad_containers:
        return None
    return Violation("runAsUser=0", f"{text.setters(bad_pod, bad_containers)} must not set runAsUser=0")


def run_as_user_1_35(pod: Pod) -> Violation | None:
    return None if pod.own_users else run_as_user_1_23(pod)


def _root(security: Mapping[str, Any]) -> bool:
    user = security.get("runAsUser")
    return type(user) is int and user == 0


CHECK = Check(id="runAsUser", level="restricted", versions=((23, run_as_user_1_23), (35, run_as_user_1_35)))
