"""Restricted: only volume types that hold no state of the node and need no driver inside Kubernetes.

Source: `policy/check_restrictedVolumes.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod
from webhook.workload import text as string

ALLOWED = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
NAMED = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
)
"""What Kubernetes calls by name; a source in neither list is `unknown`."""


def restricted_volumes_1_0(pod: Pod) -> Violation | None:
    bad_volumes = []
    bad_types = set()
    for volume in pod.volumes:
        if _source(volume, ALLOWED) is None:
            bad_volumes.append(string(volume.get("name")))
            bad_types.add(_source(volume, NAMED) or "unknown")
    if not bad_volumes:
        return None
    types = sorted(bad_types)
    verb = "uses" if len(bad_volumes) == 1 else "use"
    return Violation(
        "restricted volume types",
        f"{text.plural('volume', bad_volumes)} {text.quoted(bad_volumes)} {verb}"
        f" {text.plural('restricted volume type', types)} {text.quoted(types)}",
    )


def _source(volume: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if type(volume.get(name)) is dict), None)


CHECK = Check(
    id="restrictedVolumes",
    level="restricted",
    versions=((0, restricted_volumes_1_0),),
    overrides=("hostPathVolumes",),
)
