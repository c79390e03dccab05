"""Predicted against refused: every cause of a difference, planted, and what is no difference."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.audit.estate import POLICIES, START, Estate, sets
from webhook.audit.compare.build import compare
from webhook.audit.compare.figures import CAUSES, WRONG, Comparison
from webhook.audit.table import engine
from webhook.audit.table.engine import from_rows
from webhook.cli import main
from webhook.policy import Rule, SetRecord

HOUR = datetime.timedelta(hours=1)
BEFORE = START
ENFORCED = START + 24 * HOUR
AFTER = ENFORCED + HOUR
POLICY, OTHER = POLICIES[0], POLICIES[1]


def denied(policy: str = POLICY) -> dict[str, Any]:
    return {"policy": policy, "source": "denial", "result": "denied", "message": f"{policy} denied it"}


def refused(estate: Estate, name: str = "web", /, *, policy: str = POLICY, **more: Any) -> None:
    """A write that the policy refused after enforcement began."""
    more = {"at": AFTER, "result": "rejected", "rejected": True, "code": 422, **more}
    estate.write("shop", more.pop("kind", "Deployment"), name, findings=[denied(policy)], **more)


def judged(estate: Estate, *known: SetRecord, policies: Sequence[str] = (*POLICIES,)) -> Comparison:
    return compare(from_rows(estate.rows), known or [sets()], since=ENFORCED, policies=policies)


def causes(found: Comparison, workload: str = "Deployment/web") -> set[tuple[str, str, str]]:
    return {(each.kind, each.cause, each.policy) for each in found.differences if each.workload == workload}


def pod_of(trial: str) -> dict[str, Any]:
    """A pod of a Deployment's ReplicaSet."""
    return {"group": "", "resource": "pods", "name": "", "trial": trial, "by_controller": True}


def pods(record: SetRecord) -> SetRecord:
    """The set, with pods among what its policies are about."""
    rule = Rule(operations=("CREATE",), groups=("",), versions=("v1",), resources=("pods",))
    replace = msgspec.structs.replace
    return replace(
        record,
        policies=tuple(
            replace(each, match=replace(each.match, rules=(*each.match.rules, rule))) for each in record.policies
        ),
    )


def test_a_refusal_that_was_predicted_is_no_difference() -> None:
    """It violated before, and was refused since."""
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY])
    refused(estate)
    found = judged(estate)
    (row,) = found.rows
    assert (row.predicted, row.refused, row.as_predicted, row.differences) == (1, 1, 1, 0)
    assert found.differences == ()


def test_a_prediction_without_a_write_since_is_untested() -> None:
    """Neither right nor wrong, and counted as such."""
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY])
    (row,) = judged(estate).rows
    assert (row.predicted, row.untested, row.differences) == (1, 1, 0)


