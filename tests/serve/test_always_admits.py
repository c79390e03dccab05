"""Whatever comes in: HTTP 200, `allowed: true`, the uid if there is one, an annotation, a metric and a log line."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webhook import respond as respond_module
from webhook import review as review_module
from webhook.policy import Context, Finding, Outcome, Verdict
from webhook.policyset import PolicySet
from webhook.serve import admit as admit_module
from webhook.serve.admit import Admission, Serving

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"

Post = Callable[..., Any]


def assert_admits(answer: Any, uid: str | None = None) -> None:
    """The API server reads an answer without a literal `allowed: true` as a denial."""
    assert answer.status == 200
    assert b'"allowed":true' in answer.body
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["content-type"] == "application/json"
    assert not {"retry-after", "location"} & set(answer.headers)
    assert set(answer.json) == {"apiVersion", "kind", "response"}
    assert answer.json["apiVersion"] == "admission.k8s.io/v1"
    assert answer.json["kind"] == "AdmissionReview"
    assert answer.response["allowed"] is True
    assert not {"patch", "patchType", "status"} & set(answer.response)
    assert "reviewed" in answer.annotations
    if uid is not None:
        assert answer.response["uid"] == uid


START = f'{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"{UID}",'.encode()


def nested(levels: int) -> bytes:
    return START + b'"object":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}}"


GARBAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ""),
    "newline": (b"\n", ""),
    "empty object": (b"{}", ""),
    "null": (b"null", ""),
    "a list": (b"[]", ""),
    "a number": (b"42", ""),
    "bad JSON": (START + b'"kind":!}}', UID),
    "truncated": (START, UID),
    "truncated in the uid": (START[:-10], ""),
    "wrong type": (START + b'"kind":"ConfigMap","operation":7}}', UID),
    "unknown operation": (START + b'"kind":{},"resource":{},"operation":"PATCH"}}', UID),
    "no request": (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', ""),
    "request is null": (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}', ""),
    "no uid": (
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":'
        b'{"kind":{},"resource":{},"operation":"CREATE"}}',
        "",
    ),
    "uid is a number": (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":7}}', ""),
    "wrong kind": (START.replace(b"AdmissionReview", b"ConfigMap") + b'"kind":{}}}', UID),
    "wrong apiVersion": (START.replace(b"admission.k8s.io/v1", b"example.com/v7") + b'"kind":{}}}', UID),
    "uid behind everything": (b'{"request":{"object":{"x":"' + b"x" * 2_000 + f'"}},"uid":"{UID}"}}}}'.encode(), UID),
    "another uid before it": (b'{"request":{"userInfo":{"uid":"bob"},' + f'"uid":"{UID}"}}}}'.encode(), UID),
    "invalid UTF-8": (START + b'"name":"\xff\xfe","kind":{},"resource":{},"operation":"CREATE"}}', UID),
    "UTF-16": (START.decode().encode("utf-16"), ""),
    "lone surrogate": (START + b'"name":"\\ud800","kind":{},"resource":{},"operation":"CREATE"}}', UID),
    "a BOM": (b"\xef\xbb\xbf" + START + b'"kind":{},"resource":{},"operation":"CREATE"}}', UID),
    "NaN": (START + b'"kind":{},"resource":{},"operation":"CREATE","object":{"a":NaN}}}', UID),
    "infinite": (START + b'"kind":{},"resource":{},"operation":"CREATE","object":{"a":1e999}}}', UID),
    "duplicate keys": (START + b'"kind":{},"kind":7,"resource":{},"operation":"CREATE"}}', UID),
    "two documents": (START + b'"kind":{},"resource":{},"operation":"CREATE"}}{}', UID),
    "10,000 levels": (nested(10_000), UID),
    "100,000 levels, cut": (nested(100_000)[:500_000], UID),
    "deep lists": (START + b'"object":' + b"[" * 200_000, UID),
    "zeros": (b"\0" * 4096, ""),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\3", ""),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(name: str, post: Post, admission: Callable[..., Admission]) -> None:
    body, uid = GARBAGE[name]
    lines: list[dict[str, Any]] = []
    app = admission(touch, log=lambda event, **fields: lines.append({"event": event} | fields))
    answer = post(app, body)
    assert_admits(answer, uid)
    if name in ("NaN", "infinite", "lone surrogate", "10,000 levels"):
        return  # readable as a review or not: an object is raw until a policy asks
    assert answer.annotations["incomplete"] == "undecodable"
    assert app.cells.incomplete["undecodable"] == 1
    assert [(line["event"], line["reason"]) for line in lines] == [("review_incomplete", "undecodable")]


def touch(context: Context) -> Verdict:
    """A policy that reads everything there is."""
    _ = context.object, context.old_object
    return Verdict()


def test_duplicate_keys_and_unknown_fields_are_read_as_the_api_server_does(post: Post, review: Any) -> None:
    app = Admission(Serving(policies=PolicySet(())))
    body = review().replace(b'"uid":', b'"surprise":[1],"uid":"first","uid":', 1)
    answer = post(app, body)
    assert_admits(answer, UID)
    assert "incomplete" not in answer.annotations


def test_v1beta1_gets_its_own_version_back(post: Post, review: Any) -> None:
    """We register v1 alone; somebody's own configuration may still say v1beta1, whose answers are not converted."""
    answer = post(Admission(Serving(policies=PolicySet(()))), review().replace(b".io/v1", b".io/v1beta1", 1))
    assert answer.json["apiVersion"] == "admission.k8s.io/v1beta1"
    assert answer.response == {
        "uid": UID,
        "allowed": True,
        "auditAnnotations": {"reviewed": answer.annotations["reviewed"], "incomplete": "undecodable"},
    }


