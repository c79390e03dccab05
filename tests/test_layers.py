"""What serving loads, and that the layer contracts can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("cryptography", "duckdb", "pyarrow", "opentelemetry.sdk", "yaml", "webhook.cel.lexer", "webhook.audit")


def imported_by(statement: str) -> set[str]:
    """The modules a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_hot_path_is_lean() -> None:
    modules = imported_by("import webhook.serve.admit, webhook.evaluate, webhook.respond")
    assert "webhook.serve.admit" in modules
    assert not [name for name in HEAVY[:-3] + HEAVY[-2:] if name in modules]


def test_help_imports_no_verb() -> None:
    modules = imported_by("from webhook.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass")
    assert not [name for name in modules if name.startswith(("webhook.serve", "starlette", "cryptography"))]


def test_a_forbidden_import_is_seen(tmp_path: Path, root: Path) -> None:
    """The contracts are only worth something if breaking one is noticed."""
    import shutil

    copy = tmp_path / "checkout"
    copy.mkdir()
    shutil.copytree(root / "webhook", copy / "webhook", symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "certs" / "webhook_certs", copy / "webhook_certs")
    shutil.copy(root / "pyproject.toml", copy)
    lint = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}
    good = subprocess.run(lint, cwd=copy, env=environment, capture_output=True, text=True)
    assert good.returncode == 0, good.stdout
    with (copy / "webhook" / "respond.py").open("a") as file:
        file.write("\nimport webhook.load\n")
    bad = subprocess.run(lint, cwd=copy, env=environment, capture_output=True, text=True)
    assert bad.returncode != 0
    assert "webhook.respond -> webhook.load" in bad.stdout


@pytest.mark.parametrize("folder", ["webhook", "certs", "policies", "deploy", "benchmarks", "tests"])
def test_nothing_names_a_registry_or_a_path_of_a_machine(root: Path, folder: str) -> None:
    names = ("pypi.org", "files.pythonhosted", "proxy.golang", "registry.npmjs", "/work/" + "main", "/root/")
    listed = subprocess.run(["git", "ls-files", folder], cwd=root, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        file = root / name
        if file.is_file() and not file.is_symlink() and file != Path(__file__).resolve():
            text = file.read_bytes()
            assert not [each for each in names if each.encode() in text], name
