"""The figures of a report against what was planted, and that all of its forms say the same."""

from __future__ import annotations

import datetime
import random
from collections import Counter
from typing import Any

import pytest

from tests.audit import estate
from tests.audit.estate import POLICIES, START, Estate, many, owners_of, sets
from webhook.audit.report import summary
from webhook.audit.report.build import build
from webhook.audit.report.figures import Report
from webhook.audit.report.standing import Catalogue
from webhook.audit.report.workloads import ALL, Selection
from webhook.audit.table.engine import from_rows

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
ONE, TWO = POLICIES[0], POLICIES[1]


def made(rows: Any, teams: dict[str, str] | None = None, *, known: bool = True, **more: Any) -> Report:
    catalogue = Catalogue([sets()] if known else [])
    return build(from_rows(rows), owners=owners_of(teams or {}), catalogue=catalogue, **more)


def statuses(report: Report) -> dict[str, str]:
    return {each.title: each.status for each in report.workloads}


@pytest.fixture(scope="module")
def planted() -> tuple[list[dict[str, Any]], dict[str, str]]:
    return many(workloads=300, teams=20)


@pytest.fixture(scope="module")
def found(planted: tuple[list[dict[str, Any]], dict[str, str]]) -> Report:
    return made(*planted)


def test_every_figure_is_that_of_a_naive_count(
    planted: tuple[list[dict[str, Any]], dict[str, str]], found: Report
) -> None:
    """Counted anew from the rows, one by one, without SQL."""
    rows, teams = planted
    open_: dict[tuple[str, str, str], set[str]] = {}
    seen: dict[tuple[str, str, str], set[str]] = {}
    writes = [row for row in rows if row["kind"] == "write" and row["result"] == "reviewed"]
    by_request: dict[int, set[str]] = {}
    for row in rows:
        if row["kind"] == "finding" and row["source"] == "wouldblock":
            by_request.setdefault(row["request"], set()).add(row["policy"])
    for row in sorted(writes, key=lambda row: row["time"]):
        key = row["namespace"], row["root_kind"], row["root_name"]
        bad = by_request.get(row["request"], set())
        seen.setdefault(key, set()).update(bad)
        open_[key] = bad  # each write of the estate shows all there is of the workload
    blocked = {key: bad for key, bad in open_.items() if bad}
    assert found.totals.workloads == len(blocked)
    assert found.totals.settled == len(seen) - len(blocked)
    assert {each.name: each.workloads for each in found.teams if each.workloads} == Counter(
        teams.get(key[0], "") for key in blocked
    )
    assert {each.name: each.workloads for each in found.namespaces if each.workloads} == Counter(
        key[0] for key in blocked
    )
    assert {each.id: each.workloads for each in found.policies} == Counter(
        policy for bad in blocked.values() for policy in bad
    )
    gaps = Counter(
        row["result"] for row in rows if row["kind"] == "write" and row["result"] not in ("reviewed", "rejected")
    )
    assert found.coverage.reviewed == len(writes)
    assert found.coverage.gaps == gaps
    assert found.coverage.writes == len(writes) + gaps.total()
    assert found.totals.denied == sum(row["source"] == "denial" for row in rows)
    assert found.days[-1].open == found.totals.workloads
    assert sum(day.new for day in found.days) == found.totals.workloads + found.totals.settled


def test_tables_agree_with_each_other(found: Report) -> None:
    """A workload has one team and one namespace, so they add up; by policy and client it may count in several."""
    assert sum(each.workloads for each in found.teams) == found.totals.workloads
    assert sum(each.workloads for each in found.namespaces) == found.totals.workloads
    assert sum(bool(each.policies) for each in found.workloads) == found.totals.workloads
    assert sum(each.new for each in found.teams) == found.totals.new
    assert sum(each.coverage.writes for each in found.namespaces) == found.coverage.writes
    assert sum(each.coverage.reviewed for each in found.teams) == found.coverage.reviewed
    assert sum(each.workloads for each in found.policies) >= found.totals.workloads
    for policy in found.policies:
        assert policy.trend[-1] == policy.workloads


def test_the_order_of_the_rows_says_nothing(
    planted: tuple[list[dict[str, Any]], dict[str, str]], found: Report
) -> None:
    """Shuffled, and with half of them twice, the report is the same."""
    rows, teams = planted
    mixed = rows + rows[::2]
    random.Random(5).shuffle(mixed)  # noqa: S311 - seeded
    assert made(mixed, teams) == found


