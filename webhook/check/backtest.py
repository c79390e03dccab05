"""A changed policy on recorded reviews, against what was said of them then.

The old verdict is the record's own (what `serve` answered), or that of an older set of policies. The new one is
computed on the redacted request; where a policy looks at what was redacted there is no verdict to compare. Knows no
files and prints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from webhook.check.backtest_redacted import Touched, context_of
from webhook.errors import DeadlineExceeded, NeedsState, NotComparable
from webhook.exemptions import NO_EXEMPTIONS, Exemptions
from webhook.policy import Context, Finding, Policy
from webhook.policyset import PolicySet
from webhook.recorded import Header, Recorded
from webhook.review import Request, decode_object
from webhook.state import EMPTY, State
from webhook.workload import mapping, owner, text

BUDGET = 10.0
"""Seconds a review: nobody waits for the answer."""

State_ = Literal["violated", "exempted", "fine", "absent", "unknown", "failed"]


class Verdict(Struct, frozen=True):
    """What one set says of one review for one policy."""

    state: State_
    why: str = ""
    """Of `unknown` and `failed`."""
    findings: tuple[Finding, ...] = ()


class Place(Struct):
    """Reviews of one workload that a policy judges otherwise than before."""

    namespace: str
    workload: str
    reviews: int = 0
    first: float = 0.0
    """Seconds since the epoch."""
    last: float = 0.0
    operation: str = ""
    """Of the first one."""
    message: str = ""
    """What the new policy says of it, on the redacted object; empty where it says nothing any more."""


class Change(Struct, kw_only=True):
    """One policy of the new set on the whole record. Counts are reviews."""

    policy: str
    known: bool = False
    """Whether the old side knew the policy at all."""
    compared: int = 0
    newly: int = 0
    no_longer: int = 0
    still: int = 0
    """Violated then and now."""
    fine: int = 0
    """Neither then nor now; reviews that the policy does not concern are not among them."""
    exempted: int = 0
    """Newly violated, but an exemption covers it."""
    errors: int = 0
    """Of those violated now: the verdict is an evaluation error under failurePolicy Fail."""
    failed: int = 0
    """The new policy failed by a bug of ours."""
    not_comparable: dict[str, int] = {}
    """By reason."""
    newly_at: dict[tuple[str, str], Place] = {}
    no_longer_at: dict[tuple[str, str], Place] = {}


class Backtest:
    """Adds up reviews. `changes` is by policy, in the new set's order."""

    def __init__(
        self,
        new: PolicySet,
        *,
        old: PolicySet | None = None,
        state: State = EMPTY,
        exemptions: Exemptions = NO_EXEMPTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `old` the record's own verdicts are the old ones."""
        self.reviews = 0
        self.first = self.last = 0.0
        self.rates: set[float] = set()
        self.unreadable = 0
        """Reviews whose objects no policy can be asked about."""
        self.left_out: dict[str, int] = {}
        """Policies that found something then and are not in the new set, with the number of reviews."""
        self.changes = {each.id: Change(policy=each.id) for each in new.policies}
        self._new, self._old = new, old
        self._state, self._exemptions, self._clock = state, exemptions, clock

    def add(self, header: Header, review: Recorded) -> None:
        """One review of a record."""
        self.reviews += 1
        self.first = min(self.first or review.time, review.time)
        self.last = max(self.last, review.time)
        self.rates.add(header.rate)
        try:
            context = context_of(
                review.request,
                review.redacted,
                state=self._state,
                clock=self._clock,
                deadline=self._clock() + BUDGET,
            )
        except (msgspec.DecodeError, RecursionError):
            self.unreadable += 1
            return
        old = _recorded(header, review) if self._old is None else self._evaluated(self._old, context)
        for policy in {each.policy for each in review.findings}:
            if policy not in self.changes:
                self.left_out[policy] = self.left_out.get(policy, 0) + 1
        new = self._evaluated(self._new, context, exemptions=self._exemptions)
        known = set(header.policies) if self._old is None else {each.id for each in self._old.policies}
        for policy, change in self.changes.items():
            change.known = change.known or policy in known
            before = old.get(policy) or Verdict("absent")
            after = new.get(policy)
            if after is not None or before.state == "violated":
                self._compare(change, before, after or Verdict("fine"), review)

    def _compare(self, change: Change, before: Verdict, after: Verdict, review: Recorded) -> None:
        if after.state == "failed":
            change.failed += 1
            return
        for verdict in (after, before):
            if verdict.state in ("unknown", "failed"):
                why = verdict.why if verdict is after else f"then: {verdict.why}"
                change.not_comparable[why] = change.not_comparable.get(why, 0) + 1
                return
        change.compared += 1
        was, now = before.state == "violated", after.state == "violated"
        change.errors += any(each.error for each in after.findings)
        if now and was:
            change.still += 1
        elif now:
            change.newly += 1
            self._place(change.newly_at, change.policy, review, message=True)
        elif was and after.state != "exempted":
            change.no_longer += 1
            self._place(change.no_longer_at, change.policy, review, message=False)
        elif after.state == "exempted":
            change.still += was
            change.exempted += not was
        else:
            change.fine += 1

    def _place(self, places: dict[tuple[str, str], Place], policy: str, review: Recorded, *, message: bool) -> None:
        key = review.request.namespace, workload(review.request)
        place = places.get(key)
        if place is None:
            place = places[key] = Place(*key, first=review.time, operation=review.request.operation)
            if message:
                place.message = self._message(policy, review.request)
        place.reviews += 1
        place.last = review.time

    def _message(self, policy_id: str, request: Request) -> str:
        """What the policy would say, of the placeholders where it quotes what was redacted."""
        policy = next(each for each in self._new.policies if each.id == policy_id)
        context = Context(request, state=self._state, clock=self._clock, deadline=self._clock() + BUDGET)
        try:
            verdict = policy.run(context)
        except Exception:  # the verdict is known already; without a text it stays one
            return ""
        return verdict.findings[0].message if verdict is not None and verdict.findings else ""

    def _evaluated(
        self, policies: PolicySet, context: Context, *, exemptions: Exemptions = NO_EXEMPTIONS
    ) -> dict[str, Verdict]:
        """By policy, of those that the request concerns."""
        # A set is asked afresh: what another one left in the context's memo belongs to that one's policies.
        context = context.of_values(context.object, context.old_object)
        found: dict[str, Verdict] = {}
        for _, policy in policies.candidates(context.request):
            verdict = _run(policy, context)
            if verdict is not None:
                found[policy.id] = self._exempted(verdict, context, exemptions)
        return found

    def _exempted(self, verdict: Verdict, context: Context, exemptions: Exemptions) -> Verdict:
        if not verdict.findings or not exemptions:
            return verdict
        standing, _ = exemptions.split(
            verdict.findings,
            request=context.request,
            object=context.object,
            controller=owner(context.object),
            now=time.time(),
        )
        return verdict if standing else Verdict("exempted", findings=verdict.findings)


def _run(policy: Policy, context: Context) -> Verdict | None:
    """None when the request is none of the policy's business."""
    try:
        verdict = policy.run(context)
    except Touched:
        return Verdict("unknown", "it reads what was redacted")
    except (NeedsState, NotComparable) as error:
        return Verdict("unknown", str(error))
    except DeadlineExceeded:
        return Verdict("unknown", "out of time")
    except Exception as error:  # a bug of ours is that policy's entry, as in serving
        return Verdict("failed", type(error).__name__)
    if verdict is None:
        return None
    return Verdict("violated" if verdict.findings else "fine", findings=verdict.findings)


def _recorded(header: Header, review: Recorded) -> dict[str, Verdict]:
    """What was answered then, by policy."""
    ran = int(review.ran, 16)
    found = {policy: Verdict("fine") for index, policy in enumerate(header.policies) if ran >> index & 1}
    for each in review.findings:
        found[each.policy] = Verdict("violated")
    for policy in review.not_comparable:
        found[policy] = Verdict("unknown", "no verdict")
    for policy in review.internal_errors:
        found[policy] = Verdict("unknown", "it failed")
    if review.incomplete:
        for policy in review.skipped or header.policies:
            found[policy] = Verdict("unknown", f"incomplete ({review.incomplete})")
    return found


def workload(request: Request) -> str:
    """`Kind/name` of what somebody would have to change: the controller, else the object."""
    value = decode_object(request.object) or decode_object(request.old_object)
    controller = owner(value)
    if controller:
        return controller
    meta = mapping(mapping(value).get("metadata"))
    name = request.name or text(meta.get("name")) or text(meta.get("generateName")) + "*"
    return f"{request.kind.kind}/{name}"


def changes_of(backtest: Backtest, policies: Iterable[str] = ()) -> list[Change]:
    """Those that are asked for (all for none), the ones that would block more first."""
    wanted = set(policies)
    chosen = [each for each in backtest.changes.values() if not wanted or each.policy in wanted]
    return sorted(chosen, key=lambda each: (-each.newly, -each.no_longer, -each.failed, each.policy))
