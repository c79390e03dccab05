"""The wheel, from a clean virtual environment with the source tree out of reach."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), str(root)],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("wouldblock-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs. Dependencies come from the running environment by a path file, so
    that no download is needed; wouldblock itself comes from the wheel alone."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=True)
    (site,) = home.glob("lib/python3*/site-packages")
    here = Path(next(path for path in sys.path if path.endswith("site-packages")))
    linked = site / "dependencies"
    linked.mkdir()
    for entry in here.iterdir():
        if "wouldblock" not in entry.name and entry.suffix != ".pth" and not entry.name.startswith("__editable__"):
            (linked / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(f"{linked}\n")
    python = home / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True
    )
    return home / "bin"


def run(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [str(installed / "wouldblock"), *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_wheel_holds_policies_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "webhook/py.typed" in names
    assert any(name.startswith("webhook/policies/pod-security/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.startswith("webhook_certs/") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_it_runs_from_anywhere(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "--version", cwd=tmp_path).stdout.startswith("wouldblock ")
    listed = run(installed, "policies", "list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "pod-security-restricted" in listed.stdout


def test_it_reviews_a_manifest(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  hostNetwork: true\n"
        "  containers: [{name: app, image: nginx}]\n"
    )
    reviewed = run(installed, "review", "pod.yaml", cwd=tmp_path)
    assert reviewed.returncode == 1, reviewed.stderr
    assert "host namespaces (hostNetwork=true)" in reviewed.stdout


def test_the_source_tree_is_out_of_reach(installed: Path, tmp_path: Path, root: Path) -> None:
    code = "import webhook; print(webhook.__file__)"
    found = subprocess.run(
        [str(installed / "python"), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not found.stdout.startswith(str(root / "webhook"))
