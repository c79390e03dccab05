"""What `matchConstraints` and selectors mean, as the API server reads them.

Source: `apiserver pkg/admission/plugin/policy/matching/matching.go`, `pkg/admission/plugin/webhook/predicates/rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from webhook.policy import Match, Requirement, Rule, Selector


def matches_resource(match: Match, group: str, version: str, resource: str, subresource: str, operation: str) -> bool:
    """Whether some rule names this resource and operation and no exclude rule without names does.

    Names and scope are not looked at, nor are selectors: this is the coarse question that dispatch,
    registration and coverage ask.
    """
    asked = (group, version, resource, subresource, operation)
    if any(_rule_matches(rule, *asked) for rule in match.exclude if not rule.resource_names and rule.scope == "*"):
        return False
    return any(_rule_matches(rule, *asked) for rule in match.rules)


def rule_applies(
    rule: Rule,
    *,
    group: str,
    version: str,
    resource: str,
    subresource: str,
    operation: str,
    name: str,
    namespaced: bool,
) -> bool:
    """Whether one rule covers a request, with its name and scope. A Namespace object counts as cluster-scoped."""
    if rule.scope != "*" and (rule.scope == "Namespaced") != namespaced:
        return False
    if rule.resource_names and name not in rule.resource_names:
        return False
    return _rule_matches(rule, group, version, resource, subresource, operation)


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches everything."""
    return all(_holds(requirement, labels) for requirement in selector)


def _rule_matches(rule: Rule, group: str, version: str, resource: str, subresource: str, operation: str) -> bool:
    return (
        _listed(rule.operations, operation)
        and _listed(rule.groups, group)
        and _listed(rule.versions, version)
        and any(_resource_matches(pattern, resource, subresource) for pattern in rule.resources)
    )


def _listed(allowed: Iterable[str], value: str) -> bool:
    return any(item in ("*", value) for item in allowed)


def _resource_matches(pattern: str, resource: str, subresource: str) -> bool:
    """`*` matches no subresource, `pods/*` and `*/*` match the resource itself as well."""
    name, slash, sub = pattern.partition("/")
    return name in ("*", resource) and (sub == subresource or (bool(slash) and sub == "*"))


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
