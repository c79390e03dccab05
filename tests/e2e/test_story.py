"""The whole story: write for a while, read the log, promote what is proven; then exactly what was predicted is denied.

Findings of the past do not stand in the way of a promotion once they are fixed, so the log that leads to `enforce`
holds writes that would have been denied. The same writes are sent again after the promotion: those, and no other, have
to be denied. In a cluster of its own: the log is the evidence, and other tests write into theirs.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from tests.e2e.plane.binaries import Binaries
from tests.e2e.plane.cluster import Cluster, wait_for
from tests.e2e.plane.webhooks import Installation, wouldblock
from webhook.annotations import decode
from webhook.audit.table.engine import open_facts

TAG, MEMORY, BASELINE, RESTRICTED = (
    "image-tag-mutable",
    "resources-memory-limit-missing",
    "pod-security-baseline",
    "pod-security-restricted",
)
ASKED = (TAG, MEMORY, BASELINE)
ENOUGH = ("--min-window", "0s", "--min-writes", "20")
PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets/{}",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs/{}",
    "Pod": "/api/v1/namespaces/{}/pods/{}",
}

VERDICTS = {
    (TAG, "shop"): "enforce",  # eleven were moving, all of them are pinned now
    (TAG, "bank"): "fix first",  # five still move
    (TAG, "lab"): "enforce",
    (TAG, "ops"): "enforce",
    (MEMORY, "shop"): "fix first",  # fifteen have no limit
    (MEMORY, "bank"): "enforce",  # four had none
    (MEMORY, "lab"): "enforce",
    (MEMORY, "ops"): "enforce",
    (BASELINE, "shop"): "enforce",
    (BASELINE, "bank"): "enforce",
    (BASELINE, "lab"): "enforce",  # five were privileged, and were replaced
    (BASELINE, "ops"): "enforce",
    (RESTRICTED, "shop"): "fix first",
    (RESTRICTED, "bank"): "fix first",
    (RESTRICTED, "lab"): "fix first",
    (RESTRICTED, "ops"): "fix first",
}


class Write(NamedTuple):
    """One request: the object that is applied, or None for a deletion."""

    kind: str
    namespace: str
    name: str
    object: dict[str, Any] | None
    dry_run: bool = False


def writes() -> Iterator[Write]:
    """A few weeks of work of four teams, the same each time."""
    for number in range(72):
        name, limit = f"web-{number}", number % 5 != 0
        if number % 7 == 0:
            yield _write("Deployment", "shop", name, "registry.example/web:latest", limit=limit)
        yield _write("Deployment", "shop", name, f"registry.example/web:{number}", limit=limit)
        if number % 4 == 0:
            yield _write("Deployment", "shop", name, f"registry.example/web:{number}", limit=limit, replicas=2)
        if number % 9 == 0:
            yield _write("Deployment", "shop", f"try-{number}", "registry.example/web", dry_run=True)
    for number in range(40):
        image = "registry.example/report" if number % 8 == 0 else "registry.example/report:7.1"
        if number % 10 == 3:
            yield _write("CronJob", "bank", f"report-{number}", image, limit=False)
        yield _write("CronJob", "bank", f"report-{number}", image)
    for number in range(32):
        if number % 7 == 1:
            yield _write("Pod", "lab", f"probe-{number}", "registry.example/probe:2", privileged=True)
            yield Write("Pod", "lab", f"probe-{number}", None)
        yield _write("Pod", "lab", f"probe-{number}", "registry.example/probe:2")
    for number in range(36):
        yield _write("StatefulSet", "ops", f"store-{number}", "registry.example/store@sha256:" + "0" * 64)


def _write(
    kind: str,
    namespace: str,
    name: str,
    image: str,
    *,
    limit: bool = True,
    privileged: bool = False,
    replicas: int = 1,
    dry_run: bool = False,
) -> Write:
    container: dict[str, Any] = {"name": "app", "image": image, "securityContext": {"privileged": privileged}}
    if limit:
        container["resources"] = {"limits": {"memory": "64Mi"}}
    spec: dict[str, Any] = {"containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    workload = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    if kind == "Pod":
        version, body = "v1", spec
    elif kind == "CronJob":
        job = {"spec": {"template": {"spec": {**spec, "restartPolicy": "Never"}}}}
        version, body = "batch/v1", {"schedule": "0 3 * * *", "jobTemplate": job}
    else:
        version, body = "apps/v1", workload | ({"serviceName": name} if kind == "StatefulSet" else {})
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": body}
    return Write(kind, namespace, name, made, dry_run)


class Log:
    """Sends writes, and finds their events."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def send(self, client: httpx.Client, each: Write, *, prefix: str) -> tuple[str, httpx.Response]:
        """Applies or deletes, as one does by hand; the audit id and the answer. `prefix` makes another object of it."""
        identity = str(uuid.uuid4())
        url = PATHS[each.kind].format(each.namespace, prefix + each.name)
        headers = {"Audit-ID": identity}
        if each.object is None:
            return identity, client.delete(f"{url}?gracePeriodSeconds=0", headers=headers)
        query = "?fieldManager=story&force=true" + ("&dryRun=All" if each.dry_run else "")
        renamed = {**each.object, "metadata": {**each.object["metadata"], "name": prefix + each.name}}
        headers["Content-Type"] = "application/apply-patch+yaml"
        return identity, client.request("PATCH", url + query, content=json.dumps(renamed), headers=headers)

    def send_all(self, *, prefix: str) -> list[tuple[Write, str, httpx.Response]]:
        with self.cluster.client("developer") as client:
            return [(each, *self.send(client, each, prefix=prefix)) for each in writes()]

    def found(self) -> dict[str, set[str]]:
        """Audit id → the policies that would have denied the write, by our annotations."""
        return {
            event["auditID"]: {finding.policy for finding in reviewed.outcome.findings}
            for event in self.cluster.audit_events()
            if (reviewed := decode(event.get("annotations", {}))) is not None
        }