@pytest.mark.parametrize("megabytes", [1, 6, 32, 40])
def test_large_bodies_are_read_to_their_end_but_never_decoded(
    megabytes: int, post: Post, admission: Callable[..., Admission], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_module, "decode", forbidden)
    app = admission(touch)
    chunk = b"x" * 65_536
    answer = post(app, START, *[chunk] * (megabytes * 16), b'"}}')
    assert_admits(answer, UID)
    assert answer.annotations["incomplete"] == "size"
    assert app.cells.incomplete["size"] == 1
    assert app.cells.bytes_in_flight == 0


def forbidden(*args: object, **options: object) -> None:
    raise AssertionError("this must not be called")


def test_a_policy_that_raises(post: Post, admission: Callable[..., Admission], review: Any) -> None:
    def bad(context: Context) -> Verdict:
        raise KeyError("secret of the object")

    def good(context: Context) -> Verdict:
        return Verdict(findings=(Finding(policy="fake-1.example.com", message="no"),))

    lines: list[Any] = []
    app = admission(bad, good, log=lambda event, **fields: lines.append((event, fields)))
    answer = post(app, review())
    assert_admits(answer, UID)
    assert answer.annotations["internal_errors"] == "fake-0.example.com|KeyError"
    assert "fake-1.example.com" in answer.annotations["violations"]
    assert app.cells.internal_errors == {"fake-0.example.com": 1}
    assert lines[0][0] == "policy_failed"
    assert "secret" not in str(lines) + answer.body.decode()


@pytest.mark.parametrize("error", [RecursionError, MemoryError, AssertionError, StopIteration, UnicodeError])
def test_other_ways_to_fail(
    error: type[Exception], post: Post, admission: Callable[..., Admission], review: Any
) -> None:
    def bad(context: Context) -> Verdict:
        raise error

    answer = post(admission(bad), review())
    assert_admits(answer, UID)
    assert error.__name__ in answer.annotations["internal_errors"]


def test_a_policy_past_its_deadline(post: Post, admission: Callable[..., Admission], review: Any) -> None:
    now = [0.0]

    def slow(context: Context) -> Verdict:
        now[0] += 0.006
        return Verdict()

    lines: list[Any] = []
    app = admission(
        slow,
        slow,
        slow,
        clock=lambda: now[0],
        cpu_clock=lambda: now[0],
        log=lambda event, **fields: lines.append((event, fields)),
    )
    answer = post(app, review())
    assert_admits(answer, UID)
    assert answer.annotations["incomplete"] == "deadline|fake-1.example.com|fake-2.example.com"
    assert app.cells.incomplete["deadline"] == 1
    assert lines[0][1]["reason"] == "deadline"


