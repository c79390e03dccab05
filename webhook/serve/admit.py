"""POST /validate: read the body within bounds, evaluate, answer. Always 200, always `allowed: true`.

Knows no files, settings, TLS or server. A review that cannot be made is answered all the same, with the uid out of
the raw bytes, and its reason becomes an annotation, a metric and a log line:

* `undecodable`: no AdmissionReview v1, or the body did not arrive in time
* `size`: larger than `Limits.body`; never decoded, for that would hold the interpreter for a tenth of a second
* `shed`: it has waited too long behind others, or too much is being held already

Bodies that arrive whole are evaluated at once and are never held, so slow senders cannot crowd them out.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from webhook import envelope, policy, review
from webhook.evaluate import evaluate
from webhook.exemptions import NO_EXEMPTIONS, Exemptions
from webhook.policyset import PolicySet
from webhook.respond import admit, respond
from webhook.serve.metrics import Cells, Incomplete, Outcome
from webhook.state import EMPTY, State

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

PATH = "/validate"

ARRIVED = "wouldblock.arrived"
"""Key of the ASGI scope: since when the request waits for its turn, in seconds of `time.monotonic`."""

TIMEOUT_DEFAULT = 30.0
"""Seconds that a body may take without `?timeout=`: the longest that a webhook may be given."""
BUDGET_MAX = 0.5
UID_BYTES = 512

_NO_REVIEW = (DecodeError, RecursionError, UnicodeError, OverflowError)
"""What decoding raises."""


class Serving(Struct, frozen=True, kw_only=True):
    """What reviews are answered from: replaced as one when policies are loaded anew."""

    policies: PolicySet
    state: State = EMPTY
    exemptions: Exemptions = NO_EXEMPTIONS
    warn: bool = True


class Limits(Struct, frozen=True, kw_only=True):
    """What one process holds, and for how long."""

    budget: float = 0.005
    """Seconds of work a review."""
    body: int = 512 * 1024
    """Bytes; a larger body is admitted as `size`."""
    requests: int = 512
    """Reviews whose body is still arriving."""
    bytes: int = 32 * 1024 * 1024
    """Bytes of bodies that are still arriving."""
    wait: float = 0.1
    """Seconds a review may have waited for its turn before it is admitted unseen."""


class Logger(Protocol):
    def __call__(self, event: str, *, level: Any = "info", **fields: object) -> None: ...


Recorder = Callable[[bytes, policy.Outcome, PolicySet], None]
"""Takes a body with what was found in it, to be written by somebody else. Raises nothing and never waits."""

Tracer = Callable[[Headers], AbstractContextManager[Callable[[str, Any], None]]]
"""Opens a span for a request with these headers; what it yields sets an attribute of the span."""


class Admission:
    """The review path, at once or as ASGI application. `serving` may be replaced at any time."""

    path = PATH.encode()

    def __init__(
        self,
        serving: Serving,
        *,
        limits: Limits | None = None,
        cells: Cells | None = None,
        log: Logger = lambda event, **fields: None,
        tracer: Tracer | None = None,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.serving = serving
        self.limits = limits or Limits()
        self.cells = cells or Cells()
        self.tracer = tracer
        self.recorder = recorder
        self.draining = False
        self._log = log
        self._clock = clock
        self._cpu_clock = cpu_clock

    def answer(self, body: bytes, *, query: bytes, headers: Headers, arrived: float, read: float) -> bytes:
        """The answer to a POST whose body is whole. Raises nothing. Its head `arrived` and its last byte was `read` at
        these times of our clock."""
        try:
            answer = self._whole(body, query, headers, read)
        except Exception as error:  # whatever it is, the writer behind the API server has nothing to do with it
            answer = self._failed(review.recover_uid(body), "read", error)
        self.cells.latency.add(self._clock() - arrived)
        return answer

    def hold(self, size: int, requests: int) -> bool:
        """Counts bytes and requests that are arriving, or no longer are; whether that is within the limits."""
        cells, limits = self.cells, self.limits
        cells.bytes_in_flight += size
        cells.in_flight += requests
        return cells.bytes_in_flight <= limits.bytes and cells.in_flight <= limits.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as ASGI, for bodies that come in pieces, and for every server but ours. Sends nothing only when the
        client has left; raises only what `send` does."""
        arrived = scope.get(ARRIVED, self._clock())
        query, headers = scope["query_string"], scope["headers"]
        cells = self.cells
        body, close = b"", False
        cells.in_flight += 1
        try:
            message = await receive()
            if message["type"] == "http.disconnect":
                cells.aborted += 1
                return
            body = message.get("body", b"")
            if message.get("more_body", False):
                body, lost, left = await self._rest(body, receive, timeout_of(query))
                if left:
                    cells.aborted += 1
                    return
                close = lost == "undecodable"
                answer = self._unseen(body, lost) if lost else self._review(body, query, headers)
            else:
                answer = self._whole(body, query, headers, arrived)
        except Exception as error:
            answer, close = self._failed(review.recover_uid(body), "read", error), True
        finally:
            cells.in_flight -= 1
        cells.latency.add(self._clock() - arrived)
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        if close or self.draining:
            fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": answer})

    def _whole(self, body: bytes, query: bytes, headers: Headers, read: float) -> bytes:
        if len(body) > self.limits.body:
            return self._unseen(body, "size")
        if self._clock() - read > self.limits.wait:
            return self._unseen(body, "shed")
        return self._review(body, query, headers)

    async def _rest(self, first: bytes, receive: Receive, seconds: float) -> tuple[bytes, Incomplete | None, bool]:
        """(body or its beginning, why it is not whole, whether the client left). What will not be evaluated is
        read to its end all the same: a client that is still writing may take an early answer for a broken pipe."""
        cells, limits = self.cells, self.limits
        kept = bytearray(first)
        held = len(kept)
        cells.bytes_in_flight += held
        lost: Incomplete | None = None
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more:
                    if lost is None and held > limits.body:
                        lost = "size"
                    elif lost is None and (cells.bytes_in_flight > limits.bytes or cells.in_flight > limits.requests):
                        lost = "shed"
                    if lost is not None and held > UID_BYTES:
                        del kept[UID_BYTES:]
                        cells.bytes_in_flight -= held - UID_BYTES
                        held = UID_BYTES
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return b"", None, True
                    if lost is None or held < UID_BYTES:
                        chunk = message.get("body", b"")
                        kept += chunk
                        held += len(chunk)
                        cells.bytes_in_flight += len(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            return bytes(kept[:UID_BYTES]), "undecodable", False
        finally:
            cells.bytes_in_flight -= held
        if lost is None and held > limits.body:
            lost = "size"
        return bytes(kept), lost, False

    def _review(self, body: bytes, query: bytes, headers: Headers) -> bytes:
        """The answer to what is to be evaluated. Raises nothing."""
        try:
            request = envelope.decode(body)
        except _NO_REVIEW as error:
            return self._unseen(body, "undecodable", type(error).__name__)
        except Exception as error:
            return self._failed(review.recover_uid(body), "decode", error)
        serving = self.serving
        try:
            if self.tracer is None:
                outcome = self._outcome(query, body, request, serving)
            else:
                with self.tracer(headers) as set_attribute:
                    outcome = self._outcome(query, body, request, serving)
                    set_attribute("wouldblock.operation", request.operation)
                    set_attribute("wouldblock.resource", request.resource.resource[:64])
                    set_attribute("wouldblock.findings", len(outcome.findings))
                    set_attribute("wouldblock.incomplete", outcome.incomplete)
            answer = respond(request, outcome, warn=serving.warn)
            self._count(request, outcome)
            if self.recorder is not None:
                self.recorder(body, outcome, serving.policies)
        except Exception as error:
            return self._failed(request.uid, "respond", error)
        return answer

    def _outcome(self, query: bytes, body: bytes, request: review.Request, serving: Serving) -> policy.Outcome:
        outcome = self._evaluate(query, request, serving)
        if outcome.incomplete == "undecodable":  # or only cut at the wrong place
            with contextlib.suppress(*_NO_REVIEW):
                return self._evaluate(query, review.decode(body).request, serving)
        return outcome

    def _evaluate(self, query: bytes, request: review.Request, serving: Serving) -> policy.Outcome:
        longest = min(BUDGET_MAX, timeout_of(query) / 2)
        budget = min(self.limits.budget, longest)
        return evaluate(
            serving.policies,
            request,
            state=serving.state,
            exemptions=serving.exemptions,
            clock=work_clock(budget, longest, self._clock, self._cpu_clock),
            budget=budget,
        )

    def _count(self, request: review.Request, outcome: policy.Outcome) -> None:
        cells = self.cells
        what: Outcome = "pass" if outcome.evaluated else "unmatched"
        if outcome.findings:
            what = "would_block"
            for finding in outcome.findings:
                table = cells.policy_errors if finding.error else cells.findings
                table[finding.policy] = table.get(finding.policy, 0) + 1
        if outcome.incomplete:
            what = "incomplete"
            cells.incomplete[outcome.incomplete] = cells.incomplete.get(outcome.incomplete, 0) + 1
            self._log(
                "review_incomplete",
                level="warning",
                uid=request.uid,
                reason=outcome.incomplete,
                resource=request.resource.resource,
                skipped=outcome.skipped,
            )
        elif what == "unmatched" and (outcome.not_comparable or outcome.internal_errors):
            what = "no_verdict"
        if outcome.internal_errors:
            for policy_id, exception in outcome.internal_errors:
                cells.internal_errors[policy_id] = cells.internal_errors.get(policy_id, 0) + 1
                self._log("policy_failed", level="error", uid=request.uid, policy=policy_id, exception=exception)
        cells.count_review(request.operation, request.resource.resource, what)

    def _unseen(self, body: bytes, reason: Incomplete, exception: str = "") -> bytes:
        """The answer to a review that was not evaluated."""
        uid = _uid_of(body) if reason == "undecodable" else review.recover_uid(body) or _uid_of(body)
        self.cells.incomplete[reason] += 1
        self.cells.count_review("", "", "incomplete")
        self._log("review_incomplete", level="warning", uid=uid, reason=reason, exception=exception)
        answer = admit(uid, policy.Outcome(set_digest=self.serving.policies.digest, incomplete=reason))
        if _V1BETA1 in body[:UID_BYTES]:  # the only other version that API servers know: they convert no answer to it
            answer = answer.replace(_V1, _V1BETA1, 1)
        return answer

    def _failed(self, uid: str, where: str, error: Exception) -> bytes:
        """The answer when our own code failed. Never the exception's text: it may quote the object."""
        name = f"(webhook {where})"
        self.cells.internal_errors[name] = self.cells.internal_errors.get(name, 0) + 1
        self.cells.count_review("", "", "no_verdict")
        self._log("review_failed", level="error", uid=uid, where=where, exception=type(error).__name__)
        outcome = policy.Outcome(
            set_digest=self.serving.policies.digest, internal_errors=((name, type(error).__name__),)
        )
        try:
            return admit(uid, outcome)
        except Exception:  # the annotations' own code failed: what is left is a uid that came out of the decoder
            return admit(uid)


def work_clock(
    budget: float, longest: float, wall: Callable[[], float], cpu: Callable[[], float]
) -> Callable[[], float]:
    """A clock of the work that a review has cost, in seconds from 0: what a busy machine took away is not counted, up
    to `longest` seconds in all. The time of the CPU costs a system call, and is asked for only past `budget`."""
    began, cpu_began = wall(), cpu()

    def clock() -> float:
        passed = wall() - began
        if passed <= budget:
            return passed
        return cpu() - cpu_began if passed <= longest else passed

    return clock


_V1 = b'"admission.k8s.io/v1"'
_V1BETA1 = b'"admission.k8s.io/v1beta1"'


class _Request(Struct):
    uid: str


class _Review(Struct):
    """As much of a review as an answer needs."""

    request: _Request


_identify = Decoder(_Review).decode


def _uid_of(body: bytes) -> str:
    """The uid of what is JSON but no review that we know, else the one that stands in its first bytes, else ''."""
    try:
        return _identify(body).request.uid
    except (DecodeError, RecursionError, UnicodeError):
        return review.recover_uid(body)


_TIMEOUT = re.compile(rb"(?:^|&)timeout=(?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6}(?:\.\d{1,9})?)(s|ms))?(?:&|$)")
_timeouts: dict[bytes, float] = {}


def timeout_of(query: bytes) -> float:
    """Seconds in `?timeout=`, a Go duration such as `2s` or `1m0s`; `TIMEOUT_DEFAULT` for none, or nonsense."""
    known = _timeouts.get(query)
    if known is not None:
        return known
    seconds = 0.0
    if found := _TIMEOUT.search(query):
        hours, minutes, rest, unit = found.groups()
        seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0) / (1000 if unit == b"ms" else 1)
    seconds = min(seconds, TIMEOUT_DEFAULT) if seconds > 0 else TIMEOUT_DEFAULT
    if len(_timeouts) < 64 and len(query) < 64:  # the API server's are few and short
        _timeouts[query] = seconds
    return seconds
