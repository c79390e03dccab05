"""Instructions of the hundred questions, by hand and compiled: callgrind's counts, which no noise moves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cel_worker import FEW, MANY
from benchmarks.host import ROOT
from benchmarks.instructions import total

Counts = dict[str, dict[str, int]]
"""Engine → size → instructions for all hundred."""


def count(names: Sequence[str], objects: Path) -> Counts:
    """The slope between few and many. Raises `RuntimeError`, with valgrind's last words."""
    if shutil.which("valgrind") is None:
        raise RuntimeError("valgrind is not installed; apt-get install valgrind")
    return {name: _one(name, objects) for name in names}


def _one(name: str, objects: Path) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="wouldblock-callgrind-") as folder:
        line = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out.%p", sys.executable]
        line += ["-m", "benchmarks.cel_worker", name, str(objects), "count"]
        clean = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "HOME": folder}
        ended = subprocess.run(line, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"valgrind ended with {ended.returncode}\n{ended.stdout}{ended.stderr[-3000:]}")
        totals: dict[str, dict[int, int]] = {}
        for found in re.findall(r"^\[.*\]$", ended.stdout, re.MULTILINE):
            size, number, pid = json.loads(found)
            totals.setdefault(size, {})[number] = total(Path(folder, f"out.{pid}"))
    return {size: (both[MANY] - both[FEW]) // (MANY - FEW) for size, both in totals.items()}
