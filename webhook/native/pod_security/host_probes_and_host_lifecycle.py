"""Baseline, from 1.34: probes and lifecycle handlers may not name a host, for the kubelet would connect there.

Source: `policy/check_hostProbesAndhostLifecycle.go`. Unlike in other checks the containers are sorted and unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod, mapping

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")
ACTIONS = ("httpGet", "tcpSocket")


def host_probes_and_host_lifecycle_1_34(pod: Pod) -> Violation | None:
    bad_containers = set()
    bad_hosts: set[str] = set()
    for container in pod.containers:
        hosts = _hosts(container.body)
        if hosts:
            bad_containers.add(container.name)
            bad_hosts |= hosts
    if not bad_containers:
        return None
    names, listed = sorted(bad_containers), sorted(bad_hosts)
    verb = "uses" if len(names) == 1 else "use"
    return Violation(
        "probe or lifecycle host",
        f"{text.containers(names)} {verb} {text.plural('probe or lifecycle host', listed)} {text.quoted(listed)}",
    )


def _hosts(body: Mapping[str, Any]) -> set[str]:
    hosts: set[str] = set()
    for probe in PROBES:
        if probe in body:
            _add(hosts, body[probe])
    if "lifecycle" in body:
        for hook in HOOKS:
            _add(hosts, mapping(body["lifecycle"]).get(hook))
    return hosts


def _add(hosts: set[str], handler: Any) -> None:
    if type(handler) is dict:
        for action in ACTIONS:
            target = handler.get(action)
            if type(target) is dict and type(host := target.get("host")) is str and host:
                hosts.add(host)


CHECK = Check(id="hostProbesAndHostLifecycle", level="baseline", versions=((34, host_probes_and_host_lifecycle_1_34),))
