"""`matchConstraints`, `matchResources` and label selectors → `Match`, checked as the API server checks them.

Source: `kubernetes pkg/apis/admissionregistration/validation/validation.go`, `apimachinery
pkg/apis/meta/v1/validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from webhook.manifest import names
from webhook.manifest.reading import Reader
from webhook.policy import Match, Requirement, Rule, Selector
from webhook.yamlfile import Steps

_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_SCOPES = ("*", "Cluster", "Namespaced")


def read_match(reader: Reader, value: Mapping[str, Any], at: Steps) -> Match:
    """The match of a policy or a binding, defaults filled in."""
    reader.known(
        value, at, "namespaceSelector", "objectSelector", "resourceRules", "excludeResourceRules", "matchPolicy"
    )
    policy = reader.choice(value, at, "matchPolicy", ("Exact", "Equivalent"))
    return Match(
        rules=_rules(reader, value, at, "resourceRules"),
        exclude=_rules(reader, value, at, "excludeResourceRules"),
        namespace_selector=_optional_selector(reader, value, at, "namespaceSelector"),
        object_selector=_optional_selector(reader, value, at, "objectSelector"),
        match_policy="Exact" if policy == "Exact" else "Equivalent",
    )


def read_selector(reader: Reader, value: Mapping[str, Any], at: Steps) -> Selector:
    """A label selector; empty matches everything."""
    reader.known(value, at, "matchLabels", "matchExpressions")
    found: list[Requirement] = []
    for key, label in reader.strings(value, at, "matchLabels").items():
        where = (*at, "matchLabels", key)
        _check(reader, where, names.qualified(key))
        _check(reader, where, names.label_value(label))
        found.append(Requirement(key, "In", (label,)))
    for index, item in enumerate(reader.items(value, at, "matchExpressions")):
        where = (*at, "matchExpressions", index)
        if not reader.is_object(item, where):
            continue
        reader.known(item, where, "key", "operator", "values")
        key = reader.text(item, where, "key", required=True)
        if key:
            _check(reader, (*where, "key"), names.qualified(key))
        operator = reader.choice(item, where, "operator", _OPERATORS, required=True)
        values = reader.texts(item, where, "values")
        for number, each in enumerate(values):
            _check(reader, (*where, "values", number), names.label_value(each))
        if operator in ("In", "NotIn") and not values:
            reader.report((*where, "values"), f"expected at least one value for {operator}")
        if operator in ("Exists", "DoesNotExist") and values:
            reader.report((*where, "values"), f"{operator} takes no values")
        if key and operator:
            found.append(Requirement(key, cast(Literal["In", "NotIn", "Exists", "DoesNotExist"], operator), values))
    return tuple(found)


def _optional_selector(reader: Reader, value: Mapping[str, Any], at: Steps, key: str) -> Selector:
    found = reader.object(value, at, key)
    return () if found is None else read_selector(reader, found, (*at, key))


def _rules(reader: Reader, value: Mapping[str, Any], at: Steps, key: str) -> tuple[Rule, ...]:
    return tuple(
        _rule(reader, item, (*at, key, index))
        for index, item in enumerate(reader.items(value, at, key))
        if reader.is_object(item, (*at, key, index))
    )


def _rule(reader: Reader, value: Mapping[str, Any], at: Steps) -> Rule:
    reader.known(value, at, "apiGroups", "apiVersions", "operations", "resources", "resourceNames", "scope")
    operations = _listed(reader, value, at, "operations")
    for index, each in enumerate(operations):
        if each not in _OPERATIONS:
            reader.report((*at, "operations", index), f"expected one of {', '.join(_OPERATIONS)}, found {each!r}")
    versions = _listed(reader, value, at, "apiVersions")
    for index, each in enumerate(versions):
        if not each:
            reader.report((*at, "apiVersions", index), "expected a version, found empty text")
    resource_names = reader.texts(value, at, "resourceNames")
    for index, each in enumerate(resource_names):
        _check(reader, (*at, "resourceNames", index), names.path_segment(each))
        if each in resource_names[:index]:
            reader.report((*at, "resourceNames", index), f"{each!r} stands here a second time")
    scope = reader.choice(value, at, "scope", _SCOPES) or "*"
    return Rule(
        operations=operations,
        groups=_listed(reader, value, at, "apiGroups"),
        versions=versions,
        resources=_resources(reader, value, at),
        resource_names=resource_names,
        scope=cast(Literal["*", "Cluster", "Namespaced"], scope),
    )


def _listed(reader: Reader, value: Mapping[str, Any], at: Steps, key: str) -> tuple[str, ...]:
    found = reader.texts(value, at, key)
    if not value.get(key):
        reader.report((*at, key), "expected at least one item")
    if len(found) > 1 and "*" in found:
        reader.report((*at, key), "'*' stands for all: expected it alone")
    return found


def _resources(reader: Reader, value: Mapping[str, Any], at: Steps) -> tuple[str, ...]:
    where = (*at, "resources")
    found = reader.texts(value, at, "resources")
    if not value.get("resources"):
        reader.report(where, "expected at least one item")
    all_of: set[str] = set()
    everywhere: set[str] = set()
    for index, each in enumerate(found):
        resource, slash, sub = each.partition("/")
        if not each:
            reader.report((*where, index), "expected a resource, found empty text")
        if not slash:
            continue
        if resource in all_of:
            reader.report((*where, index), f"{resource}/* already covers it")
        if sub in everywhere:
            reader.report((*where, index), f"*/{sub} already covers it")
        if sub == "*":
            all_of.add(resource)
        if resource == "*":
            everywhere.add(sub)
    if "*/*" in found and len(found) > 1:
        reader.report(where, "'*/*' stands for all: expected it alone")
    if "*" in found and any("/" not in each and each != "*" for each in found):
        reader.report(where, "'*' stands for all resources: expected no other without a subresource")
    return found


def _check(reader: Reader, at: Steps, wrong: str) -> None:
    if wrong:
        reader.report(at, wrong)
