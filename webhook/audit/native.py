"""What a snapshot of the cluster proves about the API server's own engines: which of them ran, where, since when.

The API server writes an annotation when one of its policies fails, none when it passes. So a pass needs proof that
the policy was in force: a binding with the action Audit, or the namespace's audit label, both from a snapshot and
unchanged in the log. What cannot be proven is named, never assumed. Reads manifests as data: no CEL.

Source: `apiserver pkg/admission/plugin/policy/validating`, `k8s.io/pod-security-admission admission`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from webhook.audit.events import microseconds
from webhook.audit.facts import REGISTRATION, Facts
from webhook.audit.outcome import Standard
from webhook.audit.subject import POD_SECURITY, Subject
from webhook.policy import Match, Requirement, Rule, Selector
from webhook.state import State

LEVELS = ("baseline", "restricted")
_LABEL = "pod-security.kubernetes.io/"

POD_SECURITY_MATCH = Match(
    rules=tuple(
        Rule(operations=("CREATE", "UPDATE"), groups=(group,), versions=("*",), resources=resources, scope="Namespaced")
        for group, resources in (
            ("", ("pods", "pods/ephemeralcontainers", "pods/resize", "podtemplates", "replicationcontrollers")),
            ("apps", ("replicasets", "deployments", "statefulsets", "daemonsets")),
            ("batch", ("jobs", "cronjobs")),
        )
    )
)
"""What Pod Security admission evaluates (`k8s.io/pod-security-admission admission`)."""


class Cluster:
    """What log and snapshot together prove about the API server's engines."""

    def __init__(self, facts: Facts, state: State) -> None:
        self._facts = facts
        self._state = state
        self._written = _last_namespace_write(facts)

    def subjects(self, *, known: frozenset[str], pod_security: bool) -> list[Subject]:
        """The API server's own policies that the log or the snapshot shows, but for the `known` ones.

        `pod_security`: whether the levels of Pod Security are to be judged natively too.
        """
        failed = {name for fact in self._facts.table for name in fact.native.failed}
        policies = stored(self._state)
        names = sorted((failed | policies.keys()) - known)
        found = [_policy(name, policies.get(name), self._facts, self._state) for name in names]
        if pod_security:
            found += [Subject(id=POD_SECURITY + level, match=POD_SECURITY_MATCH, native=True) for level in LEVELS]
        return found

    def standard(self, namespace: str) -> Standard | None:
        """The namespace's audit standard: by its label, unchanged since its creation or its last write in the log."""
        labels = self.labels(namespace)
        if labels is None or (level := labels.get(_LABEL + "audit")) is None:
            return None
        since = max(_created(self._state.namespace(namespace)), self._written.get(namespace, 0))
        return Standard(level, labels.get(_LABEL + "audit-version", "latest"), since)

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        found = self._state.namespace(namespace)
        return None if found is None else found["metadata"].get("labels") or {}


def stored(state: State) -> dict[str, Any]:
    """The ValidatingAdmissionPolicies of a snapshot by name."""
    return {each["metadata"]["name"]: each for version in _VERSIONS for each in state.list(version, _POLICY)}


_POLICY, _BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
_VERSIONS = (f"{REGISTRATION}/v1", f"{REGISTRATION}/v1beta1")


def _policy(name: str, stored: Any, facts: Facts, state: State) -> Subject:
    if stored is None:
        return Subject(id=name, native=True, unproven="the policy is in no snapshot, so what it let pass is not known")
    spec = stored["spec"]
    bindings = [
        each
        for version in _VERSIONS
        for each in state.list(version, _BINDING)
        if each["spec"].get("policyName") == name
    ]
    audited = [each for each in bindings if "Audit" in each["spec"].get("validationActions", ())]
    names = {name, *(each["metadata"]["name"] for each in audited)}
    changed = max((each.time + 1 for each in facts.registrations.values() if each.name in names), default=0)
    created = max(map(_created, [stored, *audited]), default=0)
    return Subject(
        id=name,
        match=match_of(spec.get("matchConstraints") or {}),
        namespace_match=tuple(_selector(_resources(each).get("namespaceSelector")) for each in audited),
        native=True,
        since=max(changed, created),
        unproven=_unproven(spec, bindings, audited),
    )


def _unproven(spec: Mapping[str, Any], bindings: list[Any], audited: list[Any]) -> str:
    """Why passes of a stored policy do not show in the log; empty when their absence is a pass."""
    constraints = spec.get("matchConstraints") or {}
    if not bindings:
        return "the policy has no binding, so it was never evaluated"
    if not audited:
        return "no binding of the policy has the action Audit, so its failures are not in the log"
    if spec.get("matchConditions"):
        return "the policy has matchConditions, and the log does not show which writes they let through"
    if spec.get("paramKind"):
        return "the policy has params, and the log does not show which were in force"
    for each in (constraints, *map(_resources, audited)):
        if _selector(each.get("objectSelector")):
            return "the policy selects by labels of the object, which the log does not show"
    if any(rule.get("resourceNames") for rule in constraints.get("resourceRules") or ()):
        return "the policy is about single names"
    if any(_resources(each).get(key) for each in audited for key in ("resourceRules", "excludeResourceRules")):
        return "a binding of the policy has resource rules of its own"
    return ""


def _resources(binding: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", binding["spec"].get("matchResources") or {})


def match_of(constraints: Mapping[str, Any]) -> Match:
    """`matchConstraints` of a stored policy, which the API server has validated."""
    return Match(
        rules=tuple(map(_rule, constraints.get("resourceRules") or ())),
        exclude=tuple(map(_rule, constraints.get("excludeResourceRules") or ())),
        namespace_selector=_selector(constraints.get("namespaceSelector")),
        object_selector=_selector(constraints.get("objectSelector")),
        match_policy=constraints.get("matchPolicy", "Equivalent"),
    )


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(
        operations=tuple(rule.get("operations") or ()),
        groups=tuple(rule.get("apiGroups") or ()),
        versions=tuple(rule.get("apiVersions") or ()),
        resources=tuple(rule.get("resources") or ()),
        resource_names=tuple(rule.get("resourceNames") or ()),
        scope=rule.get("scope") or "*",
    )


def _selector(selector: Mapping[str, Any] | None) -> Selector:
    if not selector:
        return ()
    return (
        *(Requirement(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items()),
        *(
            Requirement(each["key"], cast(_Operator, each["operator"]), tuple(each.get("values") or ()))
            for each in selector.get("matchExpressions") or ()
        ),
    )


_Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


def _created(stored: Any) -> int:
    try:
        return microseconds(str(stored["metadata"].get("creationTimestamp") or ""))
    except ValueError:
        return 0


def _last_namespace_write(facts: Facts) -> Mapping[str, int]:
    last: dict[str, int] = {}
    for time, which in zip(facts.times, facts.which, strict=True):
        fact = facts.table[which]
        if fact.resource == "namespaces" and not (fact.group or fact.subresource or fact.rejected or fact.dry_run):
            last[fact.name] = max(last.get(fact.name, 0), time + 1)
    return last
