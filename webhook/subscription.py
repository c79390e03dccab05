"""What the webhook has to see, derived from what the policies match: one `Entry` for each `webhooks[]` entry.

The API server calls each entry that matches once, with the object in the version of the entry's rule. So:

* Resources that Kubernetes itself serves have `matchPolicy: Equivalent`: a write in a version that no policy names is
  converted and seen, as the API server does it for its own policies.
* Where policies name *different* versions of such a resource (one `autoscaling/v1`, another `autoscaling/v2`), each
  version gets an entry of its own: in one entry the `v1` rule would win for `v1` writes, and the policy for `v2` would
  see none of them. (`PolicySet.candidates` keeps a policy that names both from being asked twice.)
* Custom resources, and what only policies with `matchPolicy: Exact` name, are in an `Exact` entry: with `Equivalent`
  the server converts, and a broken conversion webhook then fails the write, whatever our failurePolicy. One entry
  holds all their versions, since each write has one. The price: writes in a version that no policy names are not
  seen, and count as not covered.

Knows rules; must not know how the configuration object looks, files, or what policies decide.
Source: `apiserver pkg/admission/plugin/webhook/predicates/rules`, `…/generic/webhook.go` (`ShouldCallHook`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Literal, NamedTuple

from webhook.annotations import WEBHOOK_NAME
from webhook.errors import InvalidInput, Problem
from webhook.match import matches_resource
from webhook.policy import Policy, PolicyRecord, Rule

EXACT_NAME = f"exact.{WEBHOOK_NAME}"
OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")

BUILT_IN_GROUPS = frozenset(
    {
        "",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""Groups whose conversions are compiled into the API server, so that they cannot fail."""

_NUMBER = "there are too many writes of them"
_HEARTBEAT = "node heartbeats and leader election would wait for the webhook"
_SCHEDULING = "scheduling would wait for the webhook"
_NEVER_SENT = "the API server sends them to no webhook"
NEVER: dict[tuple[str, str], str] = {
    ("", "bindings"): _SCHEDULING,
    ("", "componentstatuses"): "nobody writes them",
    ("", "endpoints"): _NUMBER,
    ("", "events"): _NUMBER,
    ("", "nodes"): _HEARTBEAT,
    ("admissionregistration.k8s.io", "*"): _NEVER_SENT,
    ("authentication.k8s.io", "*"): _NEVER_SENT,
    ("authorization.k8s.io", "*"): _NEVER_SENT,
    ("coordination.k8s.io", "*"): _HEARTBEAT,
    ("discovery.k8s.io", "*"): _NUMBER,
    ("events.k8s.io", "*"): _NUMBER,
}
"""(group, resource or `*`) → why it is never subscribed to, its subresources neither. `authentication` and
`authorization` were sent before 1.37; every request would have waited for it."""
NEVER_SUBRESOURCES = {"binding": _SCHEDULING, "status": _NUMBER}


class Need(NamedTuple):
    """One kind of write that some policy has to see. Sorts as it is written."""

    group: str
    resource: str
    """With its subresource: `pods`, `pods/ephemeralcontainers`."""
    version: str
    operation: str
    scope: str


class Entry(NamedTuple):
    """One `webhooks[]` entry."""

    name: str
    match_policy: Literal["Equivalent", "Exact"]
    needs: tuple[Need, ...]