def test_a_deployment_its_replica_set_and_its_pods_are_one() -> None:
    """Five hundred refused pods are one workload; writes are said beside it."""
    cluster = Estate()
    for number in range(20):
        cluster.write(
            "shop",
            "Deployment",
            "web",
            at=START + number * HOUR,
            findings=[ONE],
            group="",
            resource="pods",
            name=f"web-{number}",
            by_controller=True,
            client="kube-controller-manager",
            user="system:serviceaccount:kube-system:replicaset-controller",
        )
    cluster.write("shop", "Deployment", "web", at=START, client="helm", user="bob")
    (workload,) = made(cluster.rows).workloads
    assert (workload.title, workload.writes) == ("Deployment/web", 20)
    assert (workload.client, workload.user) == ("helm", "bob")


def test_two_engines_that_find_the_same_count_once() -> None:
    """Ours and the API server's own; both are named."""
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START, findings=[ONE, {"policy": ONE, "source": "vap"}])
    report = made(cluster.rows)
    assert report.policies[0].sources == ("vap", "wouldblock")
    assert (report.policies[0].writes, report.totals.workloads) == (1, 1)


def test_what_was_never_stored_counts_nowhere() -> None:
    """Dry runs and refused writes have no workload; refusals stand apart."""
    cluster = Estate()
    cluster.write("shop", "Deployment", "dry", at=START, findings=[ONE], dry_run=True, result="dry_run")
    cluster.write(
        "shop",
        "Deployment",
        "refused",
        at=START,
        rejected=True,
        result="rejected",
        findings=[ONE, {"policy": "quota", "source": "denial", "result": "denied"}],
    )
    report = made(cluster.rows)
    assert report.workloads == ()
    assert (report.coverage.writes, report.coverage.dry_run, report.coverage.rejected) == (0, 1, 1)
    assert [(each.policy, each.writes) for each in report.denials] == [("quota", 1)]
    assert report.coverage.share is None


def test_how_a_workload_stands() -> None:
    """It counts until the log proves otherwise: what is not seen is no proof."""
    cluster = Estate()
    for name in ("open", "mended", "deleted", "unseen", "exempted", "stranger"):
        cluster.write("shop", "Deployment", name, at=START, findings=[ONE])
    later: dict[str, Any] = {"at": START + DAY, "operation": "UPDATE"}
    cluster.write("shop", "Deployment", "mended", **later)
    cluster.write("shop", "Deployment", "deleted", at=START + DAY, operation="DELETE", code=200)
    cluster.write("shop", "Deployment", "unseen", result="failed_open", **later)
    cluster.write("shop", "Deployment", "exempted", findings=[{"policy": ONE, "result": "exempted"}], **later)
    cluster.set_digest = "a set that is not known"
    cluster.write("shop", "Deployment", "stranger", **later)
    report = made(cluster.rows)
    assert statuses(report) == {
        "Deployment/open": "open",
        "Deployment/mended": "fixed",
        "Deployment/deleted": "gone",
        "Deployment/unseen": "unproven",
        "Deployment/exempted": "exempted",
        "Deployment/stranger": "unproven",
    }
    assert (report.totals.workloads, report.totals.unproven, report.totals.settled) == (3, 2, 3)
    assert report.totals.exempted == 1
    assert [day.open for day in report.days] == [6, 3]
    assert [day.settled for day in report.days] == [0, 3]


def test_a_deletion_whose_time_was_cut_off_proves_nothing() -> None:
    """It may have been before the workload came back."""
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START, findings=[ONE])
    cluster.write("shop", "Deployment", "web", at=START + DAY, operation="DELETE", code=200, result="truncated")
    for row in cluster.rows:
        row["time"] = row["time"] if row["operation"] != "DELETE" else None
    assert statuses(made(cluster.rows)) == {"Deployment/web": "open"}


def test_a_policy_that_another_set_dropped_proves_nothing() -> None:
    """A later review by a set without the policy is no pass."""
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START, findings=[ONE])
    cluster.set_digest = "set-2"
    cluster.write("shop", "Deployment", "web", at=START + DAY, operation="UPDATE")
    without = sets(digest="set-2")
    import msgspec

    without = msgspec.structs.replace(without, policies=without.policies[1:])
    catalogue = Catalogue([sets(), without])
    report = build(from_rows(cluster.rows), owners=owners_of({}), catalogue=catalogue)
    assert statuses(report) == {"Deployment/web": "unproven"}


def test_new_is_what_was_first_seen_since() -> None:
    """By default the last seven days of the log; or since a time."""
    cluster = Estate()
    for days in (0, 5, 12, 20):
        cluster.write("shop", "Deployment", f"of-day-{days}", at=START + days * DAY, findings=[ONE])
    assert made(cluster.rows).totals.new == 1
    short = made(cluster.rows[:2])
    assert (short.totals.new, short.new_since) == (0, None)  # what a log begins with may be older than the log
    report = made(cluster.rows, new_since=START + 4 * DAY)
    assert report.totals.new == 3
    assert {each.name for each in report.workloads if each.new} == {"of-day-5", "of-day-12", "of-day-20"}
    assert report.policies[0].new == 3


