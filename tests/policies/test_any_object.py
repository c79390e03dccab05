"""No object, however malformed, makes a shipped policy fail inside: an error of its expressions is a verdict."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.check import cases
from webhook.evaluate import evaluate
from webhook.load import load, shipped
from webhook.policyset import PolicySet
from webhook.review import Request

POLICIES = Path(__file__).resolve().parents[2] / "policies"
REQUESTS = [
    cases.request_of(file, case)
    for file in (cases.read(path) for path in cases.find([POLICIES]) if not cases.is_native(path))
    for case in file.cases
]
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = st.sampled_from(["name", "image", "resources", "limits", "memory", "containers", "rules", "verbs", "*", "spec"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def policies() -> PolicySet:
    return load(shipped(), pod_security=None)


@st.composite
def damaged(draw: st.DrawFn) -> Request:
    """A review of the cases with one part of its object replaced by anything."""
    request = draw(st.sampled_from(REQUESTS))
    field = "old_object" if request.operation == "DELETE" else "object"
    value = copy.deepcopy(msgspec.json.decode(getattr(request, field)))
    holder: Any = value
    for _ in range(draw(st.integers(0, 6))):
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if not isinstance(holder[key], (dict, list)) or not holder[key]:
            holder[key] = draw(VALUES)
            break
        inner = holder[key]
        if draw(st.booleans()):
            holder = inner
        else:
            holder[key] = draw(VALUES)
            break
    return msgspec.structs.replace(request, **{field: msgspec.Raw(msgspec.json.encode(value))})


@settings(max_examples=300, deadline=None)
@given(request=damaged())
def test_nothing_breaks_inside(policies: PolicySet, request: Request) -> None:
    outcome = evaluate(policies, request, budget=60.0)
    assert outcome.internal_errors == ()
    assert outcome.incomplete == ""
    assert outcome == evaluate(policies, request, budget=60.0)
