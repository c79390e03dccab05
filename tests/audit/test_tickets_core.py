"""Tickets without a log: deadlines, what proves a violation gone, and what becomes of tickets. Properties first."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.audit.tickets.calendar import Calendar, read_holidays, weekend, zone
from webhook.audit.tickets.model import Part, Ticket, Workload, fingerprint, merged
from webhook.audit.tickets.reconcile import Case, Change, reconcile
from webhook.audit.tickets.settle import Proof, resource_of, settle
from webhook.audit.tickets.template import TEMPLATES, template_of
from webhook.errors import InvalidInput, UserError

DAY = datetime.timedelta(days=1)
START = datetime.datetime(2026, 11, 2, 9, tzinfo=datetime.UTC)  # a Monday


def at(hours: float) -> datetime.datetime:
    return START + datetime.timedelta(hours=hours)


# Templates and deadlines


def test_the_four_templates() -> None:
    promised = {
        "SR": ("security_remediation", "critical", "24 hours"),
        "CO": ("cluster_optimization", "high", "48 hours"),
        "PT": ("performance_tuning", "medium", "3 business days"),
        "DA": ("deployment_automation", "medium", "5 business days"),
    }
    assert {code: (each.id, each.priority, each.deadline) for code, each in TEMPLATES.items()} == promised
    assert template_of("security_remediation") == template_of("SR")
    assert template_of("") is None


@pytest.mark.parametrize(
    ("opened", "days", "due"),
    [
        ("2026-11-25T15:30:00+01:00", 3, "2026-11-30T15:30:00+01:00"),  # Wednesday → Monday
        ("2026-11-27T15:30:00+01:00", 5, "2026-12-04T15:30:00+01:00"),  # Friday → Friday
        ("2026-11-28T03:00:00+01:00", 3, "2026-12-03T00:00:00+01:00"),  # Saturday: from Monday's midnight
        ("2026-12-23T12:00:00+01:00", 3, "2026-12-29T12:00:00+01:00"),  # over Christmas
        ("2026-03-27T02:30:00+01:00", 3, "2026-04-01T02:30:00+02:00"),  # the clocks change
        ("2026-11-27T23:30:00+00:00", 1, "2026-12-01T00:00:00+01:00"),  # Saturday already, where people work
    ],
)
def test_business_days(opened: str, days: int, due: str) -> None:
    calendar = Calendar(
        zone=zone("Europe/Berlin"), holidays=frozenset((datetime.date(2026, 12, 25), datetime.date(2026, 12, 26)))
    )
    found = calendar.after(datetime.datetime.fromisoformat(opened), business_days=days)
    assert found == datetime.datetime.fromisoformat(due)
    assert found.isoformat() == due


def test_hours_run_through_nights_weekends_and_clock_changes() -> None:
    calendar = Calendar(zone=zone("Europe/Berlin"))
    saturday = datetime.datetime(2026, 3, 28, 12, tzinfo=zone("Europe/Berlin"))
    assert calendar.after(saturday, hours=24) - saturday.astimezone(datetime.UTC) == DAY
    assert calendar.after(saturday, hours=24).isoformat() == "2026-03-29T13:00:00+02:00"


@given(
    opened=st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.timezones()),
    days=st.integers(1, 10),
    weekend_days=st.sets(st.integers(0, 6), max_size=5),
    holidays=st.sets(st.dates(datetime.date(2000, 1, 1), datetime.date(2100, 1, 1)), max_size=20),
    where=st.timezones(),
)
def test_exactly_so_many_business_days(
    opened: datetime.datetime, days: int, weekend_days: set[int], holidays: set[datetime.date], where: datetime.tzinfo
) -> None:
    calendar = Calendar(zone=zone(str(where)), weekend=frozenset(weekend_days), holidays=frozenset(holidays))
    due = calendar.after(opened, business_days=days).date()
    start = opened.astimezone(where).date()
    assert calendar.works(due)
    between = [start + DAY * number for number in range(1, (due - start).days + 1)]
    worked = sum(map(calendar.works, between))
    # A day off is followed by a whole first day, on which the counting begins.
    assert worked == (days if calendar.works(start) else days + 1)


def test_holidays_files(tmp_path: Path) -> None:
    plain = tmp_path / "holidays.txt"
    plain.write_text("# Germany\n2026-12-25  Christmas Day\n\n2027-01-01\n")
    assert read_holidays(plain) == {datetime.date(2026, 12, 25), datetime.date(2027, 1, 1)}
    calendar = tmp_path / "holidays.ics"
    calendar.write_text(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227\r\n"
        "SUMMARY:Christmas\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert read_holidays(calendar) == {datetime.date(2026, 12, day) for day in (24, 25, 26)}
    plain.write_text("2026-12-25\n25.12.2026\nsoon\n")
    with pytest.raises(InvalidInput) as failed:
        read_holidays(plain)
    assert [problem.line for problem in failed.value.problems] == [2, 3]
    assert "`2026-12-25  Christmas Day`" in str(failed.value)


def test_weekends_and_zones() -> None:
    assert weekend("fri,sat") == {4, 5}
    assert weekend("none") == frozenset()
    for wrong in ("xyz", "", "mon,tue,wed,thu,fri,sat,sun"):
        with pytest.raises(UserError):
            weekend(wrong)
    with pytest.raises(UserError, match="no time zone"):
        zone("../etc/passwd")


# What proves a violation gone


def web(**parts: Part) -> Workload:
    names = {name.replace("_", " "): part for name, part in parts.items()}
    return Workload(kind="Deployment", name="web", namespace="shop", parts=names)


@pytest.mark.parametrize(
    ("what", "workload", "status"),
    [
        ("nothing since", web(deployments=Part(violated=at(1))), "open"),
        ("a clean write", web(deployments=Part(violated=at(1), passed=at(2), passes=1)), "fixed"),
        ("a clean write before", web(deployments=Part(violated=at(2), passed=at(1))), "open"),
        ("an unseen write", web(deployments=Part(violated=at(1), blind=at(2), cause="failed_open")), "unproven"),
        (
            "a clean write, then an unseen one",
            web(deployments=Part(violated=at(1), passed=at(2), passes=1, blind=at(3), cause="truncated")),
            "unproven",
        ),
        (
            "an unseen write, then a clean one",
            web(deployments=Part(violated=at(1), blind=at(2), passed=at(3), passes=1)),
            "fixed",
        ),
        ("an exemption", web(deployments=Part(violated=at(1), exempted=at(2))), "exempted"),
        (
            "an unseen write of the template, and nothing of its pods",
            web(deployments=Part(violated=at(1), blind=at(3), cause="failed_open"), pods=Part(violated=at(2))),
            "unproven",
        ),
        (
            "an unseen write of the template, and a pod that still violates",
            web(deployments=Part(violated=at(1), blind=at(3), cause="failed_open"), pods=Part(violated=at(4))),
            "open",
        ),
        (
            "only a pod is clean",
            web(deployments=Part(violated=at(1)), pods=Part(violated=at(1), passed=at(2), passes=1)),
            "open",
        ),
        (
            "a clean template, pods not seen since",
            web(deployments=Part(violated=at(1), passed=at(3), passes=1), pods=Part(violated=at(2))),
            "fixed",
        ),
        (
            "a pod of the clean template still violates: something injects it",
            web(deployments=Part(violated=at(1), passed=at(2), passes=1), pods=Part(violated=at(3))),
            "open",
        ),
        (
            "the old ReplicaSet is scaled down",
            web(
                deployments=Part(violated=at(1), passed=at(2), passes=1),
                replicasets=Part(violated=at(1), passed=at(2), passes=1, remnant=at(3)),
            ),
            "fixed",
        ),
        (
            "the template itself is written again as bad as it was",
            web(deployments=Part(violated=at(1), remnant=at(3), passed=at(2), passes=1)),
            "open",
        ),
        (
            "the template is not proven, and leftovers are written",
            web(
                deployments=Part(violated=at(1), passed=at(2), passes=1, blind=at(3), cause="failed_open"),
                replicasets=Part(violated=at(1), remnant=at(4)),
            ),
            "unproven",
        ),
    ],
)
def test_what_proves_a_violation_gone(what: str, workload: Workload, status: str) -> None:
    settled = settle(workload, resources=resource_of)
    assert settled.status == status, what
    assert bool(settled.why) == (status != "open"), what


def test_deleted_is_gone_and_made_again_is_back() -> None:
    deleted = Workload(
        kind="Deployment", name="web", namespace="shop", gone=at(2), parts={"deployments": Part(violated=at(1))}
    )
    assert settle(deleted, resources=resource_of).status == "gone"
    again = Workload(kind="Deployment", name="web", namespace="shop", gone=at(2), parts={"pods": Part(violated=at(3))})
    assert settle(again, resources=resource_of).status == "open"


def test_without_a_name_many_clean_writes_are_needed() -> None:
    def nameless(passes: int) -> str:
        part = Part(violated=at(1), passed=at(2), passes=passes)
        return settle(Workload(namespace="shop", parts={"pods": part}), resources=resource_of).status

    assert [nameless(passes) for passes in (1, 29, 30)] == ["unproven", "unproven", "fixed"]


def test_more_proof_can_be_asked_for() -> None:
    workload = web(deployments=Part(violated=at(1), passed=at(2), passes=2))
    assert settle(workload, resources=resource_of, proof=Proof(writes=2)).status == "fixed"
    found = settle(workload, resources=resource_of, proof=Proof(writes=3))
    assert (found.status, found.why) == ("unproven", "deployments: 2 of 3 reviewed writes without a finding")


# Merging what is stored with what is seen

times = st.none() | st.integers(0, 50).map(at)


@st.composite
def part_values(draw: st.DrawFn) -> Part:
    passed = draw(st.lists(st.integers(0, 50).map(at), max_size=5))
    violated = draw(times)
    since = [each for each in passed if violated is None or each > violated]
    return Part(
        violated=violated,
        remnant=draw(times),
        exempted=draw(times),
        blind=draw(times),
        passes=len(since),
        passed_from=min(since, default=None),
        passed=max(passed, default=None),
    )


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    found = draw(st.lists(st.integers(0, 50).map(at), max_size=5))
    return Workload(
        kind="Deployment",
        name="web",
        first_seen=min(found, default=None),
        last_seen=max(found, default=None),
        writes=len(found),
        gone=draw(times),
        parts=draw(st.dictionaries(st.sampled_from(("deployments", "pods", "replicasets")), part_values(), max_size=3)),
    )


@given(old=workloads(), new=workloads())
def test_merging_the_same_log_twice_changes_nothing(old: Workload, new: Workload) -> None:
    once = merged(old, new)
    assert merged(once, new) == once
    assert merged(once, old) == once


def test_counts_of_logs_that_follow_each_other_add_up() -> None:
    def log(*hours: int) -> Workload:
        return Workload(name="web", first_seen=at(hours[0]), last_seen=at(hours[-1]), writes=len(hours))

    assert merged(log(1, 2), log(3, 4, 5)).writes == 5
    # The same file, grown.
    assert merged(log(1, 2), log(1, 2, 3)).writes == 3


# What becomes of tickets


def case(*seen: Workload, policy: str = "no-root", owner: str = "") -> Case:
    template = TEMPLATES["SR"]
    key = fingerprint(template=template.id, policy=policy, scope="namespace", place="shop", cluster="")
    return Case(
        fingerprint=key,
        template=template,
        policy=policy,
        title="No root",
        severity="high",
        namespace="shop",
        owner=owner,
        sets=("set-1",),
        seen=seen,
    )


def seen(name: str, *, violated: float, passed: float | None = None, blind: float | None = None) -> Workload:
    part = Part(
        violated=at(violated),
        passed=None if passed is None else at(passed),
        passes=int(passed is not None and passed > violated),
        passed_from=None if passed is None or passed <= violated else at(passed),
        blind=None if blind is None else at(blind),
        cause="" if blind is None else "failed_open",
    )
    return Workload(
        kind="Deployment",
        name=name,
        namespace="shop",
        first_seen=at(violated),
        last_seen=at(violated),
        writes=1,
        parts={"deployments": part},
    )


def run(stored: dict[str, Ticket], *cases: Case, now: float) -> list[Change]:
    """One run: `stored` is as the folder is after it."""
    changes = reconcile(stored, cases, now=at(now))
    stored.update({change.after.fingerprint: change.after for change in changes})
    return changes


def test_the_life_of_a_ticket() -> None:
    stored: dict[str, Ticket] = {}
    (opened,) = run(stored, case(seen("web", violated=1)), now=2)
    assert (opened.kind, opened.after.state, opened.after.opened) == ("create", "open", at(2))
    assert opened.after.due == at(2 + 24)
    # The same log once more.
    assert [each.kind for each in run(stored, case(seen("web", violated=1)), now=3)] == ["none"]
    # Another workload; the first is fixed.
    (updated,) = run(stored, case(seen("web", violated=1, passed=4), seen("api", violated=4)), now=5)
    assert updated.kind == "update"
    assert [(each.name, each.status) for each in updated.after.workloads] == [("api", "open"), ("web", "fixed")]
    assert (updated.after.opened, updated.after.due) == (opened.after.opened, opened.after.due)
    # A write that was not seen proves nothing.
    (blind,) = run(stored, case(seen("api", violated=4, blind=5)), now=6)
    assert (blind.kind, blind.after.unsettled[0].status) == ("update", "unproven")
    (closed,) = run(stored, case(seen("api", violated=4, blind=5, passed=7)), now=8)
    assert (closed.kind, closed.after.state, closed.after.closed) == ("close", "closed", at(8))
    # Old logs and unseen writes do not bring it back; a violation does.
    for again in (case(seen("web", violated=1)), case(seen("api", violated=4, blind=9))):
        assert [each.kind for each in run(stored, again, now=10)] == ["none"]
    (reopened,) = run(stored, case(seen("web", violated=11)), now=12)
    assert (reopened.kind, reopened.after.state, reopened.after.reopened) == ("reopen", "open", 1)
    assert (reopened.after.due, reopened.after.closed) == (at(12 + 24), None)
    assert [each.name for each in reopened.after.unsettled] == ["web"]


def test_what_is_over_before_anybody_was_told_makes_no_ticket() -> None:
    assert reconcile({}, [case(seen("web", violated=1, passed=2))], now=at(3)) == []
    (change,) = reconcile({}, [case(seen("web", violated=1, passed=2), seen("api", violated=1))], now=at(3))
    assert [each.name for each in change.after.workloads] == ["api"]


def test_a_log_that_says_nothing_changes_nothing() -> None:
    stored: dict[str, Ticket] = {}
    run(stored, case(seen("web", violated=1)), now=2)
    (change,) = run(stored, now=100)
    assert (change.kind, change.after.state) == ("none", "open")


def test_a_new_owner_is_an_update() -> None:
    stored: dict[str, Ticket] = {}
    run(stored, case(seen("web", violated=1)), now=2)
    (change,) = run(stored, case(seen("web", violated=1), owner="team-a"), now=3)
    assert (change.kind, change.fields) == ("update", ("owner",))


@given(
    steps=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(("web", "api")),
                st.integers(0, 30),
                st.none() | st.integers(0, 30),
                st.none() | st.integers(0, 30),
            ),
            max_size=2,
            unique_by=lambda each: each[0],
        ),
        max_size=5,
    )
)
def test_any_history_repeated_changes_nothing_and_closes_only_what_is_settled(
    steps: Sequence[Sequence[tuple[str, int, int | None, int | None]]],
) -> None:
    stored: dict[str, Ticket] = {}
    for number, step in enumerate(steps):
        found = [seen(name, violated=violated, passed=passed, blind=blind) for name, violated, passed, blind in step]
        for change in run(stored, case(*found), now=100 + number):
            unsettled = any(not each.settled for each in change.after.workloads)
            assert (change.after.state == "open") == unsettled
        before = dict(stored)
        assert {each.kind for each in run(stored, case(*found), now=200 + number)} <= {"none"}
        assert stored == before
