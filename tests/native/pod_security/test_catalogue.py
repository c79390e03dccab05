"""The pages of the checks: complete, of the right form, and faults are named all at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from webhook.errors import InvalidInput
from webhook.native.pod_security import catalogue
from webhook.native.pod_security.catalogue import FOLDER, read
from webhook.native.pod_security.registry import CHECKS
from webhook.policy import Severity

SEVERITIES = {
    "critical": {"privileged", "windowsHostProcess"},
    "high": {
        "appArmorProfile",
        "capabilities_baseline",
        "hostNamespaces",
        "hostPathVolumes",
        "hostProbesAndHostLifecycle",
        "procMount",
        "runAsUser",
        "seccompProfile_baseline",
    },
    "medium": {
        "allowPrivilegeEscalation",
        "capabilities_restricted",
        "hostPorts",
        "procMount_restricted",
        "restrictedVolumes",
        "runAsNonRoot",
        "seLinuxOptions",
        "seccompProfile_restricted",
        "sysctls",
    },
}


def test_every_check_has_its_page_in_evaluation_order() -> None:
    assert [check for check, _, _ in catalogue()] == [check.id for check in CHECKS]
    for check, meta, source in catalogue():
        assert source == f"pod-security/{check}.yaml"
        assert (FOLDER.parent / source).is_file()
        assert meta.pack == "pod-security"
        assert meta.remediation


def test_severities() -> None:
    found = {severity: {check for check, meta, _ in catalogue() if meta.severity == severity} for severity in Severity}
    assert {str(severity): checks for severity, checks in found.items() if checks} == SEVERITIES


def test_references_say_which_standard() -> None:
    levels = {check.id: check.level for check in CHECKS}
    for check, meta, _ in catalogue():
        assert meta.references[0].startswith(f"pss:{levels[check]}/"), check


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "pod-security"))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))


def test_the_copy_is_fine(copy: Path) -> None:
    assert len(read(copy)) == 19


def test_all_faults_are_named_at_once(copy: Path) -> None:
    (copy / "hostPorts.yaml").unlink()
    (copy / "extra.yaml").write_text("")
    edit(copy, "sysctls.yaml", "  why: >-", "  whence: >-")
    edit(copy, "privileged.yaml", "severity: critical", "severity: terrible")
    edit(copy, "procMount.yaml", "v1.35:", "v1.36:")
    edit(copy, "runAsUser.yaml", "name: runAsUser", "name: runAsUsr")
    edit(copy, "runAsNonRoot.yaml", "level: restricted", "level: baseline")
    edit(copy, "hostNamespaces.yaml", 'title: "Host network, PID or IPC namespace shared"', 'title: ""')
    (copy / "hostPathVolumes.yaml").write_text("{")
    with pytest.raises(InvalidInput) as caught:
        read(copy)
    by_file = {Path(problem.file).name: problem.message for problem in caught.value.problems}
    assert by_file.keys() == {
        "extra.yaml",
        "hostNamespaces.yaml",
        "hostPathVolumes.yaml",
        "hostPorts.yaml",
        "privileged.yaml",
        "procMount.yaml",
        "runAsNonRoot.yaml",
        "runAsUser.yaml",
        "sysctls.yaml",
    }
    assert "whence" in by_file["sysctls.yaml"]
    assert "title is empty" in by_file["hostNamespaces.yaml"]
    assert "expected ['v1.0', 'v1.35']" in by_file["procMount.yaml"]