def _same_template(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    refused(estate, **pod_of("5d8f6b7c9"))


def _changed_since(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    refused(estate, **pod_of("6c4b8d9f7"))


def _new_workload(estate: Estate) -> None:
    refused(estate)


def _policy_changed(estate: Estate) -> None:
    estate.set_digest = "set-0"
    estate.write("shop", "Deployment", "web", at=BEFORE)
    refused(estate)


def _unknown_set(estate: Estate) -> None:
    estate.set_digest = "set-of-somebody"
    estate.write("shop", "Deployment", "web", at=BEFORE)
    refused(estate)


def _blind_before(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE)
    estate.write("shop", "Deployment", "web", at=BEFORE + HOUR, result="failed_open")
    refused(estate)


def _exempted(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[{"policy": POLICY, "result": "exempted"}])
    refused(estate)


def _not_comparable(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[{"policy": POLICY, "result": "not_comparable"}])
    refused(estate)


def _expired_evidence(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=ENFORCED - datetime.timedelta(days=40))
    refused(estate)


def _not_selected(estate: Estate) -> None:
    """Reviewed, but the first policy of the set (its lowest bit) was none of those that were evaluated."""
    estate.write("shop", "Deployment", "web", at=BEFORE, evaluated="fe")
    refused(estate)


def written(estate: Estate, resource: str, name: str, *, at: datetime.datetime) -> None:
    """An object of the cluster, not of a team, was changed."""
    group = "" if resource == "namespaces" else "admissionregistration.k8s.io"
    more = {"group": group, "resource": resource, "operation": "UPDATE", "result": "unknown"}
    estate.write(name if resource == "namespaces" else "", "", name, at=at, root_kind="", root_name="", **more)


def _edited_before(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    refused(estate, "elsewhere")
    written(estate, "validatingadmissionpolicies", POLICY, at=AFTER + HOUR)
    refused(estate, at=AFTER + 2 * HOUR, **pod_of("5d8f6b7c9"))


def _namespace_before(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    written(estate, "namespaces", "shop", at=BEFORE + HOUR)
    refused(estate, **pod_of("5d8f6b7c9"))


def _promoted_before(estate: Estate) -> None:
    """Enforcement has to be written, so that alone explains nothing; nor does another namespace."""
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    written(estate, "validatingadmissionpolicies", POLICY, at=ENFORCED)
    written(estate, "namespaces", "bank", at=ENFORCED)
    refused(estate, **pod_of("5d8f6b7c9"))


def _other_scope(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=BEFORE, subresource="scale")
    refused(estate)


@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (_same_template, "same_template"),
        (_changed_since, "changed_since"),
        (_new_workload, "new_workload"),
        (_policy_changed, "policy_changed"),
        (_unknown_set, "blind_before"),
        (_blind_before, "blind_before"),
        (_exempted, "exempted"),
        (_not_comparable, "not_comparable"),
        (_expired_evidence, "expired_evidence"),
        (_other_scope, "other_scope"),
        (_not_selected, "not_selected"),
        (_edited_before, "policy_edited"),
        (_namespace_before, "namespace_changed"),
        (_promoted_before, "same_template"),
    ],
)
def test_why_a_refusal_was_not_predicted(plant: Callable[[Estate], None], cause: str) -> None:
    """The first cause that applies; only that a template passed and was refused all the same is a wrong prediction."""
    estate = Estate()
    plant(estate)
    former = SetRecord(
        digest="set-0", policies=tuple(_with(each, digest="v0") for each in pods(sets(digest="set-0")).policies)
    )
    found = judged(estate, former, pods(sets()))
    assert causes(found) == {("not predicted", cause, POLICY)}
    assert found.wrong == (cause in WRONG)


def _with(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def test_a_refusal_without_a_name_is_not_blamed_on_anybody() -> None:
    """The log does not say which workload it was."""
    estate = Estate()
    refused(estate, "", kind="", group="apps", resource="deployments")
    assert causes(judged(estate), "") == {("not predicted", "unknown_workload", POLICY)}


def _accepted(estate: Estate) -> None:
    refused(estate, "elsewhere", at=AFTER)
    estate.write("shop", "Deployment", "web", at=AFTER + HOUR, findings=[POLICY], operation="UPDATE")


def _edited_since(estate: Estate) -> None:
    refused(estate, "elsewhere", at=AFTER)
    for row in estate.rows:
        if row["source"] == "denial":
            row["reason"] = "image-enforce"
    written(estate, "validatingadmissionpolicybindings", "image-enforce", at=AFTER + HOUR)
    estate.write("shop", "Deployment", "web", at=AFTER + 2 * HOUR, findings=[POLICY], operation="UPDATE")


def _namespace_since(estate: Estate) -> None:
    refused(estate, "elsewhere", at=AFTER)
    written(estate, "namespaces", "shop", at=AFTER + HOUR)
    estate.write("shop", "Deployment", "web", at=AFTER + 2 * HOUR, findings=[POLICY], operation="UPDATE")


def _not_selected_since(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER, operation="UPDATE", evaluated="fe")


def _not_enforced(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER + HOUR, findings=[POLICY], operation="UPDATE")


def _not_yet_enforced(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER, findings=[POLICY], operation="UPDATE")
    refused(estate, "elsewhere", at=AFTER + HOUR)


def _mended(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER, operation="UPDATE")


def _blind_since(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER, operation="UPDATE", result="failed_open")


def _deleted(estate: Estate) -> None:
    estate.write("shop", "Deployment", "web", at=AFTER, operation="DELETE", code=200)


def _other_first(estate: Estate) -> None:
    refused(estate, policy="ResourceQuota/compute")


@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (_accepted, "accepted"),
        (_edited_since, "policy_edited"),
        (_namespace_since, "namespace_changed"),
        (_not_selected_since, "not_selected"),
        (_not_enforced, "not_enforced"),
        (_not_yet_enforced, "not_enforced"),
        (_mended, "mended"),
        (_blind_since, "blind_since"),
        (_deleted, "deleted"),
        (_other_first, "other_denial_first"),
    ],
)
def test_why_a_predicted_refusal_did_not_come(plant: Callable[[Estate], None], cause: str) -> None:
    """Only what is accepted with our finding, where the policy is known to be enforced by then, is wrong."""
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY])
    plant(estate)
    found = judged(estate)
    assert causes(found) == {("did not come", cause, POLICY)}
    assert found.wrong == (cause in WRONG)