def entries(policies: Iterable[Policy | PolicyRecord]) -> tuple[Entry, ...]:
    """The entries that the policies need, the plain one first, then by name; none for policies without rules.

    Raises `InvalidInput` with all that cannot be subscribed to by name.
    """
    problems: list[Problem] = []
    wanted: list[tuple[Policy | PolicyRecord, frozenset[Need]]] = []
    for policy in policies:
        problems += _problems(policy)
        wanted.append((policy, frozenset(_needs(policy))))
    if problems:
        raise InvalidInput(problems)

    # By operation as well: a policy may ask for updates of v1 and v2, and for deletions of v2 alone.
    namings: dict[tuple[str, str, str], set[frozenset[str]]] = defaultdict(set)
    equivalent: set[tuple[str, str, str]] = set()
    for policy, needs in wanted:
        versions: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for need in needs:
            versions[need.group, need.resource, need.operation].add(need.version)
        for key, named in versions.items():
            namings[key].add(frozenset(named))
            if key[0] in BUILT_IN_GROUPS and policy.match.match_policy == "Equivalent":
                equivalent.add(key)

    sorted_out: dict[str, set[Need]] = defaultdict(set)
    for need in frozenset[Need]().union(*(needs for _, needs in wanted)):
        key = need.group, need.resource, need.operation
        sorted_out[_entry_name(need.version, namings[key]) if key in equivalent else EXACT_NAME].add(need)
    return tuple(
        Entry(name, "Exact" if name == EXACT_NAME else "Equivalent", tuple(sorted(sorted_out[name])))
        for name in sorted(sorted_out, key=lambda name: (name != WEBHOOK_NAME, name))
    )


def _entry_name(version: str, namings: set[frozenset[str]]) -> str:
    """The plain entry holds what all policies name alike, and the first version of what they do not."""
    if len(namings) == 1 or version == min(frozenset().union(*namings), key=_age):
        return WEBHOOK_NAME
    return f"{version}.{WEBHOOK_NAME}"


def _age(version: str) -> tuple[int, int, int, str]:
    """Order of versions: released ones first, from the oldest: v1, v2, v1beta1, v1alpha1."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return 3, 0, 0, version
    return {None: 0, "beta": 1, "alpha": 2}[found[2]], int(found[1]), int(found[3] or 0), version


def _needs(policy: Policy | PolicyRecord) -> Iterator[Need]:
    """Names and scopes of exclusions are the policy's business: they narrow less than a webhook's rules can say."""
    for rule in policy.match.rules:
        operations = OPERATIONS if "*" in rule.operations else rule.operations
        for group, version, path, operation in product(rule.groups, rule.versions, rule.resources, operations):
            resource, _, subresource = path.partition("/")
            if matches_resource(policy.match, group, version, resource, subresource, operation):
                yield Need(group, path, version, operation, rule.scope)


def _problems(policy: Policy | PolicyRecord) -> Iterator[Problem]:
    """Why a policy cannot be subscribed to. What its exclusions take away again is no problem."""
    source = policy.source if isinstance(policy, Policy) else ""
    for number, rule in enumerate(policy.match.rules):
        for text in (*_wildcards(rule), *_unwanted(policy, rule)):
            yield Problem(
                file=source or f"policy {policy.id}",
                path=f"spec.matchConstraints.resourceRules[{number}]",
                message=text if not source else f"policy {policy.id}: {text}",
                policy=policy.id,
            )


def _wildcards(rule: Rule) -> Iterator[str]:
    for field, values, example in (
        ("apiGroups", rule.groups, "apps"),
        ("apiVersions", rule.versions, "v1"),
        ("resources", rule.resources, "deployments, pods/ephemeralcontainers"),
    ):
        if any("*" in value for value in values):
            stars = ", ".join(value for value in values if "*" in value)
            yield (
                f"{field} {stars}: a webhook for every resource would slow or stop the cluster when it fails;"
                f" name each one, e.g. {example}"
            )


def _unwanted(policy: Policy | PolicyRecord, rule: Rule) -> Iterator[str]:
    asked = {(need.group, need.resource) for need in _needs(policy)}
    for group, path in sorted(asked.intersection(product(rule.groups, rule.resources))):
        resource, _, subresource = path.partition("/")
        why = NEVER.get((group, resource)) or NEVER.get((group, "*")) or NEVER_SUBRESOURCES.get(subresource)
        if why:
            name = f"{path}.{group}" if group else path
            yield f"{name} is never subscribed to: {why}; take it out of the rule, or add an excludeResourceRule"
