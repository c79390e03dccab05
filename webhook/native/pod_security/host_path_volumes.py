"""Baseline: no hostPath volumes, whatever the path.

Source: `policy/check_hostPathVolumes.go`.
"""

from __future__ import annotations

from webhook.native.pod_security import text
from webhook.native.pod_security.check import Check, Violation
from webhook.workload import Pod
from webhook.workload import text as string


def host_path_volumes_1_0(pod: Pod) -> Violation | None:
    bad_volumes = [string(volume.get("name")) for volume in pod.volumes if type(volume.get("hostPath")) is dict]
    if not bad_volumes:
        return None
    return Violation("hostPath volumes", f"{text.plural('volume', bad_volumes)} {text.quoted(bad_volumes)}")


CHECK = Check(id="hostPathVolumes", level="baseline", versions=((0, host_path_volumes_1_0),))
