"""What an expression may name: variables with their types, types, functions. And the environment of a
ValidatingAdmissionPolicy (`apiserver pkg/admission/plugin/cel/compile.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from webhook.cel.builtin import Origin
from webhook.cel.messages import EMPTY, WELL_KNOWN
from webhook.cel.overload import Overload
from webhook.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    parse_type,
)


class Held(msgspec.Struct, frozen=True):
    """What is known of a variable's value."""

    type: Type
    chosen: bool = False
    """Whether it is of type dyn, and an optional if a choice makes it one."""
    origin: Origin | None = None
    foreign: bool = False
    """Whether it may be, or hold, a library's own value."""


class Env(msgspec.Struct, frozen=True, kw_only=True):
    variables: Mapping[str, Type]
    """By name, which may have dots."""
    objects: Mapping[str, Mapping[str, Type]]
    """The fields of each object type."""
    functions: Mapping[str, tuple[Overload, ...]]
    held: Mapping[str, Held] = {}
    """What the policy's variables hold, whatever is declared of them."""
    typed: bool = False
    """Whether built-in kinds are held in Go's types (`typed.py`)."""


def object_type(name: str) -> Type:
    return Type("object", name)


TYPES: Final[Mapping[str, Type]] = {
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
    "null_type": NULL,
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "type": Type("type"),
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
    "optional_type": optional_of(DYN),
    **{name: parse_type(name) for name in ("net.IP", "net.CIDR")},
    EMPTY: object_type(EMPTY),
}
"""What a type's name means as a value."""

VARIABLES: Final = object_type("kubernetes.variables")
_REQUEST: Final = object_type("kubernetes.AdmissionRequest")
_NAMESPACE: Final = object_type("kubernetes.Namespace")
_STRINGS: Final = map_of(STRING, STRING)

_OBJECTS: Final[Mapping[str, Mapping[str, Type]]] = {
    "kubernetes.GroupVersionKind": {"group": STRING, "version": STRING, "kind": STRING},
    "kubernetes.GroupVersionResource": {"group": STRING, "version": STRING, "resource": STRING},
    "kubernetes.UserInfo": {
        "username": STRING,
        "uid": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
    },
    "kubernetes.AdmissionRequest": {
        "kind": object_type("kubernetes.GroupVersionKind"),
        "resource": object_type("kubernetes.GroupVersionResource"),
        "subResource": STRING,
        "requestKind": object_type("kubernetes.GroupVersionKind"),
        "requestResource": object_type("kubernetes.GroupVersionResource"),
        "requestSubResource": STRING,
        "name": STRING,
        "namespace": STRING,
        "operation": STRING,
        "userInfo": object_type("kubernetes.UserInfo"),
        "dryRun": BOOL,
        "options": DYN,
    },
    "kubernetes.NamespaceMetadata": {
        "name": STRING,
        "generateName": STRING,
        "namespace": STRING,
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "UID": STRING,
        "creationTimestamp": TIMESTAMP,
        "deletionTimestamp": TIMESTAMP,
        "deletionGracePeriodSeconds": INT,
        "generation": INT,
        "resourceVersion": STRING,
        "finalizers": list_of(STRING),
    },
    "kubernetes.NamespaceSpec": {"finalizers": list_of(STRING)},
    "kubernetes.NamespaceCondition": {
        "status": STRING,
        "type": STRING,
        "lastTransitionTime": TIMESTAMP,
        "message": STRING,
        "reason": STRING,
    },
    "kubernetes.NamespaceStatus": {
        "conditions": list_of(object_type("kubernetes.NamespaceCondition")),
        "phase": STRING,
    },
    "kubernetes.Namespace": {
        "metadata": object_type("kubernetes.NamespaceMetadata"),
        "spec": object_type("kubernetes.NamespaceSpec"),
        "status": object_type("kubernetes.NamespaceStatus"),
    },
}

NO_VALUES: Final[Mapping[str, Type]] = {
    "duration": DURATION,
    "timestamp": TIMESTAMP,
    **WELL_KNOWN,
    **{name: object_type(name) for name in _OBJECTS},
}
"""Types whose names the checker knows, and which cannot be had as values."""

ENUMS: Final[Mapping[str, int]] = {"google.protobuf.NullValue.NULL_VALUE": 0}
"""Names that stand for numbers."""

_AUTHORIZER: Final = parse_type("kubernetes.authorization.Authorizer")
_RESOURCE_CHECK: Final = parse_type("kubernetes.authorization.ResourceCheck")


def policy_env(
    functions: Mapping[str, tuple[Overload, ...]],
    *,
    params: bool,
    authorizer: bool,
    variables: Mapping[str, Held] | None,
    typed: bool = True,
) -> Env:
    """The environment of one expression of a policy. `variables` are those before it; `None` when the expression has
    no `variables` at all."""
    declared = {"object": DYN, "oldObject": DYN, "request": _REQUEST, "namespaceObject": _NAMESPACE}
    if params:
        declared["params"] = DYN
    if authorizer:
        declared["authorizer"] = _AUTHORIZER
        declared["authorizer.requestResource"] = _RESOURCE_CHECK
    objects = dict(_OBJECTS)
    if variables is not None:
        declared["variables"] = VARIABLES
        objects[VARIABLES.name] = {name: variable_type(each.type) for name, each in variables.items()}
    return Env(variables=declared, objects=objects, functions=functions, held=variables or {}, typed=typed)


def variable_type(type: Type) -> Type:
    """What is declared of a variable of that type: dyn for objects, optionals and libraries' own types, also
    inside lists and maps (`composition.go`)."""
    if type.kind in ("list", "map"):
        return Type(type.kind, "", tuple(map(variable_type, type.arguments)))
    simple = ("null", "bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
    return type if type.kind in simple else DYN
