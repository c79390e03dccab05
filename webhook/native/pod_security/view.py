"""What Pod Security looks at, of every kind that carries a pod: a third of most pods. The rest is not decoded for it.

A field that a check looks at and that is not here is not there for it: `test_view.py` and `test_corpus.py` compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from webhook.native.pod_security.host_probes_and_host_lifecycle import ACTIONS, HOOKS, PROBES
from webhook.paths import Below, Path
from webhook.view import view_of
from webhook.workload import CONTAINER_LISTS, TEMPLATE_PATH

_CONTAINER: Final[Sequence[Path]] = (
    ("name",),
    ("image",),
    ("securityContext",),
    ("ports", Below.ELEMENT, "hostPort"),
    *((probe, action, "host") for probe in PROBES for action in ACTIONS),
    *(("lifecycle", hook, action, "host") for hook in HOOKS for action in ACTIONS),
)
_POD: Final = (
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostUsers",
    "os",
    "runtimeClassName",
    "securityContext",
    "volumes",
)

POD: Final = view_of(
    frozenset(
        (*template, *path)
        for template in TEMPLATE_PATH.values()
        for path in (
            ("metadata", "annotations"),
            *(("spec", field) for field in _POD),
            *(("spec", kind, Below.ELEMENT, *below) for kind in CONTAINER_LISTS for below in _CONTAINER),
        )
    )
)
