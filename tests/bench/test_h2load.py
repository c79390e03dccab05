"""Cross-check with an independent load generator: h2load (Debian package nghttp2-client) sees the same latency."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from webhook.bench import corpus, machine
from webhook.bench.driver import Pool, prepare
from webhook.bench.gate import WAITED_MAX
from webhook.bench.histogram import Histogram
from webhook.bench.target import target

pytestmark = pytest.mark.bench

CLIENTS, SECONDS, RATE_EACH = 20, 4, 20
REVIEW = corpus.reference()


@pytest.mark.parametrize("path", ["/slow", "/ok"])
def test_the_same_target_the_same_latency(webhook: Any, tmp_path: Path, path: str) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed (apt-get install nghttp2-client): the driver was NOT cross-checked")
    for _ in range(3):
        before, began = machine.usage(webhook.pid), time.monotonic()
        theirs = h2load(webhook.url(path), tmp_path)
        ours = driver(webhook, path)
        after, seconds = machine.usage(webhook.pid), time.monotonic() - began
        quiet = before is None or after is None or machine.waited_share(before, after, seconds) < WAITED_MAX
        if quiet:
            break
    else:
        pytest.skip("the machine was busy, the target waited for a CPU: the driver was NOT cross-checked")
    said = f"{path}: ours p50 {ours.percentile(50)} µs p90 {ours.percentile(90)} µs; "
    said += f"h2load p50 {theirs.percentile(50)} µs p90 {theirs.percentile(90)} µs"
    print(said)
    assert theirs.count > 0.8 * CLIENTS * SECONDS * RATE_EACH, said
    if path == "/slow":
        # 30 ms of waiting in the target: the tools' own share is small, so both must say the same within 15 %.
        assert ours.percentile(50) == pytest.approx(theirs.percentile(50), rel=0.15), said
    else:
        # Some tenths of a millisecond: h2load sleeps between requests and wakes up late, ours spins.
        assert ours.percentile(50) < 1.5 * theirs.percentile(50) + 200, said
        assert theirs.percentile(50) < 5 * ours.percentile(50) + 1000, said


def h2load(url: str, folder: Path) -> Histogram:
    """Latencies in microseconds, from h2load's log: start, status, duration of each request."""
    body, log = folder / "review.json", folder / "h2load.log"
    body.write_bytes(REVIEW.body.filled("12345678-1234-4234-8234-123456789abc"))
    command = ["h2load", "--h1", "-c", str(CLIENTS), "-D", str(SECONDS), "--rps", str(RATE_EACH), "-t", "1"]
    command += ["-d", str(body), "-H", "content-type: application/json", f"--log-file={log}", url]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    return Histogram(int(duration) for _, status, duration in rows if status == "200")


def driver(webhook: Any, path: str) -> Histogram:
    where = target(webhook.url(path), ca=webhook.ca)
    with Pool(where, CLIENTS) as pool:
        pool.open(REVIEW, 10)
        rate = CLIENTS * RATE_EACH
        measured = pool.drive(prepare(where, [REVIEW]), [0] * (rate * SECONDS), rate=rate, timeout=2.0)
    assert measured.failures == {}
    return Histogram(latency // 1000 for latency in measured.latencies)
