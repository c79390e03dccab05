"""The gate that no noise moves: instructions a review, counted by callgrind, against `baseline.json`.

A figure holds for one Python and one set of wheels, so a baseline is kept by environment; in an unknown environment
there is nothing to hold it against, which is said loudly and fails nothing. Baselines change by `--update` only.
Both directions fail: what got faster is recorded, or the next loss would pass unseen.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import exchange
from benchmarks.host import ROOT

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.01
WHEELS = ("google-re2", "httptools", "msgspec", "uvicorn")
"""Whose versions move the figures; the others do nothing while a review is answered."""
RECORD = "python -m benchmarks instructions --update"

Baseline = dict[str, dict[str, int]]
"""Environment → subject → instructions a review."""


def environment() -> str:
    """What the figures depend on, besides our own code."""
    wheels = " ".join(f"{name}-{importlib.metadata.version(name)}" for name in WHEELS)
    python = f"{platform.python_implementation().lower()}-{platform.python_version()}"
    return f"{python} ({platform.python_compiler()}) {platform.machine()} {wheels}"


def read(path: Path = BASELINE) -> Baseline:
    """The recorded figures; empty when there is no file yet."""
    if not path.is_file():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def write(figures: Baseline, path: Path = BASELINE) -> None:
    ordered = {key: dict(sorted(rows.items())) for key, rows in sorted(figures.items())}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")


def count(names: Sequence[str]) -> dict[str, int]:
    """Instructions a review of each subject: the slope between few and many. Raises `RuntimeError`, with valgrind's
    last words."""
    with tempfile.TemporaryDirectory(prefix="wouldblock-callgrind-") as folder:
        line = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out.%p"]
        line += [sys.executable, "-m", "benchmarks.exchange", *names]
        # Nothing but what is needed: the size of the environment moves the stack, and with it the figures.
        clean = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "HOME": folder}
        ended = subprocess.run(line, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
        totals: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
        for name, number, pid in re.findall(r"^(\w+) (\d+) (\d+)$", ended.stdout, re.MULTILINE):
            totals[name].append((int(number), total(Path(folder, f"out.{pid}"))))
        if ended.returncode != 0 or any(len(pair) != 2 for pair in totals.values()):
            raise RuntimeError(f"valgrind ended with {ended.returncode}\n{ended.stdout}{ended.stderr[-3000:]}")
    return {name: (after - before) // (many - few) for name, ((few, before), (many, after)) in totals.items()}


def total(file: Path) -> int:
    """The instructions in one of callgrind's files. Raises `RuntimeError`."""
    found = re.search(r"^(?:summary|totals): (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{file}: no total in callgrind's output")
    return int(found[1])


def compare(counted: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """One line for each subject that is not within `TOLERANCE` of its baseline, or has none."""
    problems = []
    for name, now in counted.items():
        before = recorded.get(name)
        if before is None:
            problems.append(f"{name}: no baseline; record it with: {RECORD}")
        elif abs(now / before - 1) > TOLERANCE:
            problems.append(
                f"{name}: {now:,} instructions a review, baseline {before:,}: {now / before - 1:+.2%} "
                f"(±{TOLERANCE:.0%} is allowed); if it is meant: {RECORD}"
            )
    return problems


def gate(names: Sequence[str], *, update: bool = False, path: Path = BASELINE) -> int:
    """Counts the subjects and compares, or records. Returns 0 fine, 1 outside the tolerance, 2 cannot count."""
    if shutil.which("valgrind") is None:
        print("instructions: valgrind is not installed; apt-get install valgrind", file=sys.stderr)
        return 2
    here = environment()
    figures = read(path)
    recorded = figures.get(here)
    print(f"instructions a review ({exchange.MANY - exchange.FEW} reviews, callgrind); {here}", flush=True)
    counted = count(names)
    for name, now in counted.items():
        before = (recorded or {}).get(name)
        change = f"{now / before - 1:+8.2%} of {before:,}" if before else "   no baseline"
        print(f"  {name:<12}{now:>12,}{change}", flush=True)
    if update:
        figures[here] = (recorded or {}) | counted
        write(figures, path)
        print(f"recorded in {path.name}")
        return 0
    if recorded is None:
        print(
            "\n*** NO BASELINE for this environment: the instruction gate held nothing back. ***\n"
            f"*** Known: {'; '.join(figures) or 'none'}\n*** Record this one with: {RECORD}\n",
            flush=True,
        )
        return 0
    problems = compare(counted, recorded)
    for problem in problems:
        print(f"FAILED {problem}")
    return 1 if problems else 0
