"""The 19 checks, validated as a set at import, and what each (level, version) runs.

All thinking happens here and once: a review is one look-up in `RUNS` and a loop.
Source: `k8s.io/pod-security-admission policy/registry.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webhook.native.pod_security import (
    allow_privilege_escalation,
    app_armor_profile,
    capabilities_baseline,
    capabilities_restricted,
    host_namespaces,
    host_path_volumes,
    host_ports,
    host_probes_and_host_lifecycle,
    privileged,
    proc_mount,
    proc_mount_restricted,
    restricted_volumes,
    run_as_non_root,
    run_as_user,
    screen,
    se_linux_options,
    seccomp_profile_baseline,
    seccomp_profile_restricted,
    sysctls,
    windows_host_process,
)
from webhook.native.pod_security.check import Check, Function
from webhook.native.pod_security.level import NEWEST_MINOR, EvaluatedLevel

Runs = Mapping[tuple[EvaluatedLevel, int], tuple[tuple[str, Function, int], ...]]
"""(level, minor) → (check id, function, its bit in what `screen` finds) in the order in which they run and are
reported."""


def validate(checks: Sequence[Check]) -> None:
    """Raises `ValueError` for a set of checks that cannot be right."""
    levels = {check.id: check.level for check in checks}
    if len(levels) != len(checks):
        raise ValueError("two checks have the same id")
    for check in checks:
        minors = [minor for minor, _ in check.versions]
        if check.level not in ("baseline", "restricted"):
            raise ValueError(f"{check.id}: no such level: {check.level}")
        if not minors or minors != sorted(set(minors)) or minors[0] < 0 or minors[-1] > NEWEST_MINOR:
            raise ValueError(f"{check.id}: versions must rise between 0 and {NEWEST_MINOR}: {minors}")
        for other in check.overrides:
            if check.level != "restricted" or levels.get(other) != "baseline":
                raise ValueError(f"{check.id}: only restricted checks override, and only baseline ones: {other}")


def resolve(checks: Sequence[Check]) -> Runs:
    """What runs at each level and minor version: baseline by id, then restricted by id, overridden ones left out."""
    runs: dict[tuple[EvaluatedLevel, int], tuple[tuple[str, Function, int], ...]] = {}
    ordered = sorted(checks, key=lambda check: (check.level, check.id))
    for minor in range(NEWEST_MINOR + 1):
        active = [(check, function) for check in ordered if (function := _at(check, minor)) is not None]
        overridden = {other for check, _ in active for other in check.overrides}
        bits = [(check, (check.id, run, screen.BITS.get(check.id, screen.EVERYTHING))) for check, run in active]
        runs["baseline", minor] = tuple(each for check, each in bits if check.level == "baseline")
        runs["restricted", minor] = tuple(each for check, each in bits if check.id not in overridden)
    return runs


def _at(check: Check, minor: int) -> Function | None:
    return next((function for since, function in reversed(check.versions) if since <= minor), None)


CHECKS: tuple[Check, ...] = (
    app_armor_profile.CHECK,
    capabilities_baseline.CHECK,
    host_namespaces.CHECK,
    host_path_volumes.CHECK,
    host_ports.CHECK,
    host_probes_and_host_lifecycle.CHECK,
    privileged.CHECK,
    proc_mount.CHECK,
    se_linux_options.CHECK,
    seccomp_profile_baseline.CHECK,
    sysctls.CHECK,
    windows_host_process.CHECK,
    allow_privilege_escalation.CHECK,
    capabilities_restricted.CHECK,
    proc_mount_restricted.CHECK,
    restricted_volumes.CHECK,
    run_as_non_root.CHECK,
    run_as_user.CHECK,
    seccomp_profile_restricted.CHECK,
)

validate(CHECKS)
RUNS = resolve(CHECKS)
