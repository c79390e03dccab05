"""A mended Deployment and what is left of its old template: readiness, reports and tickets agree on every story."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.conftest import WORKLOADS, Log, record, report, row
from webhook.annotations import WEBHOOK_NAME
from webhook.audit.render import as_table
from webhook.audit.report.figures import BLOCKED
from webhook.audit.report.standing import Catalogue, Standing, standings
from webhook.audit.source import Lines, Unreadable
from webhook.audit.table.engine import from_rows
from webhook.audit.table.mapper import Mapper
from webhook.audit.table.schema import COLUMNS
from webhook.audit.verdict import Limits, Readiness
from webhook.policy import Match, Rule, SetRecord

REPLICASETS = Rule(operations=("CREATE", "UPDATE"), groups=("apps",), versions=("v1",), resources=("replicasets",))
SET = record("p", match=Match(rules=(*WORKLOADS.rules, REPLICASETS)))
LOOSE = Limits(min_window=0, min_writes=1)
STEP = datetime.timedelta(minutes=1)
OLD, NEW, NEWER = "5d8f6b7c9", "6c4b8d9f7", "7b9c6d5f4"
BAD, GOOD = True, False

Step = tuple[str, str, bool]
"""(`own`, `set` or `pod`; state of the template; whether it violates)."""


def written(steps: Iterable[Step]) -> Log:
    log = Log(SET, step=STEP)
    seen: set[str] = set()
    for what, trial, bad in steps:
        name = "web" if what == "own" else f"web-{trial}"
        found = log.outcome(
            *(["p"] if bad else []), owner={"own": "", "set": "Deployment/web"}.get(what, f"ReplicaSet/{name}")
        )
        if what == "pod":
            log.pod("", found, user="system:serviceaccount:kube-system:replicaset-controller")
            continue
        more: dict[str, Any] = {} if name not in seen else {"verb": "update", "code": 200}
        log.write(name=name, resource="deployments" if what == "own" else "replicasets", outcome=found, **more)
        seen.add(name)
    return log


def judged(log: Log, **limits: Any) -> Readiness:
    return row(report(log.lines, log.sets, limits=Limits(min_window=0, min_writes=1, **limits)), "p")


def standing(log: Log, *known: SetRecord) -> Standing | None:
    """As reports and tickets see it."""
    mapper = Mapper(is_ours=lambda name: name == WEBHOOK_NAME, unreadable=Unreadable())
    mapper.add(Lines("test.log", 0, list(log.lines)))
    names = [column.name for column in COLUMNS]
    rows = [{key: value for key, value in zip(names, each, strict=True) if key != "day"} for each in mapper.take()]
    return next(iter(standings(from_rows(rows), Catalogue(known or [log.sets]))), None)


ROLLING = [
    ("own", "", BAD),
    ("set", OLD, BAD),
    ("pod", OLD, BAD),
    ("own", "", GOOD),
    ("set", NEW, GOOD),
    ("pod", NEW, GOOD),
    ("set", OLD, BAD),
]
"""A rolling update: at its end the old ReplicaSet is scaled down to nothing, and is as bad as it was."""


def test_a_rolling_update_that_mends_is_superseded_not_open() -> None:
    log = written(ROLLING)
    found = judged(log, min_quiet=0)
    assert (found.verdict, found.k, found.superseded) == ("enforce", 0, 1)
    assert "1 mended workload has leftovers of an old template" in "\n".join(as_table([found]))
    known = standing(log)
    assert known is not None
    assert known.found is not None
    assert known.found.status == "fixed"
    assert "what is left of an older template violated until 2026-11-01 00:06:00Z" in known.found.why


def test_while_it_rolls_out_enforcement_would_stop_it() -> None:
    """The old ReplicaSet could not be scaled down."""
    log = written(ROLLING)
    found = judged(log)
    assert (found.verdict, found.condition) == ("not enough evidence", "draining")
    assert "leftovers of an old template (1 mended workload)" in found.reason
    log.write("other", name="later", outcome=log.outcome(), at=log.now + datetime.timedelta(minutes=10))
    assert judged(log).verdict == "enforce"


def test_when_its_old_replicaset_is_deleted_nothing_is_left() -> None:
    log = written(ROLLING)
    log.write(name=f"web-{OLD}", resource="replicasets", verb="delete", code=200)
    assert judged(log).superseded == 0


@pytest.mark.parametrize(
    ("steps", "opened", "superseded"),
    [
        ([*ROLLING, ("pod", OLD, BAD)], 0, 1),
        ([*ROLLING, ("own", "", BAD)], 1, 0),
        # What the new template makes is bad all the same: something else changes it on its way.
        ([*ROLLING, ("pod", NEW, BAD)], 1, 0),
        ([*ROLLING, ("set", NEWER, GOOD), ("pod", NEWER, BAD)], 1, 0),
        # Nothing shows that there is a newer template.
        ([("own", "", GOOD), ("set", OLD, GOOD), ("pod", OLD, BAD)], 1, 0),
        ([("own", "", GOOD), ("set", OLD, GOOD), ("pod", OLD, BAD), ("own", "", GOOD), ("pod", OLD, BAD)], 1, 0),
        # The Deployment itself was not seen to be mended.
        ([("own", "", BAD), ("set", OLD, BAD), ("set", NEW, GOOD), ("set", OLD, BAD)], 1, 0),
        ([("set", OLD, BAD), ("set", NEW, GOOD), ("set", OLD, BAD)], 1, 0),
        # It passed before anything was wrong: that has mended nothing.
        ([("own", "", GOOD), ("set", OLD, GOOD), ("set", NEW, GOOD), ("set", OLD, BAD)], 1, 0),
    ],
)
def test_what_counts_as_left_over(steps: list[Step], opened: int, superseded: int) -> None:
    log = written(steps)
    found = judged(log, min_quiet=0)
    assert (found.k, found.superseded) == (opened, superseded)
    known = standing(log)
    assert known is not None
    assert known.found is not None
    assert known.found.blocked == bool(opened)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("own"), st.just(""), st.booleans()),
        st.tuples(st.sampled_from(("set", "pod")), st.sampled_from((OLD, NEW, NEWER)), st.booleans()),
    ),
    min_size=1,
    max_size=9,
)


@given(STEPS)
@settings(max_examples=50, deadline=None)
def test_two_readings_of_every_story_agree(steps: list[Step]) -> None:
    """What readiness has open is what the report counts and the ticket waits for."""
    log = written(steps)
    known = standing(log)
    status = known.found.status if known is not None and known.found is not None else "fixed"
    assert (judged(log, min_quiet=0).k > 0) == (status in BLOCKED)
