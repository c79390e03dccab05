"""Baseline, from 1.34: probes and lifecycle handlers may not name a host, for the kubelet would connect there.

Source: `policy/check_hostProbesAndhostLifecycle.go`. Unlike in other checks the containers are sorted and unique.
"""

from __future__ import annotations

from collections.abc import Iterator

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Container, Pod, mapping
from webhook.workload import text as string

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")
ACTIONS = ("httpGet", "tcpSocket")


def host_probes_and_host_lifecycle_1_34(pod: Pod) -> Violation | None:
    bad_containers = set()
    bad_hosts: set[str] = set()
    for container in pod.containers:
        hosts = set(_hosts(container))
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


def _hosts(container: Container) -> Iterator[str]:
    body = container.body
    lifecycle = mapping(body.get("lifecycle"))
    handlers = [body.get(probe) for probe in PROBES]
    if lifecycle:
        handlers += [lifecycle.get(hook) for hook in HOOKS]
    for handler in handlers:
        if type(handler) is dict:
            for action in ACTIONS:
                host = string(mapping(handler.get(action)).get("host"))
                if host:
                    yield host


CHECK = Check(id="hostProbesAndHostLifecycle", level="baseline", versions=((34, host_probes_and_host_lifecycle_1_34),))
