"""ValidatingAdmissionPolicy and Binding manifests → frozen specs, with everything the API server would refuse.

Reads fields and checks them; compiles nothing, evaluates nothing. Every problem is reported, none raised.

Source: `kubernetes pkg/apis/admissionregistration/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from webhook.errors import Problem
from webhook.manifest import names
from webhook.manifest.reading import Reader
from webhook.manifest.rules import read_match, read_selector
from webhook.policy import Match, Metadata, Selector, Severity
from webhook.yamlfile import Document, Steps

API_VERSIONS = ("admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1")
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
ANNOTATIONS = "wouldblock.dev/"
"""Prefix of the annotations that carry a policy's metadata."""

_MAX_CONDITIONS = 64
_MAX_AUDIT_ANNOTATIONS = 20
_MAX_VALUE_EXPRESSION = 5_120
_META = (
    *("name", "generateName", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers"),
    *("managedFields", "selfLink"),
)
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Deny", "Warn", "Audit")


class Named(msgspec.Struct, frozen=True):
    """A match condition or a variable."""

    name: str
    expression: str
    steps: Steps
    """Path of the expression."""


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    expression: str
    message: str = ""
    message_expression: str = ""
    reason: str = "Invalid"
    steps: Steps


class AuditAnnotation(msgspec.Struct, frozen=True):
    key: str
    expression: str
    steps: Steps


class ParamKind(msgspec.Struct, frozen=True):
    api_version: str
    kind: str


class ParamRef(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    selector: Selector | None = None
    not_found: Literal["Allow", "Deny"]


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """One ValidatingAdmissionPolicy, defaults filled in."""

    id: str
    meta: Metadata
    match: Match
    fail: bool
    """failurePolicy is Fail."""
    param_kind: ParamKind | None
    conditions: tuple[Named, ...]
    variables: tuple[Named, ...]
    validations: tuple[Validation, ...]
    audit_annotations: tuple[AuditAnnotation, ...]
    raw: Mapping[str, Any]
    """`spec` as written: what the digest is made of."""
    document: Document


class BindingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One ValidatingAdmissionPolicyBinding."""

    name: str
    policy: str
    match: Match | None
    """`matchResources`; None matches everything."""
    param_ref: ParamRef | None
    actions: tuple[str, ...]
    raw: Mapping[str, Any]
    document: Document


def is_policy(value: Any) -> bool:
    return isinstance(value, dict) and value.get("kind") == POLICY and _ours(value)


def is_binding(value: Any) -> bool:
    return isinstance(value, dict) and value.get("kind") == BINDING and _ours(value)


def _ours(value: Mapping[str, Any]) -> bool:
    return str(value.get("apiVersion", "")).startswith("admissionregistration.k8s.io/")


def name_of(value: Mapping[str, Any]) -> str:
    """`metadata.name`, or an empty string: what problems call the object."""
    meta = value.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else ""


def read_policy(document: Document) -> tuple[PolicySpec | None, tuple[Problem, ...]]:
    """The policy of a document. The spec is given even when there are problems, if enough of it can be read
    to compile its expressions and find theirs too; it must not be used then."""
    reader = Reader(document, policy=name_of(document.value))
    root = _root(reader, "status")
    name, annotations = _metadata(reader, root)
    meta = _read_meta(reader, name, annotations)
    spec = reader.object(root, (), "spec", required=True)
    if spec is None:
        return None, reader.problems
    at: Steps = ("spec",)
    reader.known(
        spec,
        at,
        *("paramKind", "matchConstraints", "validations", "failurePolicy"),
        *("auditAnnotations", "matchConditions", "variables"),
    )
    failure = reader.choice(spec, at, "failurePolicy", ("Fail", "Ignore")) or "Fail"
    validations = _validations(reader, spec)
    audit = _audit_annotations(reader, spec, name)
    if not reader.items(spec, at, "validations") and not reader.items(spec, at, "auditAnnotations"):
        reader.report(at, "expected at least one item in validations or in auditAnnotations")
    constraints = reader.object(spec, at, "matchConstraints", required=True)
    match = Match(rules=())
    if constraints is not None:
        match = read_match(reader, constraints, (*at, "matchConstraints"))
        if not reader.items(constraints, (*at, "matchConstraints"), "resourceRules"):
            reader.report((*at, "matchConstraints", "resourceRules"), "expected at least one rule")
    return (
        PolicySpec(
            id=name,
            meta=meta,
            match=match,
            fail=failure == "Fail",
            param_kind=_param_kind(reader, spec),
            conditions=_conditions(reader, spec),
            variables=_variables(reader, spec),
            validations=validations,
            audit_annotations=audit,
            raw=spec,
            document=document,
        ),
        reader.problems,
    )


def read_binding(document: Document) -> tuple[BindingSpec | None, tuple[Problem, ...]]:
    """The binding of a document; None when there are problems."""
    value = document.value
    spec = value.get("spec") if isinstance(value, dict) else None
    target = spec.get("policyName") if isinstance(spec, dict) else None
    reader = Reader(document, policy=target if isinstance(target, str) else "")
    root = _root(reader)
    name, _ = _metadata(reader, root)
    at: Steps = ("spec",)
    spec = reader.object(root, (), "spec", required=True)
    if spec is None:
        return None, reader.problems
    reader.known(spec, at, "policyName", "paramRef", "matchResources", "validationActions")
    policy = reader.text(spec, at, "policyName", required=True)
    if policy and (wrong := names.dns_subdomain(policy)):
        reader.report((*at, "policyName"), wrong)
    resources = reader.object(spec, at, "matchResources")
    match = None if resources is None else read_match(reader, resources, (*at, "matchResources"))
    ref = _param_ref(reader, spec)
    actions = _actions(reader, spec)
    if reader.problems:
        return None, reader.problems
    return BindingSpec(
        name=name,
        policy=policy,
        match=match,
        param_ref=ref,
        actions=actions,
        raw=spec,
        document=document,
    ), ()


def _root(reader: Reader, *more: str) -> Mapping[str, Any]:
    root: Mapping[str, Any] = reader.document.value
    reader.known(root, (), "apiVersion", "kind", "metadata", "spec", *more)
    if root.get("apiVersion") not in API_VERSIONS:
        reader.report(("apiVersion",), f"expected {API_VERSIONS[0]}, found {root.get('apiVersion')!r}")
    return root


def _metadata(reader: Reader, root: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    meta = reader.object(root, (), "metadata", required=True)
    if meta is None:
        return "", {}
    at: Steps = ("metadata",)
    reader.known(meta, at, *_META)
    name = reader.text(meta, at, "name", required=True)
    if name and (wrong := names.dns_subdomain(name)):
        reader.report((*at, "name"), wrong)
    annotations = reader.strings(meta, at, "annotations")
    reader.strings(meta, at, "labels")
    return name, annotations


def _read_meta(reader: Reader, name: str, annotations: Mapping[str, str]) -> Metadata:
    known = ("title", "severity", "pack", "remediation", "references", "ticket", "default")
    given: dict[str, str] = {}
    for key, value in annotations.items():
        if not key.startswith(ANNOTATIONS):
            continue
        field = key.removeprefix(ANNOTATIONS)
        at: Steps = ("metadata", "annotations", key)
        if field not in known:
            reader.report(at, f"unknown annotation, expected one of {', '.join(ANNOTATIONS + each for each in known)}")
        elif field == "severity" and value not in list(Severity):
            reader.report(at, f"expected one of {', '.join(Severity)}, found {value!r}")
        elif field == "default" and value not in ("on", "audit", "off"):
            reader.report(at, f'expected "on", "audit" or "off" (in quotes), found {value!r}')
        else:
            given[field] = value.strip()
    return Metadata(
        title=given.get("title") or name,
        severity=Severity(given.get("severity", "medium")),
        pack=given.get("pack") or "custom",
        remediation=given.get("remediation", ""),
        references=tuple(part for each in given.get("references", "").split(",") if (part := each.strip())),
        ticket=given.get("ticket", ""),
        default=_DEFAULTS.get(given.get("default", ""), "on"),
    )


_DEFAULTS: Mapping[str, Literal["on", "audit", "off"]] = {"audit": "audit", "off": "off"}


def _conditions(reader: Reader, spec: Mapping[str, Any]) -> tuple[Named, ...]:
    found = _named(reader, spec, "matchConditions")
    if len(found) > _MAX_CONDITIONS:
        reader.report(("spec", "matchConditions"), f"expected at most {_MAX_CONDITIONS}, found {len(found)}")
    for index, each in enumerate(found):
        if each.name and (wrong := names.qualified(each.name)):
            reader.report(("spec", "matchConditions", index, "name"), wrong)
    return found


def _variables(reader: Reader, spec: Mapping[str, Any]) -> tuple[Named, ...]:
    found = _named(reader, spec, "variables")
    for index, each in enumerate(found):
        if each.name and (wrong := names.cel_identifier(each.name)):
            reader.report(("spec", "variables", index, "name"), wrong)
    return found


_TAKEN = {
    "variables": ". The API server lets a plain create pass; then the last one counts for all, and one that uses "
    "itself ends the server (stack overflow)"
}
"""What becomes of two items with one name, by field. Tried on Kubernetes 1.37.2; server-side apply refuses them."""


def _named(reader: Reader, spec: Mapping[str, Any], key: str) -> tuple[Named, ...]:
    found: list[Named] = []
    seen: set[str] = set()
    for index, item in enumerate(reader.items(spec, ("spec",), key)):
        at: Steps = ("spec", key, index)
        if not reader.is_object(item, at):
            continue
        reader.known(item, at, "name", "expression")
        name = reader.text(item, at, "name", required=True)
        if name in seen:
            reader.report((*at, "name"), f"the name {name!r} is taken by an earlier item{_TAKEN.get(key, '')}")
        seen.add(name)
        found.append(Named(name, reader.expression(item, at, "expression"), (*at, "expression")))
    return tuple(found)


def _validations(reader: Reader, spec: Mapping[str, Any]) -> tuple[Validation, ...]:
    found: list[Validation] = []
    for index, item in enumerate(reader.items(spec, ("spec",), "validations")):
        at: Steps = ("spec", "validations", index)
        if not reader.is_object(item, at):
            continue
        reader.known(item, at, "expression", "message", "messageExpression", "reason")
        message = reader.text(item, at, "message")
        if message and not names.trim(message):
            reader.report((*at, "message"), "expected some text, or no message at all")
        if "\n" in names.trim(message) or "\r" in names.trim(message):
            reader.report((*at, "message"), "expected one line: a message must not hold line breaks")
        expression = reader.text(item, at, "messageExpression")
        if expression and not names.trim(expression):
            reader.report((*at, "messageExpression"), "expected an expression, or none at all")
        found.append(
            Validation(
                expression=reader.expression(item, at, "expression"),
                message=message,
                message_expression=expression if names.trim(expression) else "",
                reason=reader.choice(item, at, "reason", _REASONS) or "Invalid",
                steps=at,
            )
        )
    return tuple(found)


def _audit_annotations(reader: Reader, spec: Mapping[str, Any], policy: str) -> tuple[AuditAnnotation, ...]:
    found: list[AuditAnnotation] = []
    seen: set[str] = set()
    items = reader.items(spec, ("spec",), "auditAnnotations")
    if len(items) > _MAX_AUDIT_ANNOTATIONS:
        reader.report(("spec", "auditAnnotations"), f"expected at most {_MAX_AUDIT_ANNOTATIONS}, found {len(items)}")
    for index, item in enumerate(items):
        at: Steps = ("spec", "auditAnnotations", index)
        if not reader.is_object(item, at):
            continue
        reader.known(item, at, "key", "valueExpression")
        key = reader.text(item, at, "key", required=True)
        if key in seen:
            reader.report((*at, "key"), f"the key {key!r} is taken by an earlier item")
        seen.add(key)
        if key and (wrong := names.qualified(f"{policy}/{key}")):
            reader.report((*at, "key"), wrong)
        value = reader.expression(item, at, "valueExpression")
        if len(names.trim(value).encode()) > _MAX_VALUE_EXPRESSION:
            reader.report((*at, "valueExpression"), f"expected at most {_MAX_VALUE_EXPRESSION} bytes")
        found.append(AuditAnnotation(key, value, (*at, "valueExpression")))
    return tuple(found)


def _param_kind(reader: Reader, spec: Mapping[str, Any]) -> ParamKind | None:
    at: Steps = ("spec", "paramKind")
    kind = reader.object(spec, ("spec",), "paramKind")
    if kind is None:
        return None
    reader.known(kind, at, "apiVersion", "kind")
    api_version = reader.text(kind, at, "apiVersion", required=True)
    if api_version and (wrong := names.api_version(api_version)):
        reader.report((*at, "apiVersion"), wrong)
    name = reader.text(kind, at, "kind", required=True)
    if name and (wrong := names.dns_1035_label(name.lower())):
        reader.report((*at, "kind"), wrong)
    return ParamKind(api_version, name)


def _param_ref(reader: Reader, spec: Mapping[str, Any]) -> ParamRef | None:
    at: Steps = ("spec", "paramRef")
    ref = reader.object(spec, ("spec",), "paramRef")
    if ref is None:
        return None
    reader.known(ref, at, "name", "namespace", "selector", "parameterNotFoundAction")
    name = reader.text(ref, at, "name")
    selector = reader.object(ref, at, "selector")
    if bool(name) == (selector is not None):
        reader.report(at, "expected exactly one of name and selector")
    if wrong := names.path_segment(name):
        reader.report((*at, "name"), wrong)
    action = reader.choice(ref, at, "parameterNotFoundAction", ("Allow", "Deny"), required=True)
    return ParamRef(
        name=name,
        namespace=reader.text(ref, at, "namespace"),
        selector=None if selector is None else read_selector(reader, selector, (*at, "selector")),
        not_found="Deny" if action == "Deny" else "Allow",
    )


def _actions(reader: Reader, spec: Mapping[str, Any]) -> tuple[str, ...]:
    at: Steps = ("spec", "validationActions")
    actions = reader.texts(spec, ("spec",), "validationActions")
    if not actions:
        reader.report(at, f"expected at least one of {', '.join(_ACTIONS)}")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            reader.report((*at, index), f"expected one of {', '.join(_ACTIONS)}, found {action!r}")
        elif action in actions[:index]:
            reader.report((*at, index), f"{action} stands here a second time")
    if "Deny" in actions and "Warn" in actions:
        reader.report(at, "Deny and Warn exclude each other: a denied request would carry its message twice")
    return actions
