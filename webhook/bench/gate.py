"""Windows of load, and the verdict on them: fine, too slow, or not to be known on this machine now.

A window in which somebody other than the target was the limit is *void*: the target or the driver waited for a CPU,
the hypervisor took it, or the driver sent late. The best of the others decides, for noise only ever adds latency.
When all are void there is no verdict, and that has an exit code of its own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from msgspec import Struct

from webhook.bench import machine
from webhook.bench.corpus import Body
from webhook.bench.driver import Measured, Pool
from webhook.bench.histogram import Histogram

WAITED_MAX = 0.02
"""Share of the time that target or driver may be ready to run and without a CPU."""
LAG_SHARE = 0.1
"""Share of the limit that the driver's own lateness (p99) may reach."""


class Verdict(Enum):
    """The value is the exit code of `wouldblock bench`; 2 is for what could not be run at all."""

    FINE = 0
    TOO_SLOW = 1
    VOID = 3


class Load(Struct, frozen=True, kw_only=True):
    """What to send. Times in seconds, the rate in requests a second."""

    rate: float = 2000.0
    duration: float = 10.0
    warmup: float = 2.0
    windows: int = 3
    timeout: float = 2.0
    seed: int = 1
    limit: float = 0.010
    """p99 must stay below."""
    pid: int | None = None
    """The target's process, when it runs on this machine."""


class Window(Struct, frozen=True, kw_only=True):
    """One stretch of load. Latencies in milliseconds, failures counted with the timeout."""

    requests: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    mean_ms: float
    answered_per_second: float
    failures: dict[str, int]
    denied: int
    lag_p99_ms: float
    """How late the driver took requests up."""
    driver_waited: float | None
    """Share of the window that the driver was ready and had no CPU; None where the system does not tell."""
    target_waited: float | None
    stolen: float | None
    """Share of the window, of one CPU, that the hypervisor gave to others."""
    target_cpu_ms: float | None
    """The target's CPU time a request."""
    target_rss_mb: float | None
    void: list[str]
    """Why this window says nothing about the target; empty when it does."""


class Report(Struct, frozen=True, kw_only=True):
    load: Load
    connections: int
    machine: str
    windows: list[Window]
    verdict: Verdict
    best: Window | None
    """The window that decided: the lowest p99 that is not void."""


def run(pool: Pool, bodies: Sequence[Body], load: Load, *, connections: int) -> Report:
    """Warms up, measures every window, judges. The caller has opened the pool."""
    return judge(list(measure(pool, bodies, load)), load, connections=connections)


def measure(pool: Pool, bodies: Sequence[Body], load: Load) -> Iterator[Window]:
    """The windows, one after the other, as they end. Each has its own seeded order of the same bodies."""
    orders = _orders(len(bodies), load)
    if load.warmup > 0:
        pool.drive(bodies, next(orders)(load.warmup), rate=load.rate, timeout=load.timeout)
    for _ in range(load.windows):
        order = next(orders)(load.duration)
        before = _Account.take(load.pid)
        measured = pool.drive(bodies, order, rate=load.rate, timeout=load.timeout)
        yield window(measured, before, _Account.take(load.pid), load)


def judge(windows: list[Window], load: Load, *, connections: int) -> Report:
    """The verdict on measured windows."""
    best = min((one for one in windows if not one.void), key=lambda one: one.p99_ms, default=None)
    verdict = Verdict.VOID
    if best is not None:
        verdict = Verdict.FINE if best.p99_ms < load.limit * 1e3 else Verdict.TOO_SLOW
    return Report(
        load=load, connections=connections, machine=machine.describe(), windows=windows, verdict=verdict, best=best
    )


class _Account(Struct, frozen=True):
    """Who has used and awaited the CPU until now."""

    driver: machine.Usage | None
    target: machine.Usage | None
    stolen: float | None
    rss: int

    @classmethod
    def take(cls, pid: int | None) -> _Account:
        target = None if pid is None else machine.usage(pid)
        rss = 0 if pid is None else machine.resident_bytes(pid)
        return cls(machine.usage(os.getpid()), target, machine.stolen(), rss)


def window(measured: Measured, before: _Account, after: _Account, load: Load) -> Window:
    """One run's raw times, summed up and judged for noise."""
    seconds = (measured.ended - measured.began) / 1e9
    latency = Histogram(nanoseconds // 1000 for nanoseconds in measured.latencies)
    lag = Histogram(nanoseconds // 1000 for nanoseconds in measured.lags).percentile(99) / 1e3
    driver = _waited(before.driver, after.driver, seconds)
    target = _waited(before.target, after.target, seconds)
    stolen = None
    if before.stolen is not None and after.stolen is not None:
        stolen = (after.stolen - before.stolen) / seconds
    cpu = None
    if before.target is not None and after.target is not None:
        cpu = (after.target.cpu - before.target.cpu) * 1e3 / max(1, len(measured.latencies))
    return Window(
        requests=len(measured.latencies),
        p50_ms=latency.percentile(50) / 1e3,
        p90_ms=latency.percentile(90) / 1e3,
        p99_ms=latency.percentile(99) / 1e3,
        p999_ms=latency.percentile(99.9) / 1e3,
        max_ms=latency.max / 1e3,
        mean_ms=round(latency.mean() / 1e3, 4),
        answered_per_second=round((len(measured.latencies) - sum(measured.failures.values())) / seconds, 1),
        failures=measured.failures,
        denied=measured.denied,
        lag_p99_ms=lag,
        driver_waited=driver,
        target_waited=target,
        stolen=stolen,
        target_cpu_ms=None if cpu is None else round(cpu, 4),
        target_rss_mb=round(after.rss / 1e6, 1) if after.rss else None,
        void=_void(lag, driver, target, stolen, load.limit),
    )


def _void(lag: float, driver: float | None, target: float | None, stolen: float | None, limit: float) -> list[str]:
    """All that makes the window say nothing about the target."""
    reasons = [
        f"{who} {share:.1%} of the time (below {WAITED_MAX:.0%} counts)"
        for who, share in (
            ("the driver waited for a CPU", driver),
            ("the target waited for a CPU", target),
            ("the hypervisor took a CPU away", stolen),
        )
        if share is not None and share >= WAITED_MAX
    ]
    if lag > limit * 1e3 * LAG_SHARE:
        reasons.append(f"the driver sent {lag:.2f} ms late (p99; up to {limit * 1e3 * LAG_SHARE:.2f} ms counts)")
    return reasons


def _waited(before: machine.Usage | None, after: machine.Usage | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return round(machine.waited_share(before, after, seconds), 5)


def _orders(bodies: int, load: Load) -> Iterator[Callable[[float], list[int]]]:
    """For each stretch, what makes its order from its length in seconds."""
    rng = random.Random(load.seed)  # noqa: S311 (reproducible, nothing secret)
    while True:
        yield lambda seconds: [rng.randrange(bodies) for _ in range(max(1, round(seconds * load.rate)))]
