"""The ValidatingWebhookConfiguration that a policy set needs, and the guard that pins it.

The registration is where a webhook can harm, whatever its code says; so no hand writes it, and equal sets give equal
objects. Knows the shape of the objects; must not know files, YAML, or how certificates are made. Which writes are
subscribed to is `subscription.py`'s.

Source: `k8s.io/api/admissionregistration/v1`, `apiserver pkg/admission/plugin/webhook/matchconditions`.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from webhook.errors import UserError
from webhook.policy import SetRecord
from webhook.policyset import PolicySet
from webhook.subscription import OPERATIONS, Need, entries

NAME = "wouldblock"
"""Of the configuration object."""
GUARD_NAME = "wouldblock-guard"
SERVICE, NAMESPACE, PATH, PORT = "wouldblock", "wouldblock-system", "/validate", 443
TIMEOUT_SECONDS = 2
"""The longest that a write may wait for us when we are dead."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PATH = re.compile(r"(/[a-z0-9]([-.a-z0-9]*[a-z0-9])?)+")
"""The API server cleans paths and takes a `/` at the end away, which would then be another path."""
_API_VERSION = "admissionregistration.k8s.io/v1"
_LABELS = {"app.kubernetes.io/name": "wouldblock"}


def webhook_configuration(
    policies: PolicySet | SetRecord,
    *,
    service: str = SERVICE,
    namespace: str = NAMESPACE,
    path: str = PATH,
    port: int = PORT,
    ca_bundle: bytes = b"",
    name: str = NAME,
    exclude_namespaces: Sequence[str] = (),
) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration as JSON values, with the server's defaults written out.

    `ca_bundle` is PEM; without it there is no `caBundle`, and the API server trusts its machine's CAs. `namespace` is
    always excluded, so that the webhook's own pods never wait for it. Raises `InvalidInput` naming each policy that
    asks for more than can be subscribed to by name, `UserError` for a set that asks for nothing.
    """
    for what, value in (
        ("service", service),
        ("namespace", namespace),
        *(("namespace", n) for n in exclude_namespaces),
    ):
        if not _DNS_LABEL.fullmatch(value):
            raise UserError(f"{what} {value!r} is no Kubernetes name; expected lower-case letters, digits and '-'")
    if not _PATH.fullmatch(path):
        raise UserError(f"path {path!r}: expected /validate or the like, lower case, with no `/` at its end")
    if not 1 <= port <= 65_535:
        raise UserError(f"port {port}: expected 1 to 65535")
    needed = entries(policies.policies)
    if not needed:
        raise UserError("the policy set matches nothing, so there is nothing to subscribe to; give policies with rules")
    client: dict[str, Any] = {"service": {"name": service, "namespace": namespace, "path": path, "port": port}}
    if ca_bundle:
        client["caBundle"] = base64.b64encode(ca_bundle).decode("ascii")
    excluded = {
        # The API server sets this label and keeps it: nobody can opt out by relabelling.
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": sorted({namespace, *exclude_namespaces}),
    }
    return {
        "apiVersion": _API_VERSION,
        "kind": "ValidatingWebhookConfiguration",
        # The component lets `kubectl apply -l` register the webhook after its pods are ready.
        "metadata": {"name": name, "labels": {**_LABELS, "app.kubernetes.io/component": "registration"}},
        "webhooks": [
            {
                "name": entry.name,
                "admissionReviewVersions": ["v1"],
                "clientConfig": client,
                "failurePolicy": "Ignore",
                "matchConditions": [_not_ourselves(service, namespace)],
                "matchPolicy": entry.match_policy,
                "namespaceSelector": {"matchExpressions": [excluded]},
                "objectSelector": {},
                "rules": rules(entry.needs),
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT_SECONDS,
            }
            for entry in needed
        ],
    }


def _not_ourselves(account: str, namespace: str) -> dict[str, str]:
    """What our own account asks for is not sent to us: were it ever to write, it could not wait for itself.

    Nothing else is skipped, not even updates of objects that are being deleted: what a condition skips leaves no
    annotation, so coverage could not tell it from a miss, and the API server's own policies are asked about it.
    `has` is needed: an empty `username` is left out of the request, and an error skips a request in silence.
    """
    user = _cel(f"system:serviceaccount:{namespace}:{account}")
    return {
        "name": "not-ourselves",
        "expression": f"!has(request.userInfo.username) || request.userInfo.username != {user}",
    }


def rules(needs: Iterable[Need]) -> list[dict[str, Any]]:
    """`rules` that match exactly the needs: as few as grouping by equal versions, operations and scope gives."""
    scopes: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for need in needs:
        scopes[need.group, need.resource, need.version, need.operation].add(need.scope)
    operations: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for (group, resource, version, operation), asked in scopes.items():
        scope = next(iter(asked)) if len(asked) == 1 else "*"
        operations[group, resource, scope, version].add(operation)
    versions: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource, scope, version), done in sorted(operations.items()):
        versions[group, resource, scope, tuple(sorted(done, key=OPERATIONS.index))].append(version)
    resources: dict[tuple[str, tuple[str, ...], tuple[str, ...], str], list[str]] = defaultdict(list)
    for (group, resource, scope, done_in_order), named in sorted(versions.items()):
        resources[group, tuple(named), done_in_order, scope].append(resource)
    return [
        {
            "apiGroups": [group],
            "apiVersions": list(named),
            "operations": list(done_in_order),
            "resources": paths,
            "scope": scope,
        }
        for (group, named, done_in_order, scope), paths in sorted(resources.items())
    ]


def guard(configuration: dict[str, Any], *, name: str = GUARD_NAME) -> list[dict[str, Any]]:
    """The ValidatingAdmissionPolicy and its binding (Deny) that keep `configuration` as it is.

    They match our own object only. `caBundle` may change: a CA has to be replaced some day, and a wrong one makes
    reviews fail open, never closed. `timeoutSeconds` may go down. All else is pinned by equality, for what is not
    listed cannot be smuggled in. DELETE is not matched: it has no `object`, and uninstalling must work.

    The expressions raise no error for any object of the kind: every optional field is read with a default, and
    lists are homogeneous, which Kubernetes asks of CEL literals. Raises nothing for what `webhook_configuration` makes.
    """
    kind, resource = configuration["kind"], "validatingwebhookconfigurations"
    return [
        {
            "apiVersion": _API_VERSION,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name, "labels": dict(_LABELS)},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "matchPolicy": "Equivalent",
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "resourceRules": [
                        {
                            "apiGroups": ["admissionregistration.k8s.io"],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE", "UPDATE"],
                            "resourceNames": [configuration["metadata"]["name"]],
                            "resources": [resource],
                            "scope": "*",
                        }
                    ],
                },
                "variables": [{"name": "hooks", "expression": "object.?webhooks.orValue([])"}],
                "validations": [
                    {"expression": expression, "message": f"{kind} {configuration['metadata']['name']}: {message}"}
                    for expression, message in _pins(configuration["webhooks"])
                ],
            },
        },
        {
            "apiVersion": _API_VERSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": dict(_LABELS)},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]


def _pins(hooks: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(expression, message) for each property; every one looks at all entries at once."""

    def each(expression: str, values: Sequence[Any]) -> str:
        return f"variables.hooks.map(w, {expression}) == {_cel(values)}"

    def rule_lists(field: str) -> tuple[str, str]:
        return (
            each(
                f"w.?rules.orValue([]).map(r, r.?{field}.orValue([]))", [[r[field] for r in w["rules"]] for w in hooks]
            ),
            f"rules[].{field} must stay as the policies need them: no `*`, nothing more, nothing less",
        )

    service = [w["clientConfig"]["service"] for w in hooks]
    excluded = [w["namespaceSelector"]["matchExpressions"] for w in hooks]
    where = "clientConfig.service must stay: reviews hold objects, and go to wouldblock alone"
    return [
        (each("w.name", [w["name"] for w in hooks]), "the number and names of webhooks must stay"),
        (
            'variables.hooks.all(w, w.?failurePolicy.orValue("") == "Ignore")',
            "failurePolicy must stay Ignore: this webhook never blocks",
        ),
        (
            f"variables.hooks.all(w, w.?timeoutSeconds.orValue(10) <= {TIMEOUT_SECONDS})",
            f"timeoutSeconds must be at most {TIMEOUT_SECONDS}: writes wait for it when the webhook is dead",
        ),
        (
            "variables.hooks.all(w, !has(w.clientConfig.url) && has(w.clientConfig.service))",
            "clientConfig must name the service and no url",
        ),
        (
            each(
                "[w.clientConfig.?service.name, w.clientConfig.?service.namespace, w.clientConfig.?service.path]"
                '.map(field, field.orValue(""))',
                [[each_service[key] for key in ("name", "namespace", "path")] for each_service in service],
            ),
            where,
        ),
        (each("w.clientConfig.?service.port.orValue(443)", [each_service["port"] for each_service in service]), where),
        (
            each('w.?sideEffects.orValue("")', [w["sideEffects"] for w in hooks]),
            "sideEffects must stay None: anything else refuses dry-runs",
        ),
        (
            each("w.?admissionReviewVersions.orValue([])", [w["admissionReviewVersions"] for w in hooks]),
            "admissionReviewVersions must stay [v1]",
        ),
        (
            each('w.?matchPolicy.orValue("")', [w["matchPolicy"] for w in hooks]),
            "matchPolicy must stay: Equivalent on custom resources fails writes when their conversion does",
        ),
        rule_lists("apiGroups"),
        rule_lists("apiVersions"),
        rule_lists("operations"),
        rule_lists("resources"),
        (
            each(
                'w.?rules.orValue([]).map(r, r.?scope.orValue("*"))', [[r["scope"] for r in w["rules"]] for w in hooks]
            ),
            "rules[].scope must stay",
        ),
        (
            each(
                "w.?matchConditions.orValue([]).map(c, [c.name, c.expression])",
                [[[c["name"], c["expression"]] for c in w["matchConditions"]] for w in hooks],
            ),
            "matchConditions must stay: what they skip goes unseen",
        ),
        (
            each(
                "w.?namespaceSelector.?matchExpressions.orValue([])"
                ".map(e, [e.key, e.operator] + e.?values.orValue([]))",
                [[[e["key"], e["operator"], *e["values"]] for e in expressions] for expressions in excluded],
            ),
            "namespaceSelector must stay: what it excludes goes unseen",
        ),
        (
            "variables.hooks.all(w, w.?namespaceSelector.?matchLabels.orValue({}).size() == 0"
            " && w.?objectSelector.?matchLabels.orValue({}).size() == 0"
            " && w.?objectSelector.?matchExpressions.orValue([]).size() == 0)",
            "objectSelector and matchLabels must stay empty: with them authors of objects could opt out",
        ),
    ]


def _cel(value: Any) -> str:
    """A string, an integer or nested lists of one of them as a CEL literal: JSON's escapes are CEL's as well."""
    return json.dumps(value, ensure_ascii=False)
