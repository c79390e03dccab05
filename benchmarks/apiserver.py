"""What a writer feels: the same writes to a real API server, with the webhook and without, side by side.

Two namespaces differ in one thing: the configuration's namespaceSelector leaves one out. Writes alternate between them,
so that whatever the machine does meets both. The API server's own admission histogram is read, too; its lowest bucket
is 5 ms, so it gives a mean and a share, never a p99. Client, API server, etcd, webhook and all share this machine.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from tests.e2e.plane.binaries import find
from tests.e2e.plane.cluster import Cluster, wait_for
from tests.e2e.plane.webhooks import Installation
from webhook.annotations import REVIEWED, WEBHOOK_NAME
from webhook.bench import objects
from webhook.bench.histogram import Histogram
from webhook.bench.machine import describe

WRITERS = 50
_HISTOGRAM = "apiserver_admission_webhook_admission_duration_seconds"
_FAILED_OPEN = "apiserver_admission_webhook_fail_open_count"
_WITH, _WITHOUT = "with-webhook", "without-webhook"


class Latency(Struct, frozen=True):
    """Of one kind of write, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        values = Histogram(round(one * 1e6) for one in seconds)
        return cls(values.count, *(round(values.percentile(percent) / 1e3, 2) for percent in (50, 90, 99)))


class Seen(Struct, frozen=True, kw_only=True):
    """What one run saw."""

    alone: dict[str, Latency]
    """One writer; by namespace."""
    burst: dict[str, Latency]
    """`WRITERS` at once; by namespace."""
    calls: int
    """Of the webhook, as the API server counted them; the next two are of these."""
    mean_ms: float
    below_5_ms: float
    failed_open: int


def run(*, writes: int = 300, bursts: int = 10) -> Seen:
    """Starts a cluster and the webhook, writes, ends both. Raises `NoControlPlane` when there are no binaries."""
    binaries = find(lambda line: print(f"controlplane: {line}", flush=True))
    plane = Cluster(binaries)
    try:
        with tempfile.TemporaryDirectory(prefix="wouldblock-bench-") as folder:
            cluster = plane.start()
            installed = Installation(cluster, Path(folder))
            try:
                _register(cluster, installed)
                return _measure(cluster, writes, bursts)
            finally:
                installed.stop()
    finally:
        plane.stop()


def _register(cluster: Cluster, installed: Installation) -> None:
    """The configuration as users get it, except that one namespace is left out and the webhook is dialled directly."""
    installed.forwarder.port = installed.replicas[0].port
    configuration = installed.configuration()
    left_out = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [_WITHOUT]}
    for entry in configuration["webhooks"]:
        entry.setdefault("namespaceSelector", {}).setdefault("matchExpressions", []).append(left_out)
    cluster.kubectl("apply", "-f", "-", input=configuration)
    for name in (_WITH, _WITHOUT):
        cluster.namespace(name)
    key = f"{WEBHOOK_NAME}/{REVIEWED}"
    wait_for("the webhook is called", lambda: key in cluster.dry_run(_WITH).get("annotations", {}))
    if key in cluster.dry_run(_WITHOUT).get("annotations", {}):
        raise RuntimeError(f"the namespace {_WITHOUT} is reviewed: there is nothing to compare with")


def _measure(cluster: Cluster, writes: int, bursts: int) -> Seen:
    rng = random.Random(1)
    before = _counters(cluster)
    # The first writes of a kind are slow for reasons of their own.
    alone = _alone(cluster, rng, 20) and _alone(cluster, rng, writes)
    burst = _bursts(cluster, rng, bursts)
    calls, total, fast, failed_open = (now - then for now, then in zip(_counters(cluster), before, strict=True))
    return Seen(
        alone=alone,
        burst=burst,
        calls=int(calls),
        mean_ms=round(total / calls * 1e3, 2) if calls else 0.0,
        below_5_ms=fast / calls if calls else 0.0,
        failed_open=int(failed_open),
    )