@pytest.fixture
def plane(binaries: Binaries) -> Iterator[Cluster]:
    made = Cluster(binaries)
    try:
        yield made.start()
    finally:
        made.stop()


def test_predicted_is_denied_and_nothing_else(plane: Cluster, tmp_path: Path) -> None:
    for namespace in ("shop", "bank", "lab", "ops", "probing"):
        plane.namespace(namespace)
    log = Log(plane)
    installed = Installation(plane, tmp_path)
    try:
        installed.register(probe="probing")
        before = log.send_all(prefix="")
        _the_story(plane, log, before, tmp_path / "facts")
    finally:
        installed.stop()


def _the_story(plane: Cluster, log: Log, before: list[tuple[Write, str, httpx.Response]], facts: Path) -> None:
    assert [answer.text for _, _, answer in before if answer.status_code not in (200, 201)] == []
    assert len([each for each, _, _ in before if not each.dry_run]) >= 200

    # What the log says.
    flags = (plane.audit_log, *ENOUGH)
    report = json.loads(wouldblock("readiness", *flags, "--output", "json", codes=(1,)).stdout)
    said = {(row["policy"], row["namespace"]): row for row in report["verdicts"]}
    assert {key: said[key]["verdict"] for key in VERDICTS} == VERDICTS
    assert {said[key]["coverage"]["share"] for key in VERDICTS} == {1.0}
    assert said[TAG, "shop"]["violations"] == 11
    assert said[TAG, "shop"]["outside"]["dry_run"] == 8
    assert said[MEMORY, "shop"]["open"] == 15

    # The facts table counts the same, in SQL.
    wouldblock("facts", plane.audit_log, "--out", facts)
    with open_facts(facts) as connection:
        counted = connection.execute(
            "SELECT policy, namespace, count(*) FROM findings WHERE source = 'wouldblock' AND result = 'violation' "
            "AND NOT rejected AND NOT dry_run GROUP BY ALL"
        ).fetchall()
    violations = {(policy, namespace): count for policy, namespace, count in counted}
    assert {key: violations.get(key, 0) for key in VERDICTS} == {key: said[key]["violations"] for key in VERDICTS}

    # What that predicts, if what is `enforce` is enforced: write by write, from the log alone.
    promoted = {key for key, verdict in VERDICTS.items() if verdict == "enforce" and key[0] in ASKED}
    found = log.found()
    predicted = [
        each
        for each, identity, _ in before
        if any((policy, each.namespace) in promoted for policy in found.get(identity, ()))
    ]
    assert Counter(each.namespace for each in predicted) == {"shop": 11 + 8, "bank": 4, "lab": 5}

    # Promote, as the help says.
    run = wouldblock("promote", *ASKED, "--log", *flags)
    applied = list(yaml.safe_load_all(run.stdout))
    assert {each["kind"] for each in applied} == {
        "Namespace",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    plane.kubectl("apply", "--server-side", "-f", "-", input=run.stdout.decode())
    _wait_until_enforced(plane, log, predicted)

    # The same writes again, as other objects.
    again = log.send_all(prefix="again-")
    denied = [each for each, _, answer in again if _denied(answer)]
    assert denied == predicted
    # A second run adds what is new: each of these refusals, by the policy that refused.
    wouldblock("facts", plane.audit_log, "--out", facts)
    with open_facts(facts) as connection:
        refused = connection.execute("SELECT audit_id, policy FROM findings WHERE source = 'denial'").fetchall()
    identities = {identity: _denied(answer) for _, identity, answer in again}
    assert {identity for identity, _ in refused if identity in identities} == {
        identity for identity, was in identities.items() if was
    }
    assert {policy for identity, policy in refused if identity in identities} <= {policy for policy, _ in promoted}
    others = [answer for each, _, answer in again if each not in denied]
    # What was denied at first is not there to be deleted before it is replaced.
    assert {answer.status_code for answer in others} <= {200, 201, 404}
    gone = [each for each, _, answer in again if answer.status_code == 404]
    assert gone == [each for each, _, _ in again if each.object is None]
    # And the webhook went on: it saw what was admitted.
    found = log.found()
    assert all(
        identity in found for each, identity, answer in again if answer.status_code in (200, 201) and each.object
    )


def _denied(answer: httpx.Response) -> bool:
    """By a policy or by Pod Security, and by nothing else."""
    if answer.status_code not in (403, 422):
        return False
    message = answer.json()["message"]
    assert "denied request" in message or "violates PodSecurity" in message, message
    return True


def _wait_until_enforced(plane: Cluster, log: Log, predicted: list[Write]) -> None:
    """One write of each kind of denial, as a dry run, until it is denied."""
    kinds = {(each.namespace, each.name.partition("-")[0]): each for each in predicted}
    for each in kinds.values():
        trial = each._replace(dry_run=True)

        def denied(trial: Write = trial) -> bool:
            return _denied(log.send(plane.http, trial, prefix="trial-")[1])

        wait_for(f"a write in {each.namespace} is denied", denied, seconds=20)
