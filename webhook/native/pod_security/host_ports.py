"""Baseline: no ports of the node.

Source: `policy/check_hostPorts.go`. Verb by number of containers, noun by number of ports, and ports are
sorted **as strings**: 10, 200, 30.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, items, mapping


def host_ports_1_0(pod: Pod) -> Violation | None:
    bad_containers = []
    bad_ports: set[str] = set()
    for container in pod.containers:
        ports = items(container.body.get("ports"))
        if not ports:
            continue
        used = {str(port) for each in ports if type(port := mapping(each).get("hostPort")) is int and port != 0}
        if used:
            bad_containers.append(container.name)
            bad_ports |= used
    if not bad_containers:
        return None
    listed = sorted(bad_ports)
    verb = "uses" if len(bad_containers) == 1 else "use"
    return Violation(
        "hostPort", f"{text.containers(bad_containers)} {verb} {text.plural('hostPort', listed)} {', '.join(listed)}"
    )


CHECK = Check(id="hostPorts", level="baseline", versions=((0, host_ports_1_0),))
