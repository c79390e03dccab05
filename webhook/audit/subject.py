"""What is judged: policies as the log reader knows them, and whether a write is any of their business.

A subject is a policy of our set (judged by our annotations) or one of the API server's own (judged by its). Knows
records and matching; no log, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from webhook.audit.fact import Fact
from webhook.audit.reading import Interest
from webhook.match import matches_resource, selects
from webhook.policy import Match, Requirement, Selector, SetRecord

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that every namespace has: its own name. Others are known from a snapshot only."""

POD_SECURITY = "pod-security-"
"""Policies of this prefix are Pod Security levels; their evidence holds for one version of the standards."""

Labels = Callable[[str], Mapping[str, str] | None]
"""Namespace → its labels, None when they are not known."""

WORKLOADS = frozenset(
    (
        b"pods",
        b"podtemplates",
        b"replicationcontrollers",
        b"replicasets",
        b"deployments",
        b"statefulsets",
        b"daemonsets",
        b"jobs",
        b"cronjobs",
    )
)
ALWAYS = WORKLOADS | {
    b"namespaces",
    b"validatingwebhookconfigurations",
    b"mutatingwebhookconfigurations",
    b"validatingadmissionpolicies",
    b"validatingadmissionpolicybindings",
}
"""Resources that matter whatever the policies are: Pod Security, the evidence chain, and whose history ends."""


class Subject(Struct, frozen=True, kw_only=True):
    id: str
    digest: str = ""
    match: Match | None = None
    """None where only the violations of a policy are known."""
    namespace_match: tuple[Selector, ...] = ()
    native: bool = False
    since: int = 0
    """Microseconds since the epoch from which on it is known to have been in force; native policies only."""
    unproven: str = ""
    """Why the log cannot show that a native policy let a write pass; empty when it can."""

    @property
    def level(self) -> str:
        """The Pod Security level, or empty."""
        return self.id.removeprefix(POD_SECURITY) if self.id.startswith(POD_SECURITY) else ""


def subjects_of(record: SetRecord) -> list[Subject]:
    return [
        Subject(id=each.id, digest=each.digest, match=each.match, namespace_match=each.namespace_match)
        for each in record.policies
    ]


def interest_of(subjects: Iterable[Subject]) -> Interest:
    """The resources that some subject is about."""
    resources, subresources = set(ALWAYS), {(b"pods", b"ephemeralcontainers"), (b"pods", b"resize")}
    everything = False
    for subject in subjects:
        for rule in subject.match.rules if subject.match is not None else ():
            for pattern in rule.resources:
                name, _, sub = pattern.partition("/")
                everything = everything or name == "*" or sub == "*"
                if sub:
                    subresources.add((name.encode(), sub.encode()))
                else:
                    resources.add(name.encode())
    return Interest(frozenset(resources), frozenset(subresources), everything)


def may_concern(subject: Subject, fact: Fact, labels: Labels) -> bool:
    """Whether rules and namespace selectors let a write be the policy's business, as far as the log can tell.

    Unknown labels, names, object selectors and match conditions count as matching: what may have been missed is a
    gap, not nothing.
    """
    if subject.match is None or not _names(subject.match, fact):
        return False
    selectors = [[subject.match.namespace_selector], subject.namespace_match or [()]]
    if not fact.namespace:
        return True
    known = labels(fact.namespace)
    return all(any(_may_select(each, fact.namespace, known) for each in options) for options in selectors)


def _names(match: Match, fact: Fact) -> bool:
    asked = (fact.resource, fact.subresource, fact.operation)
    namespaced = bool(fact.namespace) and fact.resource != "namespaces"
    if not any(rule.scope == "*" or (rule.scope == "Namespaced") == namespaced for rule in match.rules):
        return False
    return covers(match, fact.group, fact.version, *asked)


def covers(match: Match, group: str, version: str, resource: str, subresource: str, operation: str) -> bool:
    """Whether the rules name such writes. Scope, names and selectors are not looked at."""
    asked = (resource, subresource, operation)
    if matches_resource(match, group, version, *asked):
        return True
    # Equivalent: the API server converts a write in another version of the resource for the policy.
    versions = {each for rule in match.rules for each in rule.versions} - {"*", version}
    return match.match_policy == "Equivalent" and any(matches_resource(match, group, each, *asked) for each in versions)


def _may_select(selector: Selector, namespace: str, labels: Mapping[str, str] | None) -> bool:
    if labels is not None:
        return selects(selector, labels)
    return selects(tuple(each for each in selector if _of_name(each)), {NAME_LABEL: namespace})


def _of_name(requirement: Requirement) -> bool:
    return requirement.key == NAME_LABEL
