"""What Pod Security looks at, of every kind that carries a pod: a third of most pods. The rest is not decoded for it.

A field that a check looks at and that is not here is not there for it: `test_view.py` and `test_corpus.py` compare.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

import msgspec
from msgspec import Raw

from webhook.review import USUAL, Meta, View


class _Container(TypedDict, total=False):
    name: Any
    image: Any
    securityContext: Any
    ports: Any
    livenessProbe: Any
    readinessProbe: Any
    startupProbe: Any
    lifecycle: Any


_Containers = list[_Container | None] | None


class _PodSpec(TypedDict, total=False):
    hostNetwork: Any
    hostPID: Any
    hostIPC: Any
    hostUsers: Any
    os: Any
    runtimeClassName: Any
    securityContext: Any
    volumes: Any
    initContainers: _Containers
    containers: _Containers
    ephemeralContainers: _Containers


class _PodMeta(TypedDict, total=False):
    annotations: Any


class _Template(TypedDict, total=False):
    metadata: _PodMeta | None
    spec: _PodSpec | None


class _JobSpec(TypedDict, total=False):
    template: _Template | None


class _JobTemplate(TypedDict, total=False):
    spec: _JobSpec | None


class _Spec(_PodSpec, total=False):
    """Of a pod, or of what makes pods."""

    template: _Template | None
    jobTemplate: _JobTemplate | None


class _Object(TypedDict, total=False):
    metadata: Meta
    spec: _Spec | None
    template: _Template | None


_decoder = msgspec.json.Decoder(_Object | None)


def _decode(raw: Raw) -> Any:
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError:  # nothing that an API server would write
        return USUAL.decode(raw)


POD: Final = View(0, _decode)
