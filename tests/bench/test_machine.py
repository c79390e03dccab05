"""The kernel's account of who ran and who waited."""

from __future__ import annotations

import os
import time

import pytest

from webhook.bench import machine


def test_own_usage_grows_with_work() -> None:
    before = machine.usage(os.getpid())
    if before is None:
        pytest.skip("no /proc/PID/task/*/schedstat here")
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    after = machine.usage(os.getpid())
    assert after is not None
    # The kernel books a running thread's time at its next tick.
    assert after.cpu - before.cpu > 0.03
    assert os.getpid() in after.waited


def test_the_thread_that_waited_longest_counts() -> None:
    before = machine.Usage({1: 100, 2: 0}, 0.0)
    after = machine.Usage({1: 100, 2: 500_000_000, 3: 20_000_000}, 0.0)
    assert machine.waited_share(before, after, 10.0) == 0.05
    assert machine.waited_share(before, machine.Usage({}, 0.0), 10.0) == 0.0


def test_no_such_process() -> None:
    assert machine.usage(999_999_999) is None
    assert machine.resident_bytes(999_999_999) == 0


def test_the_machine_has_a_name() -> None:
    assert "CPUs" in machine.describe()
    assert machine.resident_bytes(os.getpid()) > 1_000_000
    assert machine.cpus()


def test_pinned_for_a_while() -> None:
    before = machine.cpus()
    with machine.pinned(before[-1]) as done:
        assert machine.cpus() == ([before[-1]] if done else before)
    assert machine.cpus() == before
    with machine.pinned(4096) as done:
        assert not done
