"""What a review has made is freed as it ends: nothing waits for the garbage collector, whose pauses are felt."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from webhook import review
from webhook.bench import corpus
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.native.pod_security.admission import PodSecurityConfig
from webhook.policyset import PolicySet
from webhook.respond import respond

UID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def everything() -> PolicySet:
    return load(shipped(), pod_security=PodSecurityConfig(), enable=["all"])


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_review_leaves_no_garbage(everything: PolicySet, no_collection: None) -> None:
    bodies = [each.body.filled(UID) for each in (*corpus.generate(1), corpus.reference(), corpus.reference(tidy=True))]
    for _ in range(2):  # what is cached at first sight is no garbage
        gc.collect()
        findings = 0
        for body in bodies:
            request = review.decode(body).request
            outcome = evaluate(everything, request, clock=lambda: 0.0)
            respond(request, outcome)
            findings += len(outcome.findings)
    assert findings > len(bodies), "reviews with findings are what makes most"
    assert gc.collect() == 0
