"""What expressions see of one review beside the objects: `request` and `namespaceObject`.

Source: `apiserver pkg/admission/plugin/cel/condition.go` (`CreateAdmissionRequest`), `compile.go`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from webhook.cel.ceiling import weigh
from webhook.cel.unit import MISSING, Deferred, Inputs
from webhook.manifest.matching import is_namespace
from webhook.policy import Context
from webhook.review import GroupVersionKind, GroupVersionResource, Request, decode_object

_INPUTS, _CONDITION_INPUTS = object(), object()
_OLD = attrgetter("old")

_FIXED = 2_048
"""Bytes of the `request` variable beside the texts that somebody may choose."""
_NAMESPACES = 4_096


def inputs(context: Context) -> Inputs:
    """What validations, message expressions, audit annotations and variables see; without `params`."""
    found: Inputs | None = context.memo.get(_INPUTS)
    if found is None:
        found = context.memo[_INPUTS] = Inputs(
            object=context.object,
            old_object=Deferred(_OLD, context.objects),
            namespace_object=namespace_object(context),
            request=Deferred(request_variable, context.request),
            check_deadline=context.check_deadline,
        )
    return found


def condition_inputs(context: Context) -> Inputs:
    """What match conditions see: never a namespace, and `request.resource` as the client asked for it."""
    found: Inputs | None = context.memo.get(_CONDITION_INPUTS)
    if found is None:
        usual = inputs(context)
        found = context.memo[_CONDITION_INPUTS] = Inputs(
            object=usual.object,
            old_object=usual.old_object,
            request=Deferred(_as_asked, context.request),
            check_deadline=context.check_deadline,
        )
    return found


def input_size(context: Context) -> int:
    """The weight (`ceiling.py`) of the largest of all that expressions see, params apart, at most."""
    request = context.request
    size = max(len(request.object), len(request.old_object), _request_size(request))
    namespace = inputs(context).namespace_object
    if namespace is None or namespace is MISSING:
        return size
    return max(size, _namespace_size(context.state.digest, request.namespace, namespace))


def _request_size(request: Request) -> int:
    user, kind, resource = request.user_info, request.kind, request.resource
    asked_kind, asked = request.request_kind or kind, request.request_resource or resource
    texts = (
        f"{user.username}{user.uid}{request.name}{request.namespace}"
        f"{kind.group}{kind.version}{kind.kind}{asked_kind.group}{asked_kind.version}{asked_kind.kind}"
        f"{resource.group}{resource.version}{resource.resource}{asked.group}{asked.version}{asked.resource}"
    )
    # What the original lacks is written as the other one again.
    runes = len(texts) + 2 * len(request.sub_resource) + 2 * len(request.request_sub_resource)
    for group in user.groups or ():
        runes += len(group) + 1
    if user.extra:
        runes += sum(len(key) + sum(map(len, values)) + len(values) for key, values in user.extra.items())
    return _FIXED + 8 * runes + len(request.options)


_namespaces: dict[tuple[str, str], int] = {}


def _namespace_size(snapshot: str, name: str, namespace: Any) -> int:
    """Computed once for each namespace of a snapshot."""
    size = _namespaces.get((snapshot, name))
    if size is None:
        if len(_namespaces) >= _NAMESPACES:
            _namespaces.clear()
        size = _namespaces[snapshot, name] = weigh(namespace)
    return size


def with_params(usual: Inputs, params: Any) -> Inputs:
    return Inputs(
        object=usual.object,
        old_object=usual.old_object,
        params=params,
        namespace_object=usual.namespace_object,
        request=usual.request,
        check_deadline=usual.check_deadline,
    )


def namespace_object(context: Context) -> Any:
    """The namespace of the object; None where the API server has none either, `MISSING` where only we do not know."""
    if not context.request.namespace or is_namespace(context.request):
        return None
    held = context.state.namespace(context.request.namespace)
    return MISSING if held is None else held


def request_variable(request: Request) -> dict[str, Any]:
    """The `request` variable: the AdmissionRequest as JSON, so that empty optional fields are absent. What the server
    leaves empty, and does not declare, can be seen as `dyn(request)`."""
    variable: dict[str, Any] = {
        "uid": "",
        "kind": _kind(request.kind),
        "resource": _resource(request.resource),
        "requestKind": _kind(request.request_kind or request.kind),
        "requestResource": _resource(request.request_resource or request.resource),
        "operation": request.operation,
        "userInfo": _user(request),
        "object": None,
        "oldObject": None,
        "dryRun": bool(request.dry_run),
        "options": decode_object(request.options),
    }
    if request.sub_resource:
        variable["subResource"] = request.sub_resource
    if request.request_sub_resource:
        variable["requestSubResource"] = request.request_sub_resource
    if request.name:
        variable["name"] = request.name
    if request.namespace:
        variable["namespace"] = request.namespace
    return variable


def _as_asked(request: Request) -> dict[str, Any]:
    """The `request` variable with the resource as the client asked for it."""
    variable = request_variable(request)
    return {**variable, "resource": variable["requestResource"]}


def _kind(value: GroupVersionKind) -> dict[str, str]:
    return {"group": value.group, "version": value.version, "kind": value.kind}


def _resource(value: GroupVersionResource) -> dict[str, str]:
    return {"group": value.group, "version": value.version, "resource": value.resource}


def _user(request: Request) -> dict[str, Any]:
    info = request.user_info
    user: dict[str, Any] = {}
    if info.username:
        user["username"] = info.username
    if info.uid:
        user["uid"] = info.uid
    if info.groups:
        user["groups"] = list(info.groups)
    if info.extra:
        user["extra"] = {key: list(values) for key, values in info.extra.items()}
    return user
