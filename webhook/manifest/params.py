"""The parameter objects of a binding: from the policy folder first, then from the cluster's snapshot.

Source: `apiserver pkg/admission/plugin/policy/generic/policy_dispatcher.go` (`CollectParams`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from webhook.errors import NeedsState, WouldblockError
from webhook.manifest.fields import ParamKind, ParamRef
from webhook.match import selects
from webhook.policy import Context
from webhook.state import State

_CLUSTER_CORE = ("Namespace", "Node", "PersistentVolume")
_CACHED = 1_024


class NotConfigured(WouldblockError):
    """The binding cannot be set up: a denial under `failurePolicy: Fail`. The text is the API server's."""


class Params:
    """The objects of one `paramKind` that stand in the policy folder, and how a binding finds its own."""

    def __init__(self, kind: ParamKind, folder: Iterable[Mapping[str, Any]]) -> None:
        self.kind = kind
        held = [each for each in folder if each["apiVersion"] == kind.api_version and each["kind"] == kind.kind]
        self._known_scope = kind.api_version == "v1"
        self._namespaced = (
            kind.kind not in _CLUSTER_CORE if self._known_scope else any(map(_namespace, held)) if held else None
        )
        default = "default" if self._known_scope and self._namespaced else ""
        self.folder = {(_namespace(each) or default, each["metadata"]["name"]): each for each in held}
        self._selected: dict[tuple[str, str, ParamRef], Sequence[Any]] = {}

    def find(self, ref: ParamRef, context: Context) -> Sequence[Any]:
        """The objects that a binding is evaluated with, one after the other; none: it does nothing.

        Raises `NotConfigured`, and `NeedsState` when neither folder nor snapshot can tell.
        """
        state = context.state
        namespace = ref.namespace
        namespaced = self._is_namespaced(state)
        if namespaced is False and namespace:
            raise NotConfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        if namespaced is not False and not namespace:
            namespace = context.request.namespace
            if not namespace and namespaced:
                raise NotConfigured(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        if namespaced is False:
            namespace = ""
        found = self.select(ref, namespace, state)
        if found:
            return found
        if not state.knows(self.kind.api_version, self.kind.kind):
            raise NeedsState(f"{self.kind.kind} {f'{namespace}/' if namespace else ''}{ref.name or '(by selector)'}")
        if ref.not_found == "Deny":
            raise NotConfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
        return ()

    def select(self, ref: ParamRef, namespace: str, state: State) -> Sequence[Any]:
        """The objects that a reference finds in a namespace ('' for cluster-scoped kinds)."""
        if ref.selector is None:
            one = self.folder.get((namespace, ref.name))
            if one is None:
                one = state.get(self.kind.api_version, self.kind.kind, namespace, ref.name)
            return () if one is None else (one,)
        key = (state.digest, namespace, ref)
        found = self._selected.get(key)
        if found is None:
            if len(self._selected) >= _CACHED:
                self._selected.clear()
            found = self._selected[key] = self._by_labels(ref, namespace, state)
        return found

    def referenced(self, refs: Iterable[ParamRef], state: State) -> list[Any]:
        """Every object that these references can ever find, in a stable order: part of a policy's digest."""
        objects = {
            (_namespace(each), each["metadata"]["name"]): each
            for each in state.list(self.kind.api_version, self.kind.kind)
        } | self.folder
        chosen = {
            key
            for ref in refs
            for key, each in objects.items()
            if (not ref.namespace or ref.namespace == key[0])
            and (ref.name == key[1] if ref.selector is None else selects(ref.selector, _labels(each)))
        }
        return [objects[key] for key in sorted(chosen)]

    def _by_labels(self, ref: ParamRef, namespace: str, state: State) -> Sequence[Any]:
        objects = {
            each["metadata"]["name"]: each for each in state.list(self.kind.api_version, self.kind.kind, namespace)
        }
        objects |= {name: each for (where, name), each in self.folder.items() if where == namespace}
        return tuple(objects[name] for name in sorted(objects) if selects(ref.selector or (), _labels(objects[name])))

    def _is_namespaced(self, state: State) -> bool | None:
        """None while no object of the kind has been seen."""
        if self._namespaced is None:
            for each in state.objects:
                if each[0] == self.kind.api_version and each[1] == self.kind.kind:
                    return bool(each[2])
        return self._namespaced


def _namespace(value: Mapping[str, Any]) -> str:
    return value["metadata"].get("namespace") or ""


def _labels(value: Mapping[str, Any]) -> Mapping[str, str]:
    labels = value["metadata"].get("labels")
    return labels if isinstance(labels, dict) else {}