def _alone(cluster: Cluster, rng: random.Random, writes: int) -> dict[str, Latency]:
    seconds: dict[str, list[float]] = {_WITH: [], _WITHOUT: []}
    for number in range(writes):
        order = (_WITH, _WITHOUT) if number % 2 else (_WITHOUT, _WITH)
        manifest = deployment(rng)
        for namespace in order:
            seconds[namespace].append(_post(cluster.http, namespace, manifest))
    return {namespace: Latency.of(values) for namespace, values in seconds.items()}


def _bursts(cluster: Cluster, rng: random.Random, bursts: int) -> dict[str, Latency]:
    seconds: dict[str, list[float]] = {_WITH: [], _WITHOUT: []}
    with _crowd(cluster) as at_once:
        for number in range(2 * bursts):
            namespace = (_WITH, _WITHOUT)[number % 2]
            manifests = [deployment(rng) for _ in range(WRITERS)]
            seconds[namespace] += at_once(namespace, manifests)
    return {namespace: Latency.of(values) for namespace, values in seconds.items()}


@contextmanager
def _crowd(cluster: Cluster) -> Iterator[Callable[[str, list[Any]], list[float]]]:
    """`WRITERS` clients, each with its connection open; what is yielded lets all of them write at the same moment."""
    clients = [cluster.client() for _ in range(WRITERS)]
    try:
        for client in clients:
            client.get("/readyz").raise_for_status()

        def at_once(namespace: str, manifests: list[Any]) -> list[float]:
            gate = threading.Barrier(WRITERS)
            taken: list[float] = []

            def write(client: httpx.Client, manifest: Any) -> None:
                gate.wait()
                taken.append(_post(client, namespace, manifest))

            threads = [threading.Thread(target=write, args=pair) for pair in zip(clients, manifests, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if len(taken) != WRITERS:
                raise RuntimeError(f"{WRITERS - len(taken)} of {WRITERS} parallel writes failed")
            return taken

        yield at_once
    finally:
        for client in clients:
            client.close()


def _post(client: httpx.Client, namespace: str, manifest: Any) -> float:
    began = time.perf_counter()
    answer = client.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=manifest)
    seconds = time.perf_counter() - began
    if answer.status_code != 201:
        raise RuntimeError(f"the API server refused a write: {answer.status_code} {answer.text[:1000]}")
    return seconds


def deployment(rng: random.Random) -> Any:
    """A Deployment of the corpus, as a user would write it: nothing in it that the server sets."""
    made = objects.deployment(rng, "")
    meta = {"name": f"{made['metadata']['name']}-{objects.suffix(rng, 6)}", "labels": made["metadata"]["labels"]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": made["spec"]}


def _counters(cluster: Cluster) -> tuple[float, float, float, float]:
    """Calls, their seconds, those within 5 ms, those that failed open."""
    which = {"name": WEBHOOK_NAME}
    return (
        cluster.metric(f"{_HISTOGRAM}_count", **which),
        cluster.metric(f"{_HISTOGRAM}_sum", **which),
        cluster.metric(f"{_HISTOGRAM}_bucket", **which, le="0.005"),
        cluster.metric(_FAILED_OPEN, **which),
    )


def render(seen: Seen) -> str:
    """Markdown."""
    lines = [
        "| create a Deployment | | p50 | p90 | p99 |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for what, rows in (("one writer", seen.alone), (f"{WRITERS} writers at once", seen.burst)):
        for namespace, said in ((_WITHOUT, "without the webhook"), (_WITH, "with it")):
            one = rows[namespace]
            lines.append(f"| {what}, {one.count} writes | {said} | {one.p50} ms | {one.p90} ms | {one.p99} ms |")
    return "\n".join(lines) + (
        f"\n\nThe API server's own histogram of the webhook: {seen.calls} calls, mean {seen.mean_ms} ms, "
        f"{seen.below_5_ms:.1%} within 5 ms, {seen.failed_open} failed open. Client, API server, etcd and webhook "
        f"share the machine: {describe()}.\n"
    )
