"""Pod Security Standards as Kubernetes' own Pod Security admission decides and words them, at every version.

Two policies, `pod-security-baseline` and `pod-security-restricted`: both are evaluated on every relevant
review, so that readiness can answer for either, and one of them at most is shown.
"""

from __future__ import annotations

import hashlib
from functools import partial

import msgspec

from webhook.errors import UserError
from webhook.native.pod_security.admission import POD_SUBRESOURCES, RESOURCES, PodSecurityConfig, verdict
from webhook.native.pod_security.catalogue import PACK, catalogue
from webhook.native.pod_security.level import LEVELS, EvaluatedLevel, parse_level, parse_version
from webhook.native.pod_security.registry import CHECKS
from webhook.native.pod_security.view import POD
from webhook.policy import Match, Metadata, Policy, Rule, Severity

__all__ = ["PodSecurityConfig", "catalogue", "policies"]

REVISION = "1"
"""Goes into the digest; to be raised with each change that can change a verdict or a text."""

_EVALUATED: tuple[EvaluatedLevel, ...] = ("baseline", "restricted")

_META = {
    "baseline": Metadata(
        title="Pod Security Standards: baseline",
        severity=Severity.HIGH,
        pack=PACK,
        remediation="Remove what reaches into the node: host namespaces, hostPath, privileged containers.",
        references=("pss:baseline",),
        ticket="SR",
    ),
    "restricted": Metadata(
        title="Pod Security Standards: restricted",
        severity=Severity.MEDIUM,
        pack=PACK,
        remediation="Run as non-root, drop ALL capabilities, forbid privilege escalation, set a seccomp profile.",
        references=("pss:restricted",),
        ticket="SR",
    ),
}


def policies(config: PodSecurityConfig) -> tuple[Policy, ...]:
    """The two policies of the pack. Raises `UserError` for a configuration or metadata files that cannot be right."""
    _validate(config)
    severities = {check: meta.severity for check, meta, _ in catalogue()}
    return tuple(
        Policy(
            id=f"pod-security-{level}",
            digest=_digest(level, config),
            meta=_META[level],
            match=MATCH,
            view=POD,
            run=partial(verdict, level=level, policy=f"pod-security-{level}", config=config, severities=severities),
            source="pod-security",
        )
        for level in _EVALUATED
    )


def _match() -> Match:
    resources: dict[str, list[str]] = {}
    for group, resource in RESOURCES:
        listed = resources.setdefault(group, [])
        listed.append(resource)
        if resource == "pods":
            listed += [f"{resource}/{subresource}" for subresource in POD_SUBRESOURCES]
    return Match(
        rules=tuple(
            Rule(
                operations=("CREATE", "UPDATE"),
                groups=(group,),
                versions=("v1",),
                resources=tuple(listed),
                scope="Namespaced",
            )
            for group, listed in resources.items()
        )
    )


MATCH = _match()


def _digest(level: EvaluatedLevel, config: PodSecurityConfig) -> str:
    """Over all that can change a verdict or its text."""
    checks = [(check.id, check.level, check.overrides, [since for since, _ in check.versions]) for check in CHECKS]
    facts = msgspec.json.encode([REVISION, level, msgspec.structs.asdict(config), checks], order="deterministic")
    return hashlib.sha256(facts).hexdigest()[:16]


def _validate(config: PodSecurityConfig) -> None:
    if parse_level(config.level) is None:
        raise UserError(f"Pod Security level {config.level!r}: must be one of {', '.join(LEVELS)}")
    if parse_version(config.version) is None:
        raise UserError(f'Pod Security version {config.version!r}: must be "latest" or "v1.x", for example v1.34')
    if config.server_minor < 0:
        raise UserError(f"server version 1.{config.server_minor}: the minor version cannot be negative")
