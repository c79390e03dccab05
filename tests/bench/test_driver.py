"""What the driver makes of each way a target can answer, and that a target's pause is charged to it in full."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from webhook.bench import corpus
from webhook.bench.driver import Measured, Pool, prepare
from webhook.bench.histogram import Histogram
from webhook.bench.target import target
from webhook.errors import UserError

REVIEWS = corpus.generate(1, count=8)


def drive(
    webhook: Any, path: str, *, count: int = 40, rate: float = 400.0, connections: int = 4, timeout: float = 5.0,
    reviews: Sequence[corpus.Review] = REVIEWS, meanwhile: threading.Thread | None = None,
) -> Measured:  # fmt: skip
    # The probe goes where answers are right, the measured requests to `path`.
    good = target(webhook.url("/ok"), ca=webhook.ca)
    asked = target(webhook.url(path), ca=webhook.ca, timeout=timeout)
    with Pool(good, connections) as pool:
        pool.open(reviews[0], 10)
        order = [index % len(reviews) for index in range(count)]
        if meanwhile is not None:
            meanwhile.start()
        return pool.drive(prepare(asked, reviews), order, rate=rate, timeout=timeout)


@pytest.mark.parametrize("path", ["/ok", "/chunked", "/close", "/slow"])
def test_proper_answers(webhook: Any, path: str) -> None:
    measured = drive(webhook, path)
    assert measured.failures == {}
    assert (len(measured.latencies), measured.denied) == (40, 0)
    assert all(0 < latency < 5e9 for latency in measured.latencies)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/status", "status 503"),
        ("/uid", "wrong uid"),
        ("/html", "not an AdmissionReview"),
        ("/hangup", "closed"),
    ],
)
def test_every_other_answer_counts_with_the_timeout(webhook: Any, path: str, kind: str) -> None:
    measured = drive(webhook, path)
    assert measured.failures == {kind: 40}
    assert set(measured.latencies) == {5_000_000_000}


def test_what_is_not_http(webhook: Any) -> None:
    measured = drive(webhook, "/garbage", count=4)
    assert sum(measured.failures.values()) == 4
    assert all(kind.startswith("not HTTP") for kind in measured.failures)


def test_silence(webhook: Any) -> None:
    # Two connections: some requests are under way and others never get one.
    measured = drive(webhook, "/silent", count=12, connections=2, timeout=0.2)
    assert sum(measured.failures.values()) == 12
    assert set(measured.failures) <= {"timeout", "timeout before a connection was free"}
    assert measured.failures["timeout"] >= 2
    assert set(measured.latencies) == {200_000_000}


def test_denials_are_answers(webhook: Any) -> None:
    measured = drive(webhook, "/deny")
    assert (measured.failures, measured.denied) == ({}, 40)


def test_large_bodies_pass_in_pieces(webhook: Any) -> None:
    large = sorted(corpus.generate(1), key=corpus.Review.size)[-2:]
    assert large[-1].size() > 300_000
    assert drive(webhook, "/ok", count=20, rate=200, connections=2, reviews=large).failures == {}


def test_a_target_that_ends_is_survived(webhook: Any) -> None:
    killer = threading.Timer(1.5, webhook.process.kill)
    measured = drive(webhook, "/ok", count=400, rate=200.0, timeout=0.3, meanwhile=killer)
    killer.join()
    assert len(measured.latencies) == 400
    failed = sum(measured.failures.values())
    assert 0 < failed < 400
    assert measured.latencies.count(300_000_000) >= failed


def test_a_paused_target_is_charged_for_every_review_that_came_meanwhile(webhook: Any) -> None:
    """Open loop: the percentiles are those computed by hand from when the target stood still.

    A closed loop would send one request a connection into the pause and see p90 untouched.
    """
    rate, count, connections = 500.0, 1000, 10
    paused: list[int] = []

    def pause() -> None:
        time.sleep(0.5)
        os.kill(webhook.pid, signal.SIGSTOP)
        paused.append(time.perf_counter_ns())
        time.sleep(0.5)
        paused.append(time.perf_counter_ns())
        os.kill(webhook.pid, signal.SIGCONT)

    thread = threading.Thread(target=pause)
    measured = drive(webhook, "/ok", count=count, rate=rate, connections=connections, meanwhile=thread)
    thread.join()
    assert measured.failures == {}

    stopped, resumed = paused
    due = [measured.began + int(index * 1e9 / rate) for index in range(count)]
    by_hand = Histogram(max(0, resumed - at) // 1000 if at >= stopped else 0 for at in due)
    in_pause = [index for index, at in enumerate(due) if stopped <= at < resumed]
    assert len(in_pause) > 10 * connections, "the pause must hold many more requests than there are connections"
    seen = Histogram(latency // 1000 for latency in measured.latencies)
    # Nobody is answered by a process that stands still, so what was computed is a lower bound for each request and
    # each percentile; half a millisecond is for an answer that was already in the socket.
    assert all(measured.latencies[index] >= resumed - due[index] - 500_000 for index in in_pause[connections:])
    for percent in (80, 90, 95, 99):
        assert seen.percentile(percent) >= by_hand.percentile(percent) - 500
    # And not much above it: at most what this machine added to the slowest request outside the pause, plus the queue.
    outside = max(measured.latencies[index] for index, at in enumerate(due) if at < stopped - 50_000_000) // 1000
    queue = (max(measured.latencies[index] - (resumed - due[index]) for index in in_pause)) // 1000
    for percent in (90, 95, 99):
        assert seen.percentile(percent) <= by_hand.percentile(percent) * 1.001 + outside + queue + 1000
    assert by_hand.percentile(99) > 350_000


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/status", "status 503; the webhook's path is part of --url"),
        ("/uid", "wrong uid; the answer must be an AdmissionReview whose response.uid is the request's"),
        ("/html", "not an AdmissionReview"),
        ("/hangup", "closed; the target hung up"),
    ],
)
def test_a_wrong_target_is_known_before_anything_is_measured(webhook: Any, path: str, says: str) -> None:
    with Pool(target(webhook.url(path), ca=webhook.ca), 2) as pool, pytest.raises(UserError) as caught:
        pool.open(REVIEWS[0], 10)
    assert says in str(caught.value)
    assert webhook.url(path) in str(caught.value)


def test_nothing_listens(webhook: Any, start_webhook: Callable[[], Any]) -> None:
    webhook.process.kill()
    webhook.process.wait()
    with (
        Pool(target(webhook.url("/ok"), ca=webhook.ca), 2) as pool,
        pytest.raises(UserError, match="ECONNREFUSED; noth"),
    ):
        pool.open(REVIEWS[0], 10)


def test_certificate_of_another_authority(webhook: Any) -> None:
    with Pool(target(webhook.url("/ok")), 1) as pool, pytest.raises(UserError, match=r"self-signed.*give the CA.*--ca"):
        pool.open(REVIEWS[0], 10)


def test_certificate_for_another_name(webhook: Any) -> None:
    wrong = target(webhook.url("/ok"), ca=webhook.ca, server_name="other.svc")
    with Pool(wrong, 1) as pool, pytest.raises(UserError, match=r"other\.svc.*--server-name"):
        pool.open(REVIEWS[0], 10)


def test_server_name_is_verified_instead_of_the_address(webhook: Any) -> None:
    service = target(webhook.url("/ok"), ca=webhook.ca, server_name="wh.wb.svc")
    assert b"\r\nHost: wh.wb.svc:" in service.head
    with Pool(service, 1) as pool:
        pool.open(REVIEWS[0], 10)


@pytest.mark.parametrize("url", ["http://127.0.0.1/validate", "127.0.0.1:8443", "https://", "https://127.0.0.1:x/"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UserError, match="--url"):
        target(url)


def test_an_authority_file_without_a_certificate(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    with pytest.raises(UserError, match=r"--ca .*no such file"):
        target("https://127.0.0.1/", ca=file)
    file.write_text("nothing\n")
    with pytest.raises(UserError, match=r"--ca .*expected PEM"):
        target("https://127.0.0.1/", ca=file)
