"""Who had the CPU: the kernel's own account of run and wait times, for the target and for the driver.

Reads `/proc` only, and answers None where it is not there (another system, another machine's process).
`schedstat`: nanoseconds on a CPU, nanoseconds ready to run but waiting for one, number of turns.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")
_CLK_TCK = os.sysconf("SC_CLK_TCK")


class Usage(Struct, frozen=True):
    """What one process has used since it started."""

    waited: dict[int, int]
    """Thread id → nanoseconds it was ready to run and had no CPU."""
    cpu: float
    """Seconds of CPU, user and system, of all threads."""


def usage(pid: int) -> Usage | None:
    """The process's account so far, or None when the kernel does not tell."""
    waited: dict[int, int] = {}
    running = 0
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            ran, wait, _ = (task / "schedstat").read_text().split()
            waited[int(task.name)] = int(wait)
            running += int(ran)
    except (OSError, ValueError):
        return None
    return Usage(waited=waited, cpu=running / 1e9)


def waited_share(before: Usage, after: Usage, seconds: float) -> float:
    """How much of `seconds` the thread that waited longest was ready to run and had no CPU: 0 to 1."""
    longest = max((wait - before.waited.get(task, 0) for task, wait in after.waited.items()), default=0)
    return longest / 1e9 / seconds


def stolen() -> float | None:
    """Seconds of CPU, over all CPUs, that the hypervisor gave to somebody else since boot."""
    try:
        with (_PROC / "stat").open() as lines:
            return int(next(lines).split()[8]) / _CLK_TCK
    except (OSError, ValueError, IndexError):
        return None


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, in bytes; 0 when the kernel does not tell."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpus() -> list[int]:
    """The CPUs this process may use, in order."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[bool]:
    """Binds this process to one CPU for the while of it; False where the system does not allow it."""
    before = set(cpus())
    try:
        os.sched_setaffinity(0, {cpu})
    except (AttributeError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def describe() -> str:
    """The machine in one line: CPU model, number of CPUs, kernel, Python."""
    model = platform.machine()
    try:
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release().split('-')[0]}, " + (
        f"{platform.python_implementation()} {platform.python_version()}"
    )
