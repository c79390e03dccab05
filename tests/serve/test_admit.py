"""The bounds of the review path: time, bytes, waiting, clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from webhook.policy import Context, Finding, Verdict
from webhook.policyset import PolicySet
from webhook.review import GroupVersionKind, GroupVersionResource, Request
from webhook.serve.admit import (
    ARRIVED,
    BUDGET_MAX,
    TIMEOUT_DEFAULT,
    UID_BYTES,
    Admission,
    Limits,
    Serving,
    timeout_of,
    work_clock,
)

KIND = GroupVersionKind()
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def passes(context: Context) -> Verdict:
    return Verdict()


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (b"timeout=2s", 2.0),
        (b"timeout=30s", 30.0),
        (b"timeout=1m0s", TIMEOUT_DEFAULT),
        (b"timeout=1m", TIMEOUT_DEFAULT),
        (b"timeout=500ms", 0.5),
        (b"timeout=1.5s", 1.5),
        (b"a=b&timeout=3s&c=d", 3.0),
        (b"atimeout=3s", TIMEOUT_DEFAULT),
        (b"timeout=3", TIMEOUT_DEFAULT),
        (b"timeout=-3s", TIMEOUT_DEFAULT),
        (b"timeout=0s", TIMEOUT_DEFAULT),
        (b"timeout=" + b"9" * 400 + b"s", TIMEOUT_DEFAULT),
        (b"timeout=\xff", TIMEOUT_DEFAULT),
        (b"", TIMEOUT_DEFAULT),
    ],
)
def test_timeout(query: bytes, seconds: float) -> None:
    assert [timeout_of(query) for _ in range(2)] == [seconds, seconds]


def test_many_timeouts_are_not_remembered_for_ever() -> None:
    from webhook.serve import admit

    for number in range(1_000):
        assert timeout_of(b"timeout=2s&n=%d" % number) == 2.0
    assert len(admit._timeouts) <= 64
    admit._timeouts.clear()
    assert timeout_of(b"timeout=2s&n=" + b"x" * 1_000_000) == timeout_of(b"timeout=2s") == 2.0
    assert list(admit._timeouts) == [b"timeout=2s"]


@pytest.mark.parametrize(
    ("configured", "query", "budget"),
    [
        (0.005, b"timeout=2s", 0.005),
        (0.4, b"timeout=500ms", 0.25),
        (9.0, b"timeout=30s", BUDGET_MAX),
        (0.4, b"", 0.4),
    ],
)
def test_work_stops_at_the_smallest_of_three(
    configured: float, query: bytes, budget: float, post: Any, review: Any, admission: Callable[..., Admission]
) -> None:
    """Configured, half of `?timeout=`, 500 ms. (The parameter is rounded up, so half of it is the most to rely on.)"""
    now = [100.0]

    def until(when: float) -> Callable[[Context], Verdict]:
        def run(context: Context) -> Verdict:
            now[0] = 100.0 + when
            return Verdict()

        return run

    limits = Limits(budget=configured)
    inside = admission(until(budget - 1e-6), passes, limits=limits, clock=lambda: now[0], cpu_clock=lambda: now[0])
    assert "incomplete" not in post(inside, review(), query=query).annotations
    now[0] = 100.0
    outside = admission(until(budget + 1e-6), passes, limits=limits, clock=lambda: now[0], cpu_clock=lambda: now[0])
    assert post(outside, review(), query=query).annotations["incomplete"] == "deadline|fake-1.example.com"


def test_a_busy_machine_does_not_cut_reviews_short() -> None:
    """Work is counted, not time that others had; but never more than the longest that the API server waits."""
    wall, cpu = [7.0], [3.0]
    clock = work_clock(0.005, 0.5, lambda: wall[0], lambda: cpu[0])
    assert clock() == 0.0
    wall[0], cpu[0] = 7.004, 3.001
    assert clock() == pytest.approx(0.004)
    wall[0], cpu[0] = 7.4, 3.002
    assert clock() == pytest.approx(0.002)
    wall[0], cpu[0] = 7.4, 3.006
    assert clock() == pytest.approx(0.006)
    wall[0] = 7.51
    assert clock() > 0.5


def test_a_review_in_pieces_is_evaluated(post: Any, review: Any, admission: Callable[..., Admission]) -> None:
    app = admission(passes)
    body = review()
    answer = post(app, *[body[n : n + 50] for n in range(0, len(body), 50)])
    assert answer.response["uid"] == UID
    assert "ran=1" in answer.annotations["reviewed"]
    assert (app.cells.in_flight, app.cells.bytes_in_flight) == (0, 0)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_size_bound_is_exact(extra: int, post: Any, review: Any, admission: Callable[..., Admission]) -> None:
    body = review()
    limits = Limits(body=len(body) - extra)
    whole = post(admission(passes, limits=limits), body).annotations
    pieces = post(admission(passes, limits=limits), body[:100], body[100:]).annotations
    assert whole == pieces
    assert whole.get("incomplete") == ("size" if extra else None)


def test_a_review_that_waited_too_long_is_admitted_unseen(post: Any, review: Any, admission: Any) -> None:
    app = admission(passes, clock=lambda: 50.0, limits=Limits(wait=0.1))
    answer = post(app, review(), scope={ARRIVED: 49.89})
    assert answer.annotations["incomplete"] == "shed"
    assert answer.response["uid"] == UID
    assert app.cells.incomplete["shed"] == 1
    assert "incomplete" not in post(app, review(), scope={ARRIVED: 49.91}).annotations


@pytest.mark.parametrize("limits", [Limits(requests=3), Limits(bytes=3_000)])
def test_too_much_in_flight_is_shed_but_whole_bodies_are_not(
    limits: Limits, review: Any, admission: Callable[..., Admission]
) -> None:
    """Slow senders hold the room; who comes with a whole body is evaluated all the same."""
    app = admission(passes, limits=limits)
    cells = app.cells
    body = review()

    async def scenario() -> list[bytes]:
        gate = asyncio.Event()
        sent: list[bytes] = []

        async def one(pieces: list[bytes], slow: bool) -> None:
            async def receive() -> Any:
                if slow and len(pieces) == 1:
                    await gate.wait()
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

            async def send(message: Any) -> None:
                sent.append(message.get("body", b""))

            await app({"query_string": b"", "headers": []}, receive, send)

        slow = [asyncio.create_task(one([body[:-5], body[-5:]], True)) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cells.in_flight == 6
        assert cells.bytes_in_flight <= limits.bytes + 6 * UID_BYTES
        await one([body], False)
        assert b"incomplete" not in sent[-1]
        sent.clear()
        gate.set()
        await asyncio.gather(*slow)
        return [each for each in sent if each]

    answers = asyncio.run(scenario())
    assert len(answers) == 6
    assert all(UID.encode() in answer and b'"allowed":true' in answer for answer in answers)
    shed = [answer for answer in answers if b'"incomplete":"shed"' in answer]
    assert 0 < len(shed) < 6
    assert cells.incomplete["shed"] == len(shed)
    assert (cells.in_flight, cells.bytes_in_flight) == (0, 0)


def test_a_body_that_does_not_come_in_time_is_answered(post: Any, review: Any, admission: Any) -> None:
    app = admission(passes)
    body = review()
    answer = post(app, body[:200], body[200:], query=b"timeout=50ms", waits=30.0)
    assert answer.response["uid"] == UID
    assert answer.annotations["incomplete"] == "undecodable"
    assert answer.headers["connection"] == "close"
    assert (app.cells.in_flight, app.cells.bytes_in_flight) == (0, 0)


def test_a_uid_in_later_pieces_is_found_in_shed_bodies(post: Any, review: Any, admission: Any) -> None:
    app = admission(passes, limits=Limits(requests=0))
    body = review()
    answer = post(app, *[body[n : n + 7] for n in range(0, len(body), 7)])
    assert answer.annotations["incomplete"] == "shed"
    assert answer.response["uid"] == UID


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_client_that_leaves(pieces: int, call: Any, review: Any, admission: Any) -> None:
    app = admission(passes)
    body = review()
    assert call(app, *[body[:50]] * pieces, leaves=True) is None
    assert app.cells.aborted == 1
    assert (app.cells.in_flight, app.cells.bytes_in_flight) == (0, 0)


def test_answers_say_close_while_draining(post: Any, review: Any, admission: Any) -> None:
    app = admission(passes)
    assert "connection" not in post(app, review()).headers
    app.draining = True
    assert post(app, review()).headers["connection"] == "close"


def test_policies_are_replaced_as_one(post: Any, review: Any, policy: Any) -> None:
    app = Admission(Serving(policies=PolicySet(())))
    before = post(app, review()).annotations["reviewed"]
    app.serving = Serving(policies=PolicySet([policy(passes)]))
    assert post(app, review()).annotations["reviewed"] != before


def test_what_is_counted(post: Any, review: Any, admission: Any) -> None:
    def finds(context: Context) -> Verdict | None:
        if context.request.namespace == "calm":
            return None
        return Verdict(
            findings=(
                Finding(policy="fake-0.example.com", message="no"),
                Finding(policy="fake-0.example.com", message="error", error=True),
            )
        )

    app = admission(finds)
    post(app, review())
    post(app, review(operation="UPDATE", namespace="calm"))
    post(app, b"{")
    assert app.cells.reviews == {
        ("CREATE", "configmaps", "would_block"): 1,
        ("UPDATE", "configmaps", "unmatched"): 1,
        ("", "", "incomplete"): 1,
    }
    assert app.cells.findings == {"fake-0.example.com": 1}
    assert app.cells.policy_errors == {"fake-0.example.com": 1}
    assert sum(app.cells.latency.counts) == 3


def test_warnings_can_be_muted(post: Any, review: Any, policy: Any) -> None:
    def finds(context: Context) -> Verdict:
        return Verdict(findings=(Finding(policy="fake.example.com", message="no"),))

    for warn in (True, False):
        answer = post(Admission(Serving(policies=PolicySet([policy(finds)]), warn=warn)), review())
        assert ("warnings" in answer.response) is warn
        assert "violations" in answer.annotations


def test_names_that_clients_invent_do_not_stay_in_memory(post: Any, review: Any, admission: Any) -> None:
    app = admission(passes)
    policies = app.serving.policies
    for resource in ("x" * 100_000, "short"):
        named = {"group": "", "version": "v1", "resource": resource}
        answer = post(app, review(resource=named, requestResource=named))
        assert "ran=1" in answer.annotations["reviewed"]
    assert [key[2] for key in policies._dispatch] == ["short"]
    for number in range(4_100):
        policies.candidates(
            Request(uid="", kind=KIND, resource=GroupVersionResource("", "v1", f"r{number}"), operation="CREATE")
        )
    assert 0 < len(policies._dispatch) <= 4_096
    policies.candidates(Request(uid="", kind=KIND, resource=GroupVersionResource("", "v1", "late"), operation="CREATE"))
    assert ("", "v1", "late", "", "CREATE") in policies._dispatch


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_an_object_that_has_fields_like_a_reviews_is_judged_whole(
    operation: str, post: Any, review: Any, admission: Any
) -> None:
    seen: list[Any] = []

    def looks(context: Context) -> Verdict:
        seen.append((context.object, context.old_object))
        return Verdict()

    inner = {"spec": {"a": {"object": {}, "oldObject": {"x": 1}}, "dryRun": False, "options": {}}, "tail": {}}
    old: Any = None if operation == "CREATE" else {"spec": {"oldObject": {}}}
    answer = post(admission(looks), review(operation=operation, object=inner, oldObject=old))
    assert seen == [(inner, old)]
    assert "incomplete" not in answer.annotations
