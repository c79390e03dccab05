"""One subject, measured: the driver as `wouldblock bench` in its own process, the subject in another."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks import process
from benchmarks.host import ROOT
from benchmarks.process import Running
from benchmarks.subjects import Subject
from webhook.bench import corpus, machine
from webhook.bench.gate import Window

UID = "00000000-0000-4000-8000-000000000000"
LIMIT_MS = 10.0
RATE = 2000
REFERENCE_RATE = 900
"""Half of the CPU for the dearest subject, so that p50 is its work and not its queue."""
LOADS = (300, 1500)
"""Rates at which the CPU of the same review is measured besides: a CPU that sleeps between two reviews wakes up with
cold caches, and all that a review touches has to be fetched again."""
STARTS = 3
PRECISION = 0.05
RATE_MIN, RATE_MAX = 20, 16_000
"""Below, two seconds hold too few reviews for a p99; beyond, the driver would be measured."""


class Run(Struct, frozen=True):
    """What `wouldblock bench --output json` said, as far as it is used here."""

    exit_code: int
    windows: list[Window]

    def best(self) -> Window:
        """The lowest p99, of the windows that count when there are any."""
        return min([one for one in self.windows if not one.void] or self.windows, key=lambda one: one.p99_ms)


class Row(Struct, frozen=True, kw_only=True):
    """A subject's figures. Times in milliseconds, start-up in seconds, memory in MB (10⁶ bytes)."""

    label: str
    mix: Window
    """The seeded corpus at `RATE`."""
    reference: Window
    """The 24 KB review alone at `REFERENCE_RATE`; policies find something in it."""
    tidy: Window
    """The same with nothing to find."""
    loads: Sequence[Window]
    """The 24 KB review at each of `LOADS`; policies find something in it."""
    highest_rate: int
    """Reviews a second of the corpus at p99 < 10 ms."""
    highest_is_the_drivers: bool
    rss_loaded: float
    """Before the first review."""
    rss: float
    """After the load at `RATE`, with 50 connections; what overload costs on top is not in it."""
    startup: float


def bench(running: Running, *more: str) -> Run:
    """One run of the driver against a running subject. Raises `RuntimeError` when it could not run."""
    line = [sys.executable, "-m", "webhook", "bench", "--url", running.url, "--ca", str(running.ca)]
    line += ["--pid", str(running.pid), "--output", "json", *more]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1, 3):
        raise RuntimeError(f"wouldblock bench: exit code {ended.returncode}\n{ended.stderr[-2000:]}")
    return msgspec.json.decode(ended.stdout, type=Run)


@contextmanager
def _only(review: corpus.Review) -> Iterator[list[str]]:
    """The flags that make the driver send this one review, at `REFERENCE_RATE`."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(review.body.filled(UID))
        file.flush()
        yield ["--corpus", file.name, "--rate", str(REFERENCE_RATE)]


def subject(one: Subject, certs: Path, *, seconds: float = 5.0) -> Row:
    """Everything about one subject."""
    loaded, startup = footprint(one, certs)
    duration = ["--duration", f"{seconds}s", "--warmup", "1s"]
    with process.running(one, certs) as running:
        with _only(corpus.reference()) as flags:
            reference = bench(running, *duration, *flags).best()
            loads = [bench(running, *duration, *flags, "--rate", str(rate), "--windows", "1").best() for rate in LOADS]
        with _only(corpus.reference(tidy=True)) as flags:
            tidy = bench(running, *duration, *flags).best()
        mix = bench(running, *duration, "--rate", str(RATE)).best()
        rss = machine.resident_bytes(running.pid) / 1e6
        rate, drivers = highest(lambda rate: _fast_enough(running, rate))
    return Row(
        label=one.label,
        mix=mix,
        reference=reference,
        tidy=tidy,
        loads=loads,
        highest_rate=rate,
        highest_is_the_drivers=drivers,
        rss_loaded=round(loaded, 1),
        rss=round(rss, 1),
        startup=round(startup, 3),
    )


def highest(fast_enough: Callable[[int], bool | None]) -> tuple[int, bool]:
    """The highest rate that is fast enough, to `PRECISION`, and whether it was the driver that gave up.

    `fast_enough` answers None when nothing can be known at that rate.
    """
    good, bad = 0, 0
    drivers = False
    rate = RATE
    while not bad or bad - good > PRECISION * bad:
        answer = fast_enough(rate)
        if answer:
            good, drivers = rate, False
        else:
            bad, drivers = rate, answer is None
        if not bad:
            if good >= RATE_MAX:
                return good, True
            rate = min(RATE_MAX, good * 2)
        else:
            rate = (good + bad) // 2
            if rate < RATE_MIN:
                return good, drivers
    return good, drivers


def _fast_enough(running: Running, rate: int) -> bool | None:
    """Three tries for a window that counts; one that passes in spite of noise counts, too."""
    for _ in range(3):
        run = bench(running, "--rate", str(rate), "--duration", "2s", "--warmup", "500ms", "--windows", "1")
        window = run.windows[0]
        if window.p99_ms < LIMIT_MS:
            return True
        if not window.void:
            return False
    return None


def footprint(one: Subject, certs: Path) -> tuple[float, float]:
    """(Resident memory in MB before the first review, seconds from start to ready; the least of `STARTS`)."""
    starts = []
    for _ in range(STARTS):
        with process.running(one, certs) as running:
            starts.append((machine.resident_bytes(running.pid) / 1e6, running.startup))
    return min(rss for rss, _ in starts), min(startup for _, startup in starts)
