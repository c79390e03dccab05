"""Restricted, from 1.22: all capabilities are dropped, only NET_BIND_SERVICE comes back; from 1.25 not on Windows.

Source: `policy/check_capabilities_restricted.go`. Only `ALL` in capitals drops all.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, items, mapping

ALLOWED = "NET_BIND_SERVICE"


def capabilities_restricted_1_22(pod: Pod) -> Violation | None:
    missing_drop = []
    adding = []
    bad_capabilities: set[str] = set()
    for container in pod.containers:
        capabilities = mapping(container.security.get("capabilities"))
        if "ALL" not in items(capabilities.get("drop")):
            missing_drop.append(container.name)
        added = items(capabilities.get("add"))
        bad = {name for name in added if type(name) is str and name != ALLOWED} if added else None
        if bad:
            adding.append(container.name)
            bad_capabilities |= bad
    details = []
    if missing_drop:
        details.append(f'{text.containers(missing_drop)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(
            f"{text.containers(adding)} must not include {text.quoted(sorted(bad_capabilities))}"
            " in securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def capabilities_restricted_1_25(pod: Pod) -> Violation | None:
    return None if pod.windows else capabilities_restricted_1_22(pod)


CHECK = Check(
    id="capabilities_restricted",
    level="restricted",
    versions=((22, capabilities_restricted_1_22), (25, capabilities_restricted_1_25)),
    overrides=("capabilities_baseline",),
)
