"""The real webhook before the test's cluster: certificates, processes, Service and configuration as users make them.

Everything is done by the command `wouldblock`, in processes of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.plane.answers import external_name
from tests.e2e.plane.binaries import CHECKOUT
from tests.e2e.plane.cluster import Cluster, end, free_port, wait_for
from tests.e2e.plane.forwarder import Forwarder
from webhook.annotations import REVIEWED, WEBHOOK_NAME

NAMESPACE = SERVICE = "wouldblock"
PATIENT = ("--budget-ms", "500", "--max-wait-ms", "5000")
"""How busy the machine is decides over no answer."""
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def wouldblock(
    *arguments: str | Path, input: bytes | None = None, codes: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command. Raises `AssertionError` with what it said when it ends with another code."""
    command = [sys.executable, "-m", "webhook", *map(str, arguments)]
    run = subprocess.run(command, cwd=CHECKOUT, input=input, capture_output=True, check=False, timeout=120)
    text = f"wouldblock {' '.join(map(str, arguments))}: {run.returncode}\n"
    assert run.returncode in codes, text + (run.stdout + run.stderr)[-4000:].decode()
    return run


def answers(bodies: Sequence[bytes], *arguments: str | Path) -> list[dict[str, Any]]:
    """What `wouldblock review` answers to recorded AdmissionReviews: the `response`s, in order."""
    lines = b"\n".join(body.strip() for body in bodies)
    run = wouldblock("review", "--output", "json", *arguments, "-", input=lines, codes=(0, 1))
    return [json.loads(line)["response"] for line in run.stdout.splitlines()]


class Webhook:
    """One process `wouldblock serve`."""

    def __init__(self, certificates: Path, *arguments: str | Path, log: Path) -> None:
        """Returns when `/readyz` is 200."""
        self.port, self.metrics_port = free_port(), free_port()
        self.log = log
        command = [sys.executable, "-m", "webhook", "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        command += ["--tls-cert", str(certificates / "tls.crt"), "--tls-key", str(certificates / "tls.key")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WOULDBLOCK_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                cwd=CHECKOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for("the webhook is ready", self._ready, seconds=30)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"serve ended with {self.process.returncode}:\n{self.log.read_text()}"
        try:
            return httpx.get(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of `name` that have all of `labels`."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
        )

    def stop(self) -> int:
        """Ends it at once, without the drain that SIGTERM starts. The exit code."""
        return end(self.process, by=signal.SIGINT)


class Installation:
    """The webhook as a cluster has it. One at a time: it sees all namespaces, under its own name."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str | Path, replicas: int = 1) -> None:
        """`arguments` go to `serve`, and before `PATIENT`; its `--policies` to `webhook-config` as well. Not registered
        yet."""
        self.cluster = cluster
        self.folder = folder
        self.arguments = arguments
        self.certificates = folder / "certs"
        self.forwarder = Forwarder()
        self.replicas: list[Webhook] = []
        self.registered: list[str] = []
        """Names of the configurations that are in the cluster."""
        try:
            self._start(replicas)
        except BaseException:
            self.stop()
            raise

    def _start(self, replicas: int) -> None:
        self.issue()
        cluster = self.cluster
        if cluster.http.get(f"/api/v1/namespaces/{NAMESPACE}").status_code == 404:
            cluster.namespace(NAMESPACE)
            external_name(cluster, NAMESPACE, SERVICE)
        for _ in range(replicas):
            self.add_replica()

    def issue(self, *arguments: str) -> None:
        """(Re)issues the serving certificate by the same CA."""
        names = ("--service", SERVICE, "--namespace", NAMESPACE)
        wouldblock("certs", "issue", "--out", self.certificates, *names, *arguments)

    def add_replica(self) -> Webhook:
        made = Webhook(
            self.certificates, *PATIENT, *self.arguments, log=self.folder / f"serve-{len(self.replicas)}.log"
        )
        self.replicas.append(made)
        self.forwarder.backends = (*self.forwarder.backends, made.port)
        return made

    def remove(self, replica: Webhook) -> None:
        """Takes it out of the Service's endpoints; its connections stay."""
        self.forwarder.backends = tuple(port for port in self.forwarder.backends if port != replica.port)

    def configuration(self) -> dict[str, Any]:
        """What `wouldblock webhook-config` prints for these policies and this Service."""
        policies: list[str | Path] = []
        if "--policies" in self.arguments:
            start = self.arguments.index("--policies")
            rest = self.arguments[start + 1 :]
            until = next((index for index, word in enumerate(rest) if str(word).startswith("--")), len(rest))
            policies = ["--policies", *rest[:until]]
        run = wouldblock(
            "webhook-config",
            *policies,
            *("--service", SERVICE, "--namespace", NAMESPACE, "--port", str(self.forwarder.port)),
            *("--ca-file", self.certificates / "ca.crt"),
        )
        made: dict[str, Any] = yaml.safe_load(run.stdout)
        return made

    def register(self, *, probe: str) -> None:
        """Applies the configuration; returns when a pod in the namespace `probe` is reviewed."""
        self.apply()
        wait_for("the webhook's configuration is active", lambda: self._reviewed(probe, WEBHOOK_NAME))

    def apply(self) -> None:
        """Applies the configuration as the certificates now are."""
        self._apply(self.configuration())

    def register_everything(self, *, namespace: str) -> str:
        """One more configuration, only for tests, that sends all writes of a namespace; returns its webhook's name."""
        configuration = self.configuration()
        name = f"wide.{WEBHOOK_NAME}"
        entry = configuration["webhooks"][0]
        entry["name"] = name
        entry["matchPolicy"] = "Exact"
        entry["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        entry["rules"] = [
            {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "Namespaced"}
        ]
        self._apply({**configuration, "metadata": {"name": "wouldblock-wide"}, "webhooks": [entry]})
        wait_for("the wide configuration is active", lambda: self._reviewed(namespace, name))
        return name

    def unregister(self, name: str = "wouldblock") -> None:
        """Deletes the configuration; in effect with the next write."""
        self.cluster.http.delete(f"{CONFIGURATIONS}/{name}").raise_for_status()
        self.registered.remove(name)

    def stop(self) -> None:
        for name in list(self.registered):
            self.unregister(name)
        for replica in self.replicas:
            replica.stop()
        self.forwarder.stop()

    def _apply(self, configuration: dict[str, Any]) -> None:
        self.cluster.kubectl("apply", "-f", "-", input=configuration)
        name = configuration["metadata"]["name"]
        if name not in self.registered:
            self.registered.append(name)

    def _reviewed(self, namespace: str, name: str) -> bool:
        return f"{name}/{REVIEWED}" in self.cluster.dry_run(namespace).get("annotations", {})
