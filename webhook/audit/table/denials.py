"""Who refused a write, by the text that the API server answered with.

Only refusals by a policy count: Pod Security, ValidatingAdmissionPolicies, webhooks (Gatekeeper's and Kyverno's by
policy), quotas. RBAC, conflicts and invalid objects are not among them. The texts are untrusted.

Sources: `apiserver pkg/admission/plugin/webhook/errors/statuserror.go`, `plugin/policy/validating/dispatcher.go`,
`k8s.io/pod-security-admission admission`, `kubernetes plugin/pkg/admission/resourcequota`; Gatekeeper and Kyverno by
what they answer.
"""

from __future__ import annotations

import re

from msgspec import Struct

UNAVAILABLE = "unavailable"
"""Reason of a denial by a webhook that could not be asked, under failurePolicy Fail."""


class Denial(Struct, frozen=True):
    policy: str
    """The policy, webhook or `pod-security-<level>` that refused."""
    reason: str
    """Pod Security: `level:version`; else the binding, or the webhook that spoke for the policy."""
    message: str


_POD_SECURITY = re.compile(r'(?s)\S+ "[^"]*" is forbidden: violates PodSecurity "([a-z]+):([^"]+)": (.*)')
_VAP = re.compile(
    r"(?s)(?:\S+ \"[^\"]*\" is forbidden: )?"
    r"ValidatingAdmissionPolicy '([^']+)'(?: with binding '([^']*)')? denied request: (.*)"
)
_WEBHOOK = re.compile(r'(?s)admission webhook "([^"]+)" denied the request(?:: (.*)| without explanation)')
_DOWN = re.compile(r'(?s)Internal error occurred: failed calling webhook "([^"]+)": (.*)')
_QUOTA = re.compile(r'(?s)\S+ "[^"]*" is forbidden: (exceeded quota: ([^,]+), requested: .*)')
_SCC = re.compile(r'(?s)\S+ "[^"]*" is forbidden: (unable to validate against any security context constraint.*)')

_GATEKEEPER = "validation.gatekeeper.sh"
_CONSTRAINT = re.compile(r"(?m)^\[([^\]\s]+)\] (.*)$")
_KYVERNO = re.compile(r"(?:^|\.)(?:validate\.)?kyverno\.svc")
_KYVERNO_BLOCKED = "was blocked due to the following policies"
_KYVERNO_POLICY = re.compile(r"(?m)^([^\s:#][^:\n]*):[ \t]*$")
_KYVERNO_FAILED = re.compile(r"(?m)^Policy (\S+) failed: (.*)$")


def denials(message: str) -> list[Denial]:
    """Each policy that refused a write whose answer was `message`; none when no policy did."""
    if found := _POD_SECURITY.fullmatch(message):
        return [Denial(f"pod-security-{found[1]}", f"{found[1]}:{found[2]}", found[3])]
    if found := _VAP.fullmatch(message):
        return [Denial(found[1], found[2] or "", found[3])]
    if found := _WEBHOOK.fullmatch(message):
        return _by_webhook(found[1], found[2] or "")
    if found := _DOWN.fullmatch(message):
        return [Denial(found[1], UNAVAILABLE, found[2])]
    if found := _QUOTA.fullmatch(message):
        return [Denial(f"ResourceQuota/{found[2]}", "", found[1])]
    if found := _SCC.fullmatch(message):
        return [Denial("SecurityContextConstraints", "", found[1])]
    return []


def _by_webhook(name: str, text: str) -> list[Denial]:
    said: list[tuple[str, str]] = []
    if name == _GATEKEEPER:
        said = _CONSTRAINT.findall(text)
    elif _KYVERNO.search(name):
        said = _kyverno(text)
    texts: dict[str, list[str]] = {}
    for policy, message in said:
        texts.setdefault(policy, []).append(message)
    if not texts:
        return [Denial(name, "", text)]
    return [Denial(policy, name, "; ".join(messages)) for policy, messages in texts.items()]


def _kyverno(text: str) -> list[tuple[str, str]]:
    """A YAML map, policy → rule → message, after a line that says so; or a line for each policy."""
    _, blocked, rest = text.partition(_KYVERNO_BLOCKED)
    if not blocked:
        return _KYVERNO_FAILED.findall(text)
    marks = list(_KYVERNO_POLICY.finditer(rest))
    ends = [*(mark.start() for mark in marks[1:]), len(rest)]
    return [
        (mark[1].strip("'\""), " ".join(rest[mark.end() : end].split())) for mark, end in zip(marks, ends, strict=True)
    ]
