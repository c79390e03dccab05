"""Which windows count, what they say, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webhook.bench import gate, machine
from webhook.bench.driver import Measured, Pool
from webhook.bench.gate import Load, Verdict, Window
from webhook.cli import main

MS = 1_000_000
QUIET = gate._Account(machine.Usage({1: 0}, 0.0), machine.Usage({1: 0, 2: 0}, 0.0), 0.0, 0)


def measured(
    latencies: list[int], *, lags: list[int] | None = None, failures: dict[str, int] | None = None, seconds: int = 10
) -> Measured:
    return Measured(
        latencies=latencies,
        lags=lags or [0] * len(latencies),
        failures=failures or {},
        denied=0,
        began=0,
        ended=seconds * 1_000 * MS,
    )


def account(*, driver: float = 0.0, target: float = 0.0, stolen: float = 0.0, cpu: float = 0.0) -> gate._Account:
    """After a window of 10 s: the shares of it that each waited."""
    waited = {1: int(driver * 10e9)}, {1: 0, 2: int(target * 10e9)}
    return gate._Account(machine.Usage(waited[0], 0.0), machine.Usage(waited[1], cpu), stolen * 10, 50_000_000)


def of(p99: float, *, void: bool = False) -> Window:
    window = gate.window(measured([int(p99 * MS)] * 100), QUIET, account(driver=0.5 if void else 0), Load())
    assert bool(window.void) is void
    return window


def test_percentiles_of_a_window() -> None:
    latencies = [1 * MS] * 9_000 + [4 * MS] * 890 + [20 * MS] * 100 + [100 * MS] * 10
    window = gate.window(measured(latencies), QUIET, account(cpu=3.0), Load())
    assert (window.p50_ms, window.max_ms) == (1.0, 100.0)
    assert window.p99_ms == pytest.approx(20, rel=0.001)
    assert window.p90_ms == 1.0
    assert window.p999_ms == pytest.approx(20, rel=0.001)
    assert (window.requests, window.answered_per_second) == (10_000, 1000.0)
    assert (window.target_cpu_ms, window.target_rss_mb) == (0.3, 50.0)


def test_failures_are_not_answers() -> None:
    window = gate.window(measured([MS] * 100, failures={"timeout": 40}), QUIET, account(), Load())
    assert window.answered_per_second == 6.0


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (account(driver=0.02), "the driver waited for a CPU 2.0% of the time"),
        (account(target=0.03), "the target waited for a CPU 3.0% of the time"),
        (account(stolen=0.05), "the hypervisor took a CPU away 5.0% of the time"),
    ],
)
def test_a_window_of_a_busy_machine_is_void(after: gate._Account, says: str) -> None:
    (reason,) = gate.window(measured([MS] * 100), QUIET, after, Load()).void
    assert reason.startswith(says)


def test_a_little_waiting_is_normal() -> None:
    assert (
        gate.window(measured([MS] * 100), QUIET, account(driver=0.019, target=0.019, stolen=0.019), Load()).void == []
    )


def test_a_late_driver_makes_a_window_void() -> None:
    lags = [0] * 900 + [2 * MS] * 100
    (reason,) = gate.window(measured([MS] * 1000, lags=lags), QUIET, account(), Load(limit=0.010)).void
    assert reason.startswith("the driver sent 2.00 ms late")
    assert gate.window(measured([MS] * 1000, lags=lags), QUIET, account(), Load(limit=0.100)).void == []


def test_where_the_system_tells_nothing_only_the_lag_judges() -> None:
    nothing = gate._Account(None, None, None, 0)
    window = gate.window(measured([MS] * 100), nothing, nothing, Load())
    assert (window.driver_waited, window.target_waited, window.stolen, window.target_cpu_ms) == (None,) * 4
    assert window.void == []


@pytest.mark.parametrize(
    ("windows", "verdict", "best"),
    [
        ([of(5), of(12), of(11)], Verdict.FINE, 5),
        ([of(15), of(12), of(11)], Verdict.TOO_SLOW, 11),
        ([of(10)], Verdict.TOO_SLOW, 10),
        ([of(5, void=True), of(12)], Verdict.TOO_SLOW, 12),
        ([of(50, void=True), of(9)], Verdict.FINE, 9),
        ([of(5, void=True), of(50, void=True)], Verdict.VOID, None),
    ],
)
def test_the_best_window_that_counts_decides(windows: list[Window], verdict: Verdict, best: float | None) -> None:
    report = gate.judge(windows, Load(limit=0.010), connections=50)
    assert report.verdict is verdict
    assert (None if report.best is None else round(report.best.p99_ms)) == best


def test_every_window_has_its_own_order_and_a_seed_repeats_them() -> None:
    def orders(seed: int) -> list[list[int]]:
        makers = gate._orders(250, Load(seed=seed, rate=100))
        return [next(makers)(1.0) for _ in range(3)]

    assert orders(1) == orders(1) != orders(2)
    first, second, _ = orders(1)
    assert first != second
    assert len(first) == 100


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command against a real target, with measurements that a test made up."""

    def use(result: Measured) -> None:
        monkeypatch.setattr(Pool, "drive", lambda *_, **__: result)
        monkeypatch.setattr(machine, "usage", lambda pid: machine.Usage({1: 0}, 0.0))
        monkeypatch.setattr(machine, "stolen", lambda: 0.0)

    return use