def test_of_two_policies_the_one_that_refuses_first_hides_the_other() -> None:
    """The API server answers with one refusal."""
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY, OTHER])
    refused(estate)
    assert causes(judged(estate)) == {("did not come", "other_denial_first", OTHER)}


def test_the_label_that_enforces_pod_security_excuses_nothing() -> None:
    """The Namespace has to be written for it to be enforced at all: a wrong prediction stays one."""
    level = "pod-security-restricted"
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, **pod_of("5d8f6b7c9"))
    written(estate, "namespaces", "shop", at=ENFORCED)
    refused(estate, policy=level, **pod_of("5d8f6b7c9"))
    assert causes(judged(estate, pods(sets()))) == {("not predicted", "same_template", level)}


def test_pod_security_refuses_pods_alone() -> None:
    """A Deployment that violates is warned of and accepted: no wrong prediction."""
    level = "pod-security-restricted"
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[level])
    refused(estate, "elsewhere", policy=level)
    estate.write("shop", "Deployment", "web", at=AFTER + HOUR, findings=[level], operation="UPDATE")
    found = judged(estate)
    assert causes(found) == set()
    assert next(row for row in found.rows if row.policy == level).untested == 1


def test_what_is_not_in_force_is_not_compared() -> None:
    """Of thirty policies one was promoted: the others refuse nothing, and were not meant to."""
    estate = Estate()
    estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY, OTHER, POLICIES[3]])
    estate.write("shop", "Deployment", "web", at=AFTER + HOUR, findings=[POLICY, OTHER], operation="UPDATE")
    assert judged(estate, policies=()).policies == ()
    written(estate, "validatingadmissionpolicybindings", f"{OTHER}-enforce", at=AFTER)
    found = judged(estate, policies=())
    assert found.policies == (OTHER,)
    assert causes(found) == {("did not come", "not_enforced", OTHER)}
    refused(estate, "elsewhere")
    assert judged(estate, policies=()).policies == tuple(sorted((POLICY, OTHER)))


def test_every_cause_is_planted_somewhere() -> None:
    """A cause that no test has is one that nobody has seen."""
    text = Path(__file__).read_text()
    assert [cause for cause in CAUSES if f'"{cause}"' not in text] == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 on a wrong prediction, 0 on differences that have another cause; JSON says it all."""
    manifest = tmp_path / "sets.json"
    manifest.write_bytes(msgspec.json.encode([sets()]))
    for plant, code, wrong in ((_accepted, 1, 1), (_mended, 0, 0)):
        estate = Estate()
        estate.write("shop", "Deployment", "web", at=BEFORE, findings=[POLICY])
        plant(estate)
        monkeypatch.setattr(engine, "open_facts", lambda _folder, rows=estate.rows: from_rows(rows))
        asked = ["compare", "--facts", str(tmp_path), "--since", ENFORCED.isoformat(), "--manifest", str(manifest)]
        assert main([*asked, "--output", "json"]) == code
        shown = json.loads(capsys.readouterr().out)
        assert shown["wrong"] == wrong
        assert {each["cause"] for each in shown["differences"]} == set(shown["causes"])
        assert main(asked) == code
        assert ("WRONG: " in capsys.readouterr().out) == bool(wrong)


def test_from_the_log_itself(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make_log: Callable[..., Any],
    make_record: Callable[..., SetRecord],
) -> None:
    """Reviewed with a finding, then refused by the API server's own words: one as predicted, one new workload."""
    record = make_record("image-tag-mutable")
    log = make_log(record)
    log.write(name="web", outcome=log.outcome("image-tag-mutable"))
    log.write(name="fit", outcome=log.outcome())
    since = log.now
    lines = list(log.lines)
    for name in ("web", "late"):
        event = json.loads(log.write(name=name, code=422))
        event["responseStatus"] |= {
            "status": "Failure",
            "message": f"deployments.apps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'image-tag-mutable' with "
            "binding 'image-tag-mutable-enforce' denied request: moving tag",
        }
        lines.append(json.dumps(event, separators=(",", ":")).encode())
    file, manifest = tmp_path / "audit.log", tmp_path / "sets.json"
    file.write_bytes(b"\n".join(lines) + b"\n")
    manifest.write_bytes(msgspec.json.encode([record]))
    asked = ["compare", str(file), "--since", since.isoformat(), "--manifest", str(manifest), "--output", "json"]
    assert main(asked) == 0
    shown = json.loads(capsys.readouterr().out)
    (row,) = shown["rows"]
    assert (row["predicted"], row["refused"], row["as_predicted"], row["wrong"]) == (1, 2, 1, 0)
    assert [(each["workload"], each["cause"]) for each in shown["differences"]] == [("Deployment/late", "new_workload")]