def test_the_direction_needs_two_weeks_that_were_seen() -> None:
    """No arrow without coverage."""

    def report(result: str) -> Report:
        cluster = Estate()
        for day in range(15):
            cluster.write("shop", "Deployment", f"web-{day}", at=START + day * DAY, findings=[ONE])
            cluster.write("shop", "Deployment", f"other-{day}", at=START + day * DAY, result=result)
        return made(cluster.rows)

    assert report("reviewed").direction == "rising"
    assert report("failed_open").direction == "unknown"


def test_coverage_of_a_policy_is_of_what_it_is_about() -> None:
    """A gap in another resource is not its gap; what is not known of a policy is not claimed."""
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START, findings=[ONE, "of-somebody"])
    cluster.write("shop", "Ingress", "web", at=START, result="failed_open", group="networking.k8s.io")
    cluster.write("shop", "CronJob", "web", at=START, result="failed_open")
    by_id = {each.id: each for each in made(cluster.rows).policies}
    coverage = by_id[ONE].coverage
    assert coverage is not None
    assert (coverage.reviewed, coverage.writes) == (1, 2)
    assert by_id["of-somebody"].coverage is None
    assert by_id["of-somebody"].severity == ""


@pytest.mark.parametrize(
    ("selection", "workloads", "writes"),
    [
        (ALL, 3, 4),
        (Selection(teams=frozenset(["team-a"])), 1, 2),
        (Selection(namespaces=frozenset(["b"])), 2, 2),
        (Selection(policies=frozenset([TWO])), 1, 4),
        (Selection(policies=frozenset([TWO]), teams=frozenset(["team-a"])), 0, 2),
        (Selection(teams=frozenset([""])), 2, 2),
    ],
)
def test_what_is_asked_for(selection: Selection, workloads: int, writes: int) -> None:
    """Figures and coverage are of what was chosen."""
    cluster = Estate()
    cluster.write("a", "Deployment", "one", at=START, findings=[ONE])
    cluster.write("a", "Deployment", "fit", at=START)
    cluster.write("b", "Deployment", "one", at=START, findings=[ONE])
    cluster.write("b", "Deployment", "two", at=START, findings=[TWO])
    report = made(cluster.rows, {"a": "team-a"}, selection=selection)
    assert (report.totals.workloads, report.coverage.writes) == (workloads, writes)


def test_writes_of_no_known_workload_are_not_lost() -> None:
    """A create without a name and an owner is somebody's."""
    cluster = Estate()
    cluster.write("shop", "", "", at=START, findings=[ONE], resource="pods", group="")
    (workload,) = made(cluster.rows, known=False).workloads
    assert workload.title == "pods (name not in the log)"


def test_two_clusters_are_two() -> None:
    """Equal names in two clusters are two workloads."""
    both = []
    for name in ("east", "west"):
        cluster = Estate(cluster=name)
        cluster.write("shop", "Deployment", "web", at=START, findings=[ONE])
        both += cluster.rows
    report = made(both)
    assert (report.totals.workloads, report.totals.namespaces, report.clusters) == (2, 2, ("east", "west"))


def test_nothing_is_nothing() -> None:
    """An empty table makes no claim, and a clean one says how much it rests on."""
    empty = made([])
    assert empty.window is None
    assert summary.headline(empty) == "There is nothing in the log to judge by."
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START)
    clean = made(cluster.rows)
    assert summary.headline(clean) == "Nothing that was seen would be blocked."
    assert summary.seen(clean).startswith("1 of 1 write was reviewed (100 %)")
    cluster = Estate()
    cluster.write("shop", "Deployment", "web", at=START, result="failed_open")
    assert summary.headline(made(cluster.rows)) == "Nothing was seen."


@pytest.mark.parametrize(("part", "whole", "shown"), [(999_999, 1_000_000, "99.9 %"), (1, 1, "100 %"), (0, 0, "–")])
def test_almost_all_is_never_shown_as_all(part: int, whole: int, shown: str) -> None:
    """Shares are rounded down."""
    assert summary.percent(part, whole) == shown


def test_the_sentence(found: Report) -> None:
    """Numbers with their nouns."""
    totals = found.totals
    expected = (
        f"{totals.workloads} workloads of {totals.owners} teams would be blocked if all {totals.policies} policies"
    )
    assert summary.headline(found) == f"{expected} were enforced."
    assert f"{totals.new} are new since" in summary.lead(found)
    assert estate.report(workloads=300, teams=20) == found
