"""Fixtures of the end-to-end tests: everything in this folder needs a control plane and has the mark `e2e`."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.oracle.process import Oracle
from tests.e2e.plane.answers import Answering
from tests.e2e.plane.binaries import Binaries, find
from tests.e2e.plane.cluster import Cluster
from tests.e2e.plane.webhooks import Installation

HERE = Path(__file__).parent
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """kube-apiserver, etcd, kubectl; built on first use (minutes), progress on the terminal."""
    return find(lambda line: print(f"controlplane: {line}", file=sys.__stderr__, flush=True))


@pytest.fixture(scope="session")
def oracle(binaries: Binaries) -> Iterator[Oracle]:
    """The API server's own CEL, without a server."""
    if not binaries.has("celeval"):
        pytest.skip(f"{binaries.folder} holds no celeval: unset KUBEBUILDER_ASSETS, so that the project's own is built")
    with Oracle(binaries) as process:
        yield process


@pytest.fixture(scope="session")
def cluster(binaries: Binaries) -> Iterator[Cluster]:
    """The one cluster of the run, without controllers. Tests keep to their own `namespace`."""
    plane = Cluster(binaries)
    try:
        yield plane.start()
    finally:
        plane.stop()


@pytest.fixture
def new_namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Callable[..., str]:
    """`new_namespace(label__key="value")`: a fresh namespace named after the test."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")

    def make(**labels: str) -> str:
        # Names are used once a run: a parametrised test's names may be equal after the cut.
        return cluster.namespace(f"{stem}-{next(_numbers)}", **labels)

    return make


@pytest.fixture
def namespace(new_namespace: Callable[..., str]) -> str:
    """A fresh namespace without labels."""
    return new_namespace()


@pytest.fixture
def install(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """`install(*serve_arguments, replicas=1)`: the real webhook, running but not registered; ended after the test."""
    made: list[Installation] = []

    def make(*arguments: str | Path, replicas: int = 1) -> Installation:
        made.append(Installation(cluster, tmp_path, *arguments, replicas=replicas))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def answering(cluster: Cluster, namespace: str) -> Iterator[Callable[..., Answering]]:
    """`answering(answer=…, failure_policy=…, timeout=…)`: a webhook of the test's own for all of `namespace`."""
    made: list[Answering] = []

    def make(**arguments: Any) -> Answering:
        made.append(Answering(cluster, f"{namespace}-{len(made)}", namespace=namespace, **arguments))
        return made[-1]

    yield make
    for each in made:
        each.stop()
