"""Which checks a pod may fail, in one walk over it. Most pods can fail few of them, and only those are asked.

A suspicion is no verdict: a check that is not suspected passes, at every version; one that is may pass all the same.
So this knows what each check looks at, in its strictest version, and none of their texts or exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from webhook.native.pod_security import app_armor_profile, host_namespaces, restricted_volumes, seccomp_profile_baseline
from webhook.native.pod_security.host_probes_and_host_lifecycle import ACTIONS, HOOKS, PROBES
from webhook.workload import CONTAINER_LISTS, items, mapping

_IDS: Final = (
    "allowPrivilegeEscalation",
    "appArmorProfile",
    "capabilities_baseline",
    "capabilities_restricted",
    "hostNamespaces",
    "hostPathVolumes",
    "hostPorts",
    "hostProbesAndHostLifecycle",
    "privileged",
    "procMount",
    "procMount_restricted",
    "restrictedVolumes",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxOptions",
    "seccompProfile_baseline",
    "seccompProfile_restricted",
    "sysctls",
    "windowsHostProcess",
)
BITS: Final[Mapping[str, int]] = {check: 1 << at for at, check in enumerate(_IDS)}
"""Check id → its bit in what `suspects` returns."""
EVERYTHING: Final = (1 << len(_IDS)) - 1

_ESCALATION = BITS["allowPrivilegeEscalation"]
_APP_ARMOR = BITS["appArmorProfile"]
_DROPS = BITS["capabilities_restricted"]
_CAPABILITIES = _DROPS | BITS["capabilities_baseline"]
_NAMESPACES = BITS["hostNamespaces"]
_VOLUMES = BITS["hostPathVolumes"] | BITS["restrictedVolumes"]
_PORTS = BITS["hostPorts"]
_HOSTS = BITS["hostProbesAndHostLifecycle"]
_PRIVILEGED = BITS["privileged"]
_PROC = BITS["procMount"] | BITS["procMount_restricted"]
_NON_ROOT = BITS["runAsNonRoot"]
_USER = BITS["runAsUser"]
_SE_LINUX = BITS["seLinuxOptions"]
_PROFILE = BITS["seccompProfile_restricted"]
_SECCOMP = _PROFILE | BITS["seccompProfile_baseline"]
_SYSCTLS = BITS["sysctls"]
_WINDOWS = BITS["windowsHostProcess"]

_RARE: Final = {
    "appArmorProfile": _APP_ARMOR,
    "procMount": _PROC,
    "seLinuxOptions": _SE_LINUX,
    "sysctls": _SYSCTLS,
    "windowsOptions": _WINDOWS,
}
"""Fields of a `securityContext` that are suspicious for being there."""
_USUAL: Final = frozenset(
    {
        "allowPrivilegeEscalation",
        "capabilities",
        "fsGroup",
        "fsGroupChangePolicy",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seccompProfile",
        "supplementalGroups",
    }
)
_PROFILES: Final = ("RuntimeDefault", "Localhost")
_ALL: Final = ["ALL"]
_PLAIN_VOLUME: Final = frozenset({"name", *restricted_volumes.ALLOWED})
_NOTHING: Final[Mapping[str, Any]] = {}
_STRIDE: Final = 256
"""Containers or volumes between two looks at the clock."""


def suspects(spec: Mapping[str, Any], annotations: Mapping[str, Any], tick: Callable[[], None] | None = None) -> int:
    """The checks that a pod may fail, as a sum of `BITS`. `tick` is called now and then and may raise to stop."""
    found = _of_annotations(annotations)
    for field in host_namespaces.FIELDS:
        if spec.get(field) is True:
            found |= _NAMESPACES
    security = mapping(spec.get("securityContext"))
    profile = security.get("seccompProfile")
    profiled = type(profile) is dict
    if profiled and mapping(profile).get("type") not in _PROFILES:
        found |= _SECCOMP
    if security:
        found |= _of_security(security)
    non_root = security.get("runAsNonRoot") is True
    for name in CONTAINER_LISTS:
        if name in spec:
            for container in _watched(spec[name], tick):
                found |= _of_container(container, non_root, profiled)
    for volume in _watched(spec.get("volumes"), tick):
        if volume.__class__ is dict and not volume.keys() <= _PLAIN_VOLUME:
            found |= _VOLUMES
    return found


def _of_annotations(annotations: Mapping[str, Any]) -> int:
    found = 0
    for key in annotations:
        if key.startswith(app_armor_profile.ANNOTATION):
            found |= _APP_ARMOR
        elif key == seccomp_profile_baseline.POD_ANNOTATION or key.startswith(
            seccomp_profile_baseline.CONTAINER_ANNOTATION
        ):
            found |= _SECCOMP
    return found


def _of_security(security: Mapping[str, Any]) -> int:
    """What pods and containers have in common."""
    found = 0
    if security.get("runAsNonRoot") is False:
        found |= _NON_ROOT
    if security.get("runAsUser") == 0:
        found |= _USER
    if not security.keys() <= _USUAL:
        for field in security:
            found |= _RARE.get(field, 0)
    return found


def _of_container(container: Any, non_root: bool, profiled: bool) -> int:
    """`non_root` and `profiled` say whether the pod answers for what its containers leave open."""
    body = mapping(container)
    security = body.get("securityContext")
    if security.__class__ is dict and security:
        found = _of_security(security)
        if security.get("privileged") is True:
            found |= _PRIVILEGED
        if security.get("allowPrivilegeEscalation") is not False:
            found |= _ESCALATION
        capabilities = security.get("capabilities")
        if capabilities.__class__ is not dict:
            found |= _DROPS
        else:
            if capabilities.get("drop") != _ALL:
                found |= _DROPS
            if capabilities.get("add"):
                found |= _CAPABILITIES
        if not non_root and security.get("runAsNonRoot") is not True:
            found |= _NON_ROOT
        profile = security.get("seccompProfile")
        if profile.__class__ is dict:
            if profile.get("type") not in _PROFILES:
                found |= _SECCOMP
        elif not profiled:
            found |= _PROFILE
    else:
        found = _ESCALATION | _DROPS
        if not non_root:
            found |= _NON_ROOT
        if not profiled:
            found |= _PROFILE
    if "ports" in body:
        for port in items(body["ports"]):
            if port.__class__ is dict and port.get("hostPort"):
                found |= _PORTS
    for probe in PROBES:
        if probe in body and _names_host(body[probe]):
            found |= _HOSTS
    if "lifecycle" in body and any(_names_host(mapping(body["lifecycle"]).get(hook)) for hook in HOOKS):
        found |= _HOSTS
    return found


def _names_host(handler: Any) -> bool:
    if handler.__class__ is dict:
        for action in ACTIONS:
            if action in handler:
                target = handler[action]
                if target.__class__ is dict and "host" in target:
                    return True
    return False


def _watched(values: Any, tick: Callable[[], None] | None) -> Iterable[Any]:
    listed = items(values)
    return listed if tick is None or len(listed) <= _STRIDE else _ticking(listed, tick)


def _ticking(values: Iterable[Any], tick: Callable[[], None]) -> Iterator[Any]:
    for turn, value in enumerate(values):
        if not turn % _STRIDE:
            tick()
        yield value