@pytest.mark.parametrize("part", ["decode", "evaluate", "respond", "encode"])
@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), UnicodeEncodeError("utf-8", "x", 0, 1, "secret"), MemoryError()]
)
def test_our_own_bugs(
    part: str,
    error: Exception,
    post: Post,
    review: Any,
    admission: Callable[..., Admission],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    if part == "decode":
        monkeypatch.setattr(review_module, "decode", fail)
    elif part == "encode":
        monkeypatch.setattr("webhook.respond.annotate", fail)
    else:
        monkeypatch.setattr(admit_module, part, fail)
    lines: list[Any] = []
    app = admission(touch, log=lambda event, **fields: lines.append((event, fields)))
    answer = post(app, review())
    assert answer.status == 200
    assert b'"allowed":true' in answer.body
    assert answer.response["uid"] == UID
    assert "secret" not in str(lines) + answer.body.decode()
    assert lines
    assert sum(app.cells.internal_errors.values()) + app.cells.incomplete["undecodable"] == 1


@pytest.mark.parametrize("body", [b"{", START])
def test_a_bug_in_the_annotations_of_what_was_not_seen(
    body: bytes, post: Post, admission: Callable[..., Admission], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.respond.annotate", forbidden)
    app = admission(touch)
    answer = post(app, body)
    assert answer.status == 200
    assert answer.response == {"uid": UID if body == START else "", "allowed": True}
    assert app.cells.internal_errors


def test_a_server_that_fails_to_read(post: Post, admission: Callable[..., Admission]) -> None:
    async def fails() -> Any:
        raise RuntimeError("secret")

    async def exchange() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "http", "query_string": b"", "headers": []}, fails, send)
        return sent

    app = admission(touch)
    start, body = asyncio.run(exchange())
    assert start["status"] == 200
    assert (b"connection", b"close") in start["headers"]
    assert b'"allowed":true' in body["body"]
    assert app.cells.in_flight == 0


HOSTILE = [
    (b"traceparent", b"00-" + b"f" * 4_000),
    (b"traceparent", b"00-00000000000000000000000000000000-0000000000000000-00"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"traceparent", b"\xff\x00\xfe"),
    (b"tracestate", b"a=" + b"x" * 20_000),
    (b"baggage", b"password=hunter2," + b",".join(b"k%d=v" % i for i in range(1_000))),
    (b"authorization", b"Bearer hunter2"),
    (b"x-unknown", b"hunter2" * 2_000),
]


@pytest.mark.parametrize("header", HOSTILE, ids=lambda header: header[0].decode())
@pytest.mark.parametrize("traced", [False, True])
def test_hostile_headers(
    header: tuple[bytes, bytes], traced: bool, post: Post, review: Any, admission: Callable[..., Admission]
) -> None:
    from webhook.serve.telemetry import Tracing, _log_exporter

    lines: list[Any] = []
    app = admission(touch, log=lambda event, **fields: lines.append((event, fields)))
    tracing = Tracing(_log_exporter(app._log), version="0", batch=False) if traced else None
    app.tracer = tracing
    answer = post(app, review(), headers=[header])
    assert_admits(answer, UID)
    assert "incomplete" not in answer.annotations
    assert "hunter2" not in str(lines) + answer.body.decode()
    assert [event for event, _ in lines] == (["span"] if traced else [])
    if tracing:
        tracing.close()


def test_a_tracer_that_fails(post: Post, review: Any, admission: Callable[..., Admission]) -> None:
    app = admission(touch)

    def broken(headers: object) -> Any:
        raise RuntimeError

    app.tracer = broken
    assert_admits(post(app, review()), UID)


def stopped() -> float:
    """A clock for tests in which time is no question: a slow machine must not make a review incomplete."""
    return 0.0


QUERIES = [b"", b"timeout=", b"timeout=x", b"timeout=-1s", b"timeout=0s", b"timeout=1e9s", b"a=b&timeout=2s&c", b"\xff"]


@pytest.mark.parametrize("query", QUERIES)
def test_any_query(query: bytes, post: Post, review: Any, admission: Callable[..., Admission]) -> None:
    answer = post(admission(touch, clock=stopped), review(), query=query)
    assert_admits(answer, UID)
    assert "incomplete" not in answer.annotations


@pytest.mark.parametrize("file", ["reviews.jsonl", "recorded.jsonl"])
def test_every_review_of_the_corpus(file: str, corpora: Path, post: Post, admission: Callable[..., Admission]) -> None:
    """Every operation and subresource; the same review twice gives the same bytes, while there is time for it."""
    app = admission(touch, clock=stopped)

    async def all_of_them() -> int:
        count = 0
        for line in (corpora / "reviews" / file).read_bytes().splitlines():
            answer, again = [await exchange_of(app, line) for _ in range(2)]
            assert answer == again
            assert b'"allowed":true' in answer
            response = json.loads(answer)["response"]
            assert response["uid"] == json.loads(line)["request"]["uid"]
            assert "internal_errors" not in response["auditAnnotations"]
            count += 1
        return count

    assert asyncio.run(all_of_them()) > 200
    assert not app.cells.internal_errors


