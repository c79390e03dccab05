"""Policy set × request → `Outcome`, within a budget of time.

The same code serves the webhook, the file checker and replays. Knows no HTTP, settings or files; clocks are
injected. Raises nothing for any request: what goes wrong inside a policy is that policy's entry in the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from webhook.errors import DeadlineExceeded, NeedsState, NotComparable
from webhook.exemptions import NO_EXEMPTIONS, Exemptions
from webhook.policy import PASS, Context, Exempted, Outcome
from webhook.policyset import PolicySet
from webhook.review import Request
from webhook.state import EMPTY, State
from webhook.sweep import Found
from webhook.workload import owner

BUDGET = 0.005
"""Seconds of work that a review may take by default."""


def evaluate(
    policies: PolicySet,
    request: Request,
    *,
    state: State = EMPTY,
    exemptions: Exemptions = NO_EXEMPTIONS,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    budget: float = BUDGET,
) -> Outcome:
    """What the set says of one request. `budget` is in seconds of `clock`; `wall` (seconds since the epoch)
    decides which exemptions have expired. Equal inputs give equal outcomes unless time runs out."""
    plan = policies.plan(request)
    if not plan.pairs:
        return Outcome(set_digest=policies.digest, snapshot=state.digest)
    context = Context(request, state=state, clock=clock, deadline=clock() + budget, view=plan.view)
    try:
        controller = owner(context.object)
        if request.operation == "DELETE":
            _ = context.old_object
    except (msgspec.DecodeError, RecursionError):
        return Outcome(set_digest=policies.digest, snapshot=state.digest, incomplete="undecodable")

    evaluated = 0
    annotations: list[tuple[str, str, str]] = []
    notes: list[tuple[str, str]] = []
    not_comparable: list[tuple[str, str]] = []
    internal_errors: list[tuple[str, str]] = []
    skipped: list[str] = []
    turns = plan.turns(context)
    asked: list[Found] = []
    for position, policy in turns:
        try:
            context.check_deadline()
            verdict = policy.run(context)
        except (NeedsState, NotComparable) as error:
            not_comparable.append((policy.id, str(error)))
            continue
        except DeadlineExceeded:
            skipped.append(policy.id)
            continue
        except Exception as error:  # a policy's bug changes annotations and metrics, never the answer
            internal_errors.append((policy.id, type(error).__name__))
            continue
        if verdict is None:
            continue
        evaluated |= 1 << position
        if verdict is PASS:
            continue
        if verdict.findings:
            asked.append((position, turns.marked(policy, verdict)))
        if verdict.annotations:
            annotations += [(policy.id, key, value) for key, value in verdict.annotations]
        if verdict.notes:
            notes += verdict.notes
    findings = turns.findings(asked)

    exempted: list[Exempted] = []
    if findings and exemptions:
        findings, exempted = exemptions.split(
            findings, request=request, object=context.object, controller=controller, now=wall()
        )
    return Outcome(
        set_digest=policies.digest,
        evaluated=evaluated | turns.decided,
        findings=tuple(findings),
        exempted=tuple(exempted),
        not_comparable=tuple(not_comparable),
        internal_errors=tuple(internal_errors),
        incomplete="deadline" if skipped else "",
        skipped=tuple(skipped),
        annotations=tuple(annotations),
        notes=tuple(notes),
        owner=controller,
        snapshot=state.digest,
    )
