"""Whether a request is a policy's, or a binding's, business: rules, names, scope and selectors.

Source: `apiserver pkg/admission/plugin/policy/matching/matching.go`, `pkg/admission/plugin/webhook/predicates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.errors import NeedsState, NotComparable
from webhook.match import rule_applies, selects
from webhook.policy import Context, Match, Rule, Selector
from webhook.review import GroupVersionResource, Request

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that every namespace carries with its own name, and that nobody can change."""

_ADMISSION = "admissionregistration.k8s.io"
_POLICY_KINDS = frozenset(
    {
        *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    }
)
_REVIEWS = frozenset(
    {
        ("authentication.k8s.io", "tokenreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)

_REMEMBERED = 1_024
_NAME_RUNES = 63
"""Requests name their resources and namespaces: a hostile client must not grow a table for ever."""


def never_evaluated(request: Request) -> bool:
    """Whether the API server keeps its policies away from this resource, whatever they match."""
    group, resource = request.resource.group, request.resource.resource
    return (group == _ADMISSION and resource in _POLICY_KINDS) or (group, resource) in _REVIEWS


def is_namespace(request: Request) -> bool:
    """Whether the object is a Namespace, which counts as cluster-scoped although its reviews name a namespace."""
    return request.resource.resource == "namespaces" and request.resource.group == ""


class Matcher:
    """Whether a request matches; made once for each `Match`. Safe from any thread.

    No rules at all match everything (a binding's `matchResources` may do without).
    """

    __slots__ = ("_answers", "_labels", "_match", "_name", "_named", "_names", "plain")

    def __init__(self, match: Match) -> None:
        self._match = match
        self._named = any(rule.resource_names for rule in (*match.rules, *match.exclude))
        self.plain = not (match.namespace_selector or match.object_selector or self._named) and all(
            rule.scope == "*" for rule in (*match.rules, *match.exclude)
        )
        """Whether the set's dispatch has already answered for a review that was not converted."""
        self._answers: dict[tuple[str, str, str, str, str, bool], bool] = {}
        selector = match.namespace_selector
        self._name = tuple(each for each in selector if each.key == NAME_LABEL)
        """What the selector wants of a namespace's name, which is known without its labels."""
        self._labels = len(self._name) < len(selector)
        self._names: dict[str, bool] = {}

    def covers(self, context: Context) -> bool:
        """Raises `NeedsState` when it hangs on the labels of a namespace that the snapshot does not hold, and
        `NotComparable` when the review was converted and the API server's own policy would see another version."""
        match, request = self._match, context.request
        if not self._resource_covered(request):
            return False
        if match.object_selector and not _object_selected(match.object_selector, context):
            return False
        return not match.namespace_selector or self._namespace_selected(match.namespace_selector, context)

    def _resource_covered(self, request: Request) -> bool:
        sent = request.resource
        asked = request.request_resource
        if asked is None or asked == sent:
            return self._rules_cover(request, sent)
        # The webhook was sent a converted object. The server's policy sees the client's version if a rule names it.
        if self._match.rules and self._rules_cover(request, asked):
            raise NotComparable(
                f"converted: the API server evaluates {_version(asked)}, the review holds {_version(sent)}"
            )
        return self._match.match_policy == "Equivalent" and self._rules_cover(request, sent)

    def _namespace_selected(self, selector: Selector, context: Context) -> bool:
        request = context.request
        if is_namespace(request):
            # A write is judged by what is written; a removal, or a subresource, by what is stored.
            written = request.operation in ("CREATE", "UPDATE") and not request.sub_resource
            return selects(selector, _labels(context.object if written else context.old_object))
        name = request.namespace
        if not name:
            return True
        named = self._names.get(name)
        if named is None:
            named = selects(self._name, {NAME_LABEL: name})
            if len(self._names) < _REMEMBERED and len(name) <= _NAME_RUNES:
                self._names[name] = named
        if not named or not self._labels:
            return named
        held = context.state.namespace(name)
        if held is None:
            raise NeedsState(f"Namespace {name}")
        return selects(selector, _labels(held))

    def _rules_cover(self, request: Request, resource: GroupVersionResource) -> bool:
        namespaced = bool(request.namespace) and not is_namespace(request)
        sub, operation = request.sub_resource, request.operation
        key = (resource.group, resource.version, resource.resource, sub, operation, namespaced)
        answer = self._answers.get(key)
        if answer is None:
            match = self._match
            answer = not any(_applies(rule, request, resource, namespaced) for rule in match.exclude) and (
                not match.rules or any(_applies(rule, request, resource, namespaced) for rule in match.rules)
            )
            if not self._named and len(self._answers) < _REMEMBERED:
                self._answers[key] = answer
        return answer


def _applies(rule: Rule, request: Request, resource: GroupVersionResource, namespaced: bool) -> bool:
    return rule_applies(
        rule,
        group=resource.group,
        version=resource.version,
        resource=resource.resource,
        subresource=request.sub_resource,
        operation=request.operation,
        name=request.name,
        namespaced=namespaced,
    )


def _object_selected(selector: Selector, context: Context) -> bool:
    return any(
        isinstance(each, dict) and isinstance(each.get("metadata"), dict) and selects(selector, _labels(each))
        for each in (context.object, context.old_object)
    )


def _labels(obj: Any) -> Mapping[str, str]:
    meta = obj.get("metadata") if isinstance(obj, dict) else None
    labels = meta.get("labels") if isinstance(meta, dict) else None
    return labels if isinstance(labels, dict) else {}


def _version(resource: GroupVersionResource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version
