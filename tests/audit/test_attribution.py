from __future__ import annotations

import pytest

from webhook.audit.attribution import UNKNOWN, Origin, origin
from webhook.audit.bound import upper_bound


@pytest.mark.parametrize(
    ("group", "resource", "name", "owner", "expected"),
    [
        ("", "pods", "", "ReplicaSet/web-67b8cd545f", Origin("Deployment/web", "67b8cd545f")),
        ("", "pods", "web-67b8cd545f-dfspv", "", Origin("Deployment/web", "67b8cd545f")),
        ("apps", "replicasets", "web-67b8cd545f", "", Origin("Deployment/web", "67b8cd545f")),
        ("apps", "replicasets", "web-67b8cd545f", "Deployment/web", Origin("Deployment/web", "67b8cd545f")),
        ("apps", "deployments", "web", "", Origin("Deployment/web", "")),
        ("", "pods", "", "ReplicaSet/frontend", Origin("ReplicaSet/frontend", "template")),
        ("apps", "replicasets", "frontend", "", Origin("ReplicaSet/frontend", "")),
        ("", "pods", "db-0", "StatefulSet/db", Origin("StatefulSet/db", "template")),
        ("apps", "replicasets", "web-extra", "", Origin("ReplicaSet/web-extra", "")),
        ("", "pods", "", "Job/backup-29391840", Origin("CronJob/backup", "template")),
        ("batch", "jobs", "backup-29391840", "CronJob/backup", Origin("CronJob/backup", "template")),
        ("batch", "jobs", "backup-29391840", "", Origin("CronJob/backup", "template")),
        ("", "pods", "", "Job/migrate", Origin("Job/migrate", "template")),
        ("", "pods", "tool", "", Origin("Pod/tool", "")),
        ("", "pods", "tool-x7abc", "", Origin("Pod/tool-x7abc", "")),  # `a` is in no generated name
        ("", "configmaps", "settings", "", Origin("configmaps/settings", "")),
        ("example.dev", "kettles", "one", "", Origin("kettles.example.dev/one", "")),
        ("", "pods", "", "", UNKNOWN),
    ],
)
def test_origin(group: str, resource: str, name: str, owner: str, expected: Origin) -> None:
    assert origin(group, resource, name, owner) == expected


@pytest.mark.parametrize(
    ("k", "n", "bound"),
    [
        (0, 1, 0.95),
        (0, 3, 0.6316),
        (0, 5, 0.4507),
        (0, 10, 0.2589),
        (0, 20, 0.1391),
        (0, 30, 0.0950),
        (0, 59, 0.0495),
        (0, 100, 0.0295),
        (0, 299, 0.0100),
        (0, 1_000, 0.0030),
        (0, 2_995, 0.0010),
        (1, 100, 0.0466),
        (2, 100, 0.0616),
        (5, 300, 0.0347),
        (0, 0, 1.0),
        (3, 3, 1.0),
        (9, 3, 1.0),
    ],
)
def test_upper_bound(k: int, n: int, bound: float) -> None:
    assert upper_bound(k, n) == pytest.approx(bound, abs=5e-5)


def test_the_exact_bound_without_violations() -> None:
    for n in (1, 2, 29, 1_000_000):
        assert upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)
