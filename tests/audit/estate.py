"""A seeded cluster of many teams as rows of the facts table, with what was planted in it.

Made of plain rows, so that figures are tested against what is known, not against another reading of a log.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from webhook.audit.owners import Entry, Owners
from webhook.audit.report.build import build
from webhook.audit.report.figures import Report
from webhook.audit.report.standing import Catalogue
from webhook.audit.table.engine import from_rows
from webhook.policy import Match, Metadata, PolicyRecord, Rule, SetRecord, Severity

START = datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC)
KINDS = {
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "CronJob": ("batch", "cronjobs"),
}
WORDS = ("checkout", "search", "ledger", "gateway", "billing", "catalog", "mailer", "indexer", "session", "reports")
PARTS = ("api", "worker", "web", "sync", "proxy", "cache")
POLICIES = (
    "probe-readiness-missing",
    "resources-memory-limit-missing",
    "pod-security-restricted",
    "image-tag-mutable",
    "resources-cpu-request-missing",
    "pod-security-baseline",
    "resources-unit-mistake",
    "image-registry-deprecated",
)
CLIENTS = ("argocd-application-controller", "kubectl", "helm", "terraform-provider-kubernetes", "flux")


class Estate:
    """Rows of the facts table, written as time goes on."""

    def __init__(self, *, cluster: str = "prod-eu", set_digest: str = "set-1") -> None:
        self.rows: list[dict[str, Any]] = []
        self.cluster = cluster
        self.set_digest = set_digest
        self._request = 0

    def write(
        self,
        namespace: str,
        kind: str,
        name: str,
        /,
        *,
        at: datetime.datetime,
        findings: Iterable[str | dict[str, Any]] = (),
        result: str = "reviewed",
        **more: Any,
    ) -> None:
        """One write and what was found in it: ids of policies, or rows that differ from a violation of ours."""
        self._request += 1
        group, resource = KINDS.get(kind, ("", kind.lower() + "s"))
        base = {
            "cluster": self.cluster,
            "time": at,
            "audit_id": f"{self._request:08x}-0000-4000-8000-000000000000",
            "request": self._request,
            "kind": "write",
            "source": "",
            "policy": "",
            "result": result,
            "reason": "",
            "message": "",
            "preexisting": False,
            "operation": "CREATE",
            "group": group,
            "version": "v1",
            "resource": resource,
            "subresource": "",
            "namespace": namespace,
            "name": name,
            "root_kind": kind,
            "root_name": name,
            "user": "alice@example.com",
            "client": "kubectl",
            "by_controller": False,
            "dry_run": False,
            "rejected": False,
            "code": 201,
            "set_digest": self.set_digest if result == "reviewed" else "",
            "snapshot": "",
            "requests": 1,
        } | more
        self.rows.append(base)
        for each in findings:
            given = {"policy": each} if isinstance(each, str) else each
            self.rows.append(
                base
                | {"kind": "finding", "source": "wouldblock", "result": "violation"}
                | {"message": f"{kind} {name} breaks {given.get('policy')}"}
                | given
            )
        if result not in ("reviewed", "rejected", "dry_run", "exempt_namespace", "exempt"):
            self.rows.append(base | {"kind": "blind", "name": "", "root_kind": "", "root_name": ""})


def many(
    *, workloads: int = 600, teams: int = 40, days: int = 28, seed: int = 6, blind: float = 0.02
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(rows, namespace → team). About half of the workloads have something; some of them are mended later."""
    chance = random.Random(seed)  # noqa: S311 - seeded, for tests
    estate = Estate()
    owners: dict[str, str] = {}
    namespaces = []
    for number in range(teams):
        team = f"team-{WORDS[number % len(WORDS)]}-{number:03}"
        for stage in ("prod", "stage") if number % 2 else ("prod",):
            namespace = f"{WORDS[number % len(WORDS)]}-{number:03}-{stage}"
            namespaces.append(namespace)
            if number % 9 != 8:
                owners[namespace] = team
    for number in range(workloads):
        namespace = chance.choice(namespaces)
        kind = chance.choices(tuple(KINDS), (8, 2, 1, 2))[0]
        name = f"{chance.choice(WORDS)}-{chance.choice(PARTS)}-{number}"
        client, user = chance.choice(CLIENTS), f"user-{chance.randrange(teams)}@example.com"
        bad = chance.sample(POLICIES[: chance.randint(3, len(POLICIES))], chance.choice((1, 1, 2, 2, 3)))
        at = START + datetime.timedelta(days=chance.random() ** 2 * days)
        mended = chance.random() < 0.25
        for again in range(chance.randint(1, 4)):
            estate.write(
                namespace,
                kind,
                name,
                at=at,
                findings=() if mended and again else bad,
                operation="UPDATE" if again else "CREATE",
                client=client,
                user=user,
            )
            at += datetime.timedelta(days=chance.random() * 4)
            if at > START + datetime.timedelta(days=days):
                break
    for _ in range(int(len(estate.rows) * blind)):
        at = START + datetime.timedelta(days=chance.random() * days)
        cause = chance.choice(("failed_open", "truncated", "incomplete"))
        estate.write(chance.choice(namespaces), "Deployment", f"unseen-{chance.random()}", at=at, result=cause)
    for number in range(workloads // 40):
        at = START + datetime.timedelta(days=chance.random() * days)
        estate.write(
            chance.choice(namespaces),
            "Deployment",
            f"refused-{number}",
            at=at,
            result="rejected",
            rejected=True,
            code=403,
            findings=[
                {"policy": "quota", "source": "denial", "result": "denied", "message": "exceeded quota: compute"}
            ],
        )
    return estate.rows, owners


def hostile() -> Sequence[str]:
    """Names that try to be markup, terminal codes, formulas of spreadsheets, Markdown."""
    return (
        "<script>window.pwned=1</script>",
        "</td></tr></table><img src=x onerror=window.pwned=2>",
        '"><svg onload=window.pwned=3>',
        "\x1b]0;pwned\x07\x1b[31mred",
        '=HYPERLINK("http://evil.invalid","x")',
        "+cmd|' /C calc'!A0",
        "@SUM(1+1)",
        "-2+3",
        "\tx",
        "a|b](http://evil.invalid) **bold** `code` <b>",
        "line\nbreak\r\nmore",
        "right-to-left\u202eevil",
        "zero\u200bwidth",
        "lone\ud800surrogate",
    )


def sets(*, digest: str = "set-1", text: str = "") -> SetRecord:
    """The set that reviewed the estate: `POLICIES` on workloads, with severities; `text` goes into every text."""
    severities = ("medium", "medium", "medium", "medium", "low", "high", "critical", "info")
    match = Match(
        rules=tuple(
            Rule(operations=("CREATE", "UPDATE"), groups=(group,), versions=("v1",), resources=(resource,))
            for group, resource in KINDS.values()
        )
    )
    return SetRecord(
        digest=digest,
        policies=tuple(
            PolicyRecord(
                id=name,
                digest="v1",
                match=match,
                meta=Metadata(
                    title=f"Title of {name}{text}",
                    severity=Severity(severity),
                    remediation=f"Mend {name}.{text}",
                    references=("pss:restricted", f"see:{text}") if text else ("pss:restricted",),
                ),
            )
            for name, severity in zip(POLICIES, severities, strict=True)
        ),
    )


def owners_of(teams: Mapping[str, str]) -> Owners:
    """Owners by namespace."""
    return Owners([Entry(namespaces=(name,), owner=owner, source="owners.yaml:1") for name, owner in teams.items()])


def report(**how: Any) -> Report:
    """The report on `many`."""
    rows, teams = many(**how)
    return build(from_rows(rows), owners=owners_of(teams), catalogue=Catalogue([sets()]))


def hostile_report() -> Report:
    """Every name, message, user and client of it is hostile, and so are the texts of the policies."""
    estate = Estate(cluster=hostile()[0])
    bad = [each for each in hostile() if each.isprintable() or "\ud800" not in each]
    for number, name in enumerate(bad):
        estate.write(
            f"ns{name}",
            "Deployment",
            name,
            at=START + datetime.timedelta(hours=number),
            client=name,
            user=name,
            findings=[
                {"policy": POLICIES[number % 3], "message": f"says {name}"},
                {"policy": f"unknown {name}", "source": "vap", "message": name},
                {"policy": f"by {name}", "source": "denial", "result": "denied", "message": name},
            ],
        )
        estate.write(f"ns{name}", "Deployment", f"blind{name}", at=START, result="failed_open", reason=name)
    every = "".join(bad)
    estate.rows.append(
        {
            "kind": "blind",
            "result": "unreadable",
            "reason": f"reason {every}",
            "message": every,
            "requests": 3,
            "request": 1,
        }
    )
    return build(
        from_rows(estate.rows),
        owners=owners_of({f"ns{name}": name for name in bad}),
        catalogue=Catalogue([sets(text=every)]),
    )
