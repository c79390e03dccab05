"""With limits a thousandth of the server's, what the corpora have comes near them: the fast form, where it is allowed,
must say what the counting form says, whatever failed, was skipped or was computed by somebody else. That the bounds
hold is shown elsewhere (`tests/cel/test_bound.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.manifest.conftest import Bench
from webhook.errors import NotComparable
from webhook.manifest.layout import Grants
from webhook.manifest.metered import OUT_OF_BUDGET, Metered
from webhook.policy import Policy

pytestmark = pytest.mark.corpus

LIMITS = {
    "webhook.cel.limits.LIMIT": 1,
    "webhook.cel.metering.LIMIT": 1,
    "webhook.manifest.layout.BUDGET": 3,
    "webhook.manifest.metered.BUDGET": 3,
    "webhook.manifest.layout.CONDITIONS_BUDGET": 2,
    "webhook.manifest.metered.CONDITIONS_BUDGET": 2,
}


def expressions(corpora: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Expressions on objects; those that give a bool make a validation, the others an audit annotation."""
    with (corpora / "k8s-cel" / "differential-objects.jsonl").open() as file:
        objects = {row["id"]: row["object"] for row in map(json.loads, file)}
    with (corpora / "k8s-cel" / "differential.jsonl").open() as file:
        for row in map(json.loads, file):
            if not row.keys() & {"old", "delete", "ns", "params", "compile_errors"}:
                yield row["expr"], {"variables": row.get("vars", []), "object": objects[row["obj"]]}


def policy_of(bench: Bench, text: str, variables: list[dict[str, str]], other: str) -> Policy | None:
    """A policy that asks the expression twice, once where nobody may need the answer."""
    for validation in (text, f"type({text}) != type(type(1))"):
        made = bench.policy(
            [
                {"expression": validation, "messageExpression": f"string({other}) + 'x'"},
                {"expression": f"object.kind == 'x' || {validation}"},
            ],
            variables=[*variables, {"name": "again", "expression": text}],
            auditAnnotations=[{"key": "k", "valueExpression": "type(variables.again) == type(1) ? 'a' : 'b'"}],
        )
        if not bench.problems(made):
            return bench.compiled(made)
    return None


@pytest.mark.parametrize("limit", [40, 700, 5_000])
def test_both_forms_say_the_same(limit: int, corpora: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, times in LIMITS.items():
        monkeypatch.setattr(name, limit * times)
    grants, decide = Grants.at, Metered.decide
    counted = [0]

    def spy(self: Metered, *arguments: Any) -> Any:
        counted[0] += 1
        return decide(self, *arguments)

    monkeypatch.setattr(Metered, "decide", spy)
    tried = exceeded = fast = 0
    wrong: list[str] = []
    for number, (text, row) in enumerate(expressions(corpora)):
        if number % 4:
            continue
        policy = policy_of(bench, text, row["variables"], "object.metadata.name")
        if policy is None:
            continue
        request = bench.request(row["object"])
        verdicts = []
        counted[0] = 0
        for at in (grants, lambda *_: None):
            monkeypatch.setattr(Grants, "at", at)
            policy.run._known.clear()  # type: ignore[attr-defined]
            try:
                verdicts.append(bench.run(policy, request))
            except NotComparable:
                verdicts.append(None)
        tried += 1
        fast += counted[0] == 1
        told = [each.message for each in verdicts[1].findings] if verdicts[1] else []
        exceeded += any("cost limit exceeded" in each or OUT_OF_BUDGET in each for each in told)
        if verdicts[0] != verdicts[1]:
            wrong.append(f"{text}: {verdicts[0]}, counted {verdicts[1]}")
    assert not wrong, f"{len(wrong)} of {tried}:\n" + "\n".join(wrong[:10])
    assert tried > 200
    assert exceeded >= {40: 20, 700: 1, 5_000: 0}[limit], "limits that nothing comes near show nothing"
    assert fast >= {40: 0, 700: 1, 5_000: 20}[limit], "what is always counted shows nothing"
