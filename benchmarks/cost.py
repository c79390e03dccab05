"""Which policy costs what: CPU a review of each shipped policy alone. To look at; the gate counts instructions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from webhook import review
from webhook.bench import corpus
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.policyset import PolicySet
from webhook.state import EMPTY

_UID = "00000000-0000-4000-8000-000000000000"
_BUDGET = 0.5


class Cost(Struct, frozen=True, order=True):
    """Microseconds of CPU a review, decoding of the object included."""

    mix: float
    """Over the seeded corpus, reviews that the policy does not match included."""
    reference: float
    tidy: float
    policy: str


def run() -> list[Cost]:
    """Every policy of the shipped set alone, the dearest first; before them the whole set."""
    policies = load(shipped())
    alone = [_cost(PolicySet((one,)), one.id) for one in policies.policies]
    return [_cost(policies, "(the whole set)"), *sorted(alone, reverse=True)]


def render(costs: Sequence[Cost]) -> str:
    lines = ["CPU a review, µs      mix   24 KB   tidy  policy"]
    lines += [f"{'':<16}{one.mix:>9.1f}{one.reference:>8.1f}{one.tidy:>7.1f}  {one.policy}" for one in costs]
    return "\n".join(lines)


def _cost(policies: PolicySet, name: str) -> Cost:
    mix = [_request(one) for one in corpus.generate(1)]
    reference, tidy = _request(corpus.reference()), _request(corpus.reference(tidy=True))
    return Cost(
        _microseconds(policies, mix, 2),
        _microseconds(policies, [reference], 50),
        _microseconds(policies, [tidy], 50),
        name,
    )


def _request(one: corpus.Review) -> review.Request:
    return review.decode(one.body.filled(_UID)).request


def _microseconds(policies: PolicySet, requests: Sequence[review.Request], times: int) -> float:
    """The least of three, since noise only adds."""

    def once() -> float:
        began = time.thread_time_ns()
        for _ in range(times):
            for request in requests:
                evaluate(policies, request, state=EMPTY, clock=time.monotonic, budget=_BUDGET)
        return (time.thread_time_ns() - began) / 1e3 / times / len(requests)

    return min(once() for _ in range(3))