async def exchange_of(app: Any, body: bytes, query: bytes = b"timeout=2s") -> bytes:
    """The body of the answer to a whole body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "query_string": query, "headers": []}, receive, send)
    assert sent[0]["status"] == 200
    answer: bytes = sent[1]["body"]
    return answer


text = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
uids = st.from_regex(r"\A[0-9a-f-]{36}\Z")
good_requests = st.fixed_dictionaries(
    {
        "uid": uids,
        "kind": st.fixed_dictionaries({"group": text, "version": text, "kind": text}),
        "resource": st.fixed_dictionaries({"group": text, "version": text, "resource": text}),
        "operation": st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT"]),
        "userInfo": st.fixed_dictionaries({"username": text}),
        "object": json_values,
        "oldObject": json_values,
        "dryRun": st.booleans() | st.none(),
    },
    optional={"name": text, "namespace": text, "subResource": text, "options": json_values, "surprise": json_values},
)
FIELDS = ["kind", "resource", "operation", "userInfo", "object", "oldObject", "dryRun", "name", "subResource"]


def encode(value: object) -> bytes:
    """As Go never writes it: NaN, big integers and lone surrogates go out as they are."""
    return json.dumps(value).encode()


def uid_first(request: dict[str, Any]) -> dict[str, Any]:
    """As the API server writes it; what is no JSON at all, such as NaN, has its uid recovered from the beginning."""
    return {"uid": request["uid"]} | request


def reviews(requests: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda request: {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": uid_first(request)},
        requests,
    )


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, str]:
    """A review with some fields replaced by anything, and its uid."""
    review = draw(reviews(good_requests))
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        review["request"][field] = draw(json_values)
    return encode(review), review["request"]["uid"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The bytes of a review with a piece cut out, put in or doubled."""
    body = encode(draw(reviews(good_requests)))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    return body[:start] + draw(st.binary(max_size=8)) + body[end:]


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def everything(context: Context) -> Verdict:
    """A policy that trips over many objects, and finds something in the others."""
    name = context.object["metadata"]["name"]
    return Verdict(findings=(Finding(policy="fake.example.com", message=name),))


def subject() -> Admission:
    from webhook.policy import Match, Metadata, Policy, Rule

    match = Match(rules=(Rule(operations=("*",), groups=("*",), versions=("*",), resources=("*/*",)),))
    policies = [
        Policy(id=f"{run.__name__}.example.com", digest="0", meta=Metadata(title="t"), match=match, run=run)
        for run in (touch, everything)
    ]
    return Admission(Serving(policies=PolicySet(policies)))


@quick
@given(st.one_of(mutated(), reviews(good_requests).map(lambda review: (encode(review), review["request"]["uid"]))))
def test_any_review_is_admitted_with_its_uid(case: tuple[bytes, str]) -> None:
    body, uid = case
    answer = asyncio.run(exchange_of(subject(), body))
    assert b'"allowed":true' in answer
    assert json.loads(answer)["response"]["uid"] == uid


@quick
@given(st.one_of(damaged(), st.binary(max_size=300), json_values.map(encode)))
def test_any_bytes_are_admitted(body: bytes) -> None:
    answer = asyncio.run(exchange_of(subject(), body))
    assert b'"allowed":true' in answer
    assert json.loads(answer)["response"]["allowed"] is True


@quick
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6), st.binary(max_size=40))
def test_any_cut_into_chunks_is_admitted(chunks: Sequence[bytes], query: bytes) -> None:
    left = list(chunks)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    app = subject()
    asyncio.run(app({"type": "http", "query_string": query, "headers": []}, receive, send))
    assert sent[0]["status"] == 200
    assert b'"allowed":true' in sent[1]["body"]
    assert app.cells.in_flight == app.cells.bytes_in_flight == 0


def test_two_threads_one_policy_set(review: Any, admission: Callable[..., Admission]) -> None:
    """Nothing of one review is left for another."""
    app = admission(everything)
    bodies = [review(uid=f"uid-{n}", object={"metadata": {"name": f"name-{n}"}}) for n in range(2)]
    wrong: list[bytes] = []

    def hammer(n: int) -> None:
        for _ in range(200):
            answer = asyncio.run(exchange_of(app, bodies[n]))
            if f'"uid-{n}"'.encode() not in answer or f"name-{n}".encode() not in answer:
                wrong.append(answer)

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_outcome_that_denies_cannot_be_written() -> None:
    """The type has one value for `allowed`; the encoder writes it for any outcome."""
    import typing

    from webhook.review import Response

    assert typing.get_type_hints(Response)["allowed"] == typing.Literal[True]
    findings = tuple(Finding(policy=f"p{n}", message="x" * 10_000, error=bool(n % 2)) for n in range(50))
    assert b'"allowed":true' in respond_module.admit("u", Outcome(findings=findings))
