"""The facts table → tickets: which findings open one, where it belongs, and what the log proves about it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tests.audit.estate import START, Estate, many
from webhook.audit.owners import Entry, Owners
from webhook.audit.report.standing import Catalogue
from webhook.audit.table.engine import from_rows
from webhook.audit.tickets.model import Ticket
from webhook.audit.tickets.observe import Observed, Scope, observe
from webhook.audit.tickets.reconcile import Change, reconcile
from webhook.policy import Match, Metadata, PolicyRecord, Rule, SetRecord, Severity

NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
EVERYTHING = Match(
    rules=(Rule(operations=("CREATE", "UPDATE"), groups=("*",), versions=("*",), resources=("*",)),),
)
TEMPLATES = {"secure": "SR", "tuned": "PT", "shipped": "DA", "sound": "CO", "untold": ""}


def at(hours: float) -> datetime.datetime:
    return START + datetime.timedelta(hours=hours)


def record(*ids: str, digest: str = "set-1", severity: Severity = Severity.HIGH) -> SetRecord:
    return SetRecord(
        digest=digest,
        policies=tuple(
            PolicyRecord(
                id=each,
                digest="v1",
                meta=Metadata(title=each.title(), severity=severity, ticket=TEMPLATES.get(each, "SR")),
                match=EVERYTHING,
            )
            for each in ids or TEMPLATES
        ),
    )


def seen(
    rows: Iterable[dict[str, Any]],
    stored: dict[str, Ticket] | None = None,
    *,
    sets: Sequence[SetRecord] | None = None,
    scope: Scope = "namespace",
    owners: Owners | None = None,
    least: Severity = Severity.MEDIUM,
) -> Observed:
    return observe(
        from_rows(rows),
        Catalogue([record()] if sets is None else sets),
        owners or Owners(),
        stored=stored or {},
        scope=scope,
        least=least,
    )


def run(stored: dict[str, Ticket], rows: Iterable[dict[str, Any]], **more: Any) -> list[Change]:
    """One run; `stored` is as the folder is after it."""
    changes = reconcile(stored, seen(rows, stored, **more).cases, now=NOW)
    stored.update({change.after.fingerprint: change.after for change in changes})
    return changes


def said(changes: Iterable[Change]) -> list[tuple[str, str, str, str]]:
    return sorted((each.kind, each.after.policy, each.after.namespace, each.after.owner) for each in changes)


def test_a_policy_says_which_kind_of_ticket() -> None:
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=at(1), findings=TEMPLATES)
    stored: dict[str, Ticket] = {}
    changes = run(stored, estate.rows)
    assert {(each.after.policy, each.after.template) for each in changes} == {
        ("secure", "security_remediation"),
        ("tuned", "performance_tuning"),
        ("shipped", "deployment_automation"),
        ("sound", "cluster_optimization"),
    }
    assert seen(estate.rows).without_ticket == {"untold": 1}


def test_what_opens_none() -> None:
    estate = Estate()
    estate.write("shop", "Deployment", "dry", at=at(1), findings=["secure"], dry_run=True)
    estate.write("shop", "Deployment", "refused", at=at(2), findings=["secure"], rejected=True, code=403)
    estate.write("shop", "Deployment", "exempt", at=at(3), findings=[{"policy": "secure", "result": "exempted"}])
    estate.write("shop", "Deployment", "odd", at=at(4), findings=[{"policy": "secure", "result": "not_comparable"}])
    estate.write(
        "shop",
        "Deployment",
        "denied",
        at=at(5),
        findings=[{"policy": "secure", "result": "denied", "source": "denial"}],
    )
    estate.write("shop", "Deployment", "fixed", at=at(6), findings=["secure"])
    estate.write("shop", "Deployment", "fixed", at=at(7))
    assert run({}, estate.rows) == []


def test_policies_below_the_severity_open_none() -> None:
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=at(1), findings=["secure"])
    low = [record("secure", severity=Severity.LOW)]
    assert run({}, estate.rows, sets=low) == []
    assert seen(estate.rows, sets=low).without_ticket == {"secure": 1}
    assert len(run({}, estate.rows, sets=low, least=Severity.LOW)) == 1


OWNERS = Owners(
    [
        Entry(namespaces=("shop*",), owner="team-a"),
        Entry(namespaces=("bank",), owner="team-b"),
        Entry(namespaces=("bank",), workloads=("Deployment/search",), owner="team-c"),
    ]
)


def test_by_namespace_with_its_owner() -> None:
    estate = Estate()
    for namespace, name in (("shop", "web"), ("shop-2", "web"), ("bank", "ledger"), ("bank", "search"), ("lab", "x")):
        estate.write(namespace, "Deployment", name, at=at(1), findings=["secure"])
    assert said(run({}, estate.rows, owners=OWNERS)) == [
        ("create", "secure", "bank", "team-b"),
        ("create", "secure", "lab", ""),
        ("create", "secure", "shop", "team-a"),
        ("create", "secure", "shop-2", "team-a"),
    ]


def test_by_owner_across_namespaces_and_by_namespace_where_nobody_is() -> None:
    estate = Estate()
    for namespace, name in (("shop", "web"), ("shop-2", "web"), ("bank", "ledger"), ("bank", "search"), ("lab", "x")):
        estate.write(namespace, "Deployment", name, at=at(1), findings=["secure"])
    stored: dict[str, Ticket] = {}
    changes = run(stored, estate.rows, owners=OWNERS, scope="owner")
    assert said(changes) == [
        ("create", "secure", "", "team-a"),
        ("create", "secure", "", "team-b"),
        ("create", "secure", "", "team-c"),
        ("create", "secure", "lab", ""),
    ]
    (of_a,) = [each.after for each in changes if each.after.owner == "team-a"]
    assert [each.key for each in of_a.workloads] == [("shop", "Deployment", "web"), ("shop-2", "Deployment", "web")]
    # Another owner by now: the ticket goes on, and no second one is made.
    moved = Owners([Entry(namespaces=("*",), owner="team-z")])
    changes = run(stored, estate.rows, owners=moved, scope="owner")
    assert {each.kind for each in changes if each.after.scope == "owner"} == {"none"}
    assert said(each for each in changes if each.after.scope == "namespace") == [("update", "secure", "lab", "team-z")]


def test_clusters_never_merge() -> None:
    one, other = Estate(cluster="one"), Estate(cluster="other")
    for estate in (one, other):
        estate.write("shop", "Deployment", "web", at=at(1), findings=["secure"])
    other.write("shop", "Deployment", "web", at=at(2))
    changes = run({}, [*one.rows, *other.rows])
    assert [(each.after.cluster, each.kind) for each in changes] == [("one", "create")]


def violated(*, hours: float = 1, digest: str = "set-1") -> Estate:
    estate = Estate(set_digest=digest)
    estate.write("shop", "Deployment", "web", at=at(hours), findings=["secure"])
    return estate


def later(**more: Any) -> list[dict[str, Any]]:
    """Another log, of the next day."""
    estate = Estate(set_digest=more.pop("digest", "set-1"))
    estate.write(
        "shop",
        more.pop("kind", "Deployment"),
        more.pop("name", "web"),
        at=at(more.pop("hours", 25)),
        findings=more.pop("findings", ()),
        **more,
    )
    return estate.rows


@pytest.mark.parametrize(
    ("what", "rows", "kind"),
    [
        ("reviewed and clean", later(), "close"),
        ("deleted", later(operation="DELETE", code=200, result="not_sent"), "close"),
        ("deletion refused", later(operation="DELETE", code=409, rejected=True, result="rejected"), "none"),
        ("a dry run", later(dry_run=True, result="dry_run"), "none"),
        ("refused", later(rejected=True, code=422, result="rejected"), "none"),
        ("failed open", later(result="failed_open"), "update"),
        ("truncated", later(result="truncated"), "update"),
        ("incomplete", later(result="incomplete"), "update"),
        ("not sent", later(result="not_sent"), "update"),
        ("reviewed by a set that is not known to hold the policy", later(digest="set-9"), "update"),
        ("not comparable", later(findings=[{"policy": "secure", "result": "not_comparable"}]), "update"),
        ("the policy did not come to it", later(findings=[{"policy": "secure", "result": "unreviewed"}]), "update"),
        ("exempted", later(findings=[{"policy": "secure", "result": "exempted"}]), "close"),
        ("violated again", later(findings=["secure"]), "update"),
        ("another workload is clean", later(name="api"), "none"),
        ("a pod of it is clean", later(resource="pods", group="", name=""), "update"),
        ("of another policy", later(findings=["tuned"]), "close"),
    ],
)
def test_what_the_next_log_does_to_a_ticket(what: str, rows: list[dict[str, Any]], kind: str) -> None:
    for row in rows:
        row["root_name"] = "web" if row["name"] in ("", "web") else row["name"]
    stored: dict[str, Ticket] = {}
    run(stored, violated().rows)
    changes = [each for each in run(stored, rows) if each.after.policy == "secure"]
    assert [each.kind for each in changes] == [kind], what
    before = dict(stored)
    assert [each.kind for each in run(stored, rows) if each.after.policy == "secure"] == ["none"], what
    assert stored == before, what


def test_the_namespace_is_gone() -> None:
    stored: dict[str, Ticket] = {}
    run(stored, violated().rows)
    gone = later(kind="Namespace", name="shop", resource="namespaces", operation="DELETE", code=200, result="not_sent")
    assert [each.kind for each in run(stored, gone)] == ["close"]


def test_a_cut_write_without_a_time_may_be_the_latest() -> None:
    stored: dict[str, Ticket] = {}
    run(stored, violated().rows)
    cut = later(result="truncated")
    for row in cut:
        row |= {"time": None, "day": None, "request": 77}
    (change,) = run(stored, [*later(hours=24), *cut])
    assert (change.kind, change.after.workloads[0].status) == ("update", "unproven")


def test_of_writes_that_lost_their_time_the_same_one_is_told_each_time() -> None:
    why = set()
    for causes in (("truncated", "failed_open"), ("failed_open", "truncated")):
        stored: dict[str, Ticket] = {}
        run(stored, violated().rows)
        lost = [row | {"time": None, "day": None} for each in causes for row in later(result=each)]
        for number, row in enumerate(lost):
            row["request"] = 77 + number
        (change,) = run(stored, [*later(hours=24), *lost])
        why.add(change.after.workloads[0].why)
    assert len(why) == 1, why


def test_a_set_that_found_it_before_is_trusted_without_its_manifest() -> None:
    stored: dict[str, Ticket] = {}
    known = [record(digest="set-5")]
    run(stored, violated(digest="set-7").rows, sets=known)
    assert [each.kind for each in run(stored, later(digest="set-7"), sets=known)] == ["close"]


def test_a_policy_that_is_gone_from_the_set_closes_nothing() -> None:
    stored: dict[str, Ticket] = {}
    run(stored, violated().rows)
    (change,) = run(stored, later(digest="set-2"), sets=[record("tuned", digest="set-2")])
    assert change.after.state == "open"


def test_without_a_workload_the_namespace_has_to_be_clean_for_long() -> None:
    def pods(hours: Iterable[float], findings: Iterable[str] = ()) -> list[dict[str, Any]]:
        estate = Estate()
        for hour in hours:
            estate.write("shop", "Pod", "", at=at(hour), findings=findings)
        for number, row in enumerate(estate.rows):
            row |= {"root_kind": "", "root_name": "", "request": hash((tuple(hours), number)) % (1 << 60)}
        return estate.rows

    stored: dict[str, Ticket] = {}
    (change,) = run(stored, [*pods([1], ["secure"])])
    assert [each.title for each in change.after.workloads] == ["pods without a name"]
    # The proof adds up over logs that follow each other, and not over the same one.
    for first, last, kind in ((2, 17, "update"), (2, 17, "none"), (17, 31, "update"), (31, 33, "close")):
        assert [each.kind for each in run(stored, pods(range(first, last)))] == [kind], (first, last)


def test_half_by_half_is_the_same_as_at_once() -> None:
    rows, teams = many(workloads=200)
    owners = Owners([Entry(namespaces=(namespace,), owner=team) for namespace, team in teams.items()])
    sets = [record(*sorted({row["policy"] for row in rows if row["policy"]}))]
    rows.sort(key=lambda row: row["time"])
    whole: dict[str, Ticket] = {}
    run(whole, rows, owners=owners, sets=sets)
    parts: dict[str, Ticket] = {}
    third = len(rows) // 3
    for part in (rows[:third], rows[third : 2 * third], rows[2 * third :]):
        run(parts, part, owners=owners, sets=sets)
    # And all of it once more.
    run(parts, rows, owners=owners, sets=sets)
    assert _open(parts) == _open(whole)
    assert len(_open(whole)) > 100
    assert {each.kind for each in run(parts, rows, owners=owners, sets=sets)} == {"none"}


def _open(stored: dict[str, Ticket]) -> set[tuple[Any, ...]]:
    return {
        (each.policy, each.namespace, each.owner, workload.key, workload.status, workload.last_seen)
        for each in stored.values()
        if each.state == "open"
        for workload in each.unsettled
    }