def bench(webhook: Any, *more: str) -> int:
    quick = ["--duration", "1s", "--warmup", "0s", "--windows", "1", "--cpu", "-1"]
    return main(["bench", "--url", webhook.url("/ok"), "--ca", str(webhook.ca), *quick, *more])


@pytest.mark.parametrize(
    ("result", "code", "says"),
    [
        (measured([MS] * 100), 0, "fine: p99 1.00 ms is below the limit of 10 ms"),
        (measured([12 * MS] * 100), 1, "TOO SLOW: p99 12.00 ms is not below the limit of 10 ms"),
        (measured([MS] * 100, lags=[5 * MS] * 100), 3, "NO VERDICT: every window is void"),
        (measured([2_000 * MS] * 100, failures={"status 503": 100}), 1, "window 1: 100 × status 503"),
    ],
)
def test_exit_codes(
    webhook: Any, synthetic: Any, capsys: pytest.CaptureFixture[str], result: Measured, code: int, says: str
) -> None:
    synthetic(result)
    assert bench(webhook) == code
    assert says in capsys.readouterr().out
    assert bench(webhook, "--output", "json") == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["exit_code"] == code
    assert printed["verdict"] == {0: "fine", 1: "too slow", 3: "void"}[code]
    assert len(printed["windows"]) == 1


def test_a_real_run(webhook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # A limit that no machine misses: what is tried is the whole way, not the speed.
    code = bench(webhook, "--rate", "100", "--p99", "30s", "--pid", str(webhook.pid), "--output", "json")
    printed = json.loads(capsys.readouterr().out)
    (window,) = printed["windows"]
    assert code in (0, 3), "3 on a machine that is busy just now"
    assert (window["requests"], window["failures"], window["denied"]) == (100, {}, 0)
    assert 0 < window["p50_ms"] <= window["p90_ms"] <= window["p99_ms"] <= window["p999_ms"]
    assert window["target_cpu_ms"] > 0
    assert window["target_rss_mb"] > 1


def test_the_users_own_corpus(webhook: Any, synthetic: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"x","operation":"CREATE"}}\n'
    )
    synthetic(measured([MS] * 100))
    assert bench(webhook, "--corpus", str(file)) == 0
    assert "corpus: 1 reviews" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--pid", "999999999"], "--pid 999999999: no such process here"),
        (["--cpu", "4096"], "--cpu 4096: not usable here"),
        (["--ca", "/nonexistent/ca.crt"], "--ca /nonexistent/ca.crt: no such file or directory"),
        (["--corpus", "/nonexistent/c.jsonl"], "/nonexistent/c.jsonl: no such file or directory"),
        (["--url", "http://127.0.0.1/"], "expected an https address"),
    ],
)
def test_what_cannot_run_is_exit_2(
    webhook: Any, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    assert bench(webhook, *flags) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--p99", "10"], ["--rate", "0"], ["--rate", "x"], ["--windows", "0"], ["--duration", "0s"]]
)
def test_wrong_flags(webhook: Any, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench(webhook, *flags)
    assert caught.value.code == 2
    assert "expected" in capsys.readouterr().err
