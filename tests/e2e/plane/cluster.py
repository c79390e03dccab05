"""One throw-away cluster: etcd and kube-apiserver (controllers if asked) on loopback, with an audit log.

Everything lives in one short-named temporary folder that `stop` removes (Unix socket paths end at 108 bytes). The
audit log is written in `blocking` mode at level Metadata: the line of a request is there when its answer is.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from tests.e2e.plane.binaries import Binaries
from tests.e2e.plane.pki import Authority, key_pair

READY_SECONDS = 60.0
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        # CONNECT requests are audited as get or create.
        {"level": "Metadata", "resources": [{"group": "", "resources": ["pods/*", "services/*", "nodes/*"]}]},
    ],
}
USERS = {"admin": "system:masters", "developer": "developers"}
"""User name → group: `admin` comes with a client certificate, the others with a token."""

Value = TypeVar("Value")
Event = dict[str, Any]


class NotReady(Exception):
    """A component did not start, or what was waited for did not happen."""


def wait_for(what: str, attempt: Callable[[], Value | None], *, seconds: float = 10.0, every: float = 0.05) -> Value:
    """The first result of `attempt` that is neither None nor False. Raises `NotReady` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        result = attempt()
        if result is not None and result is not False:
            return result
        if time.monotonic() > end:
            raise NotReady(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end(process: subprocess.Popen[bytes], *, by: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
    """The signal `by`, then SIGKILL; the exit code. A stopped (SIGSTOP) process is continued first."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(by)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


class Cluster:
    """A running API server. `url`, `http` (as admin), `kubectl`, `audit_log`."""

    def __init__(
        self,
        binaries: Binaries,
        *,
        controllers: bool = False,
        flags: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Not started yet. `files` are written into `folder` first; `{folder}` in `flags` and their text names it."""
        self.binaries = binaries
        short = len(tempfile.gettempdir()) < 80
        self.folder = Path(tempfile.mkdtemp(prefix="wb-", dir=None if short else "/tmp"))
        self.audit_log = self.folder / "audit.log"
        self.authority = Authority("wouldblock test cluster")
        self.url = ""
        self._controllers = controllers
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._flags = [flag.format(folder=self.folder) for flag in flags]
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text.replace("{folder}", str(self.folder)))
        atexit.register(self.stop)

    def start(self) -> Cluster:
        """Returns when `/readyz` is 200. Raises `NotReady` with the tail of the log that tells why."""
        self._write_identity()
        socket_url = f"unix://{self.folder}/e.sock"
        peer_url = f"unix://{self.folder}/p.sock"
        self._run(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={socket_url}",
            f"--advertise-client-urls={socket_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        for attempt in range(5):
            # Somebody may take the port between the probe and the bind: the server then ends at once.
            if self._start_api_server(socket_url, last=attempt == 4):
                break
        self.kubectl("create", "clusterrolebinding", "developers", "--clusterrole=cluster-admin", "--group=developers")
        if self._controllers:
            self._run(
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={self.folder}/sa.key",
                f"--root-ca-file={self.folder}/ca.crt",
                "--secure-port=0",
            )
        return self

    def stop(self) -> None:
        """Ends every process, newest first, and removes the folder. May be called twice."""
        atexit.unregister(self.stop)
        if self.url:
            self.http.close()
            self.url = ""
        while self._processes:
            end(self._processes.pop()[1])
        if not os.environ.get("WOULDBLOCK_E2E_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ca_bundle(self) -> str:
        """The cluster's own CA, which also signs the tests' own servers, as `caBundle` wants it."""
        return base64.b64encode(self.authority.pem).decode()

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def kubectl(
        self, *arguments: str, input: str | Any = None, user: str = "admin", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """kubectl as `user` (see `USERS`). `input` goes to stdin, as YAML when it is not text.

        Raises `AssertionError` with kubectl's own words when it fails and `check` is set.
        """
        command = [self.binaries.path("kubectl"), f"--kubeconfig={self.kubeconfig}", f"--context={user}", *arguments]
        text = input if input is None or isinstance(input, str) else as_yaml(input)
        environment = {**os.environ, "KUBECACHEDIR": str(self.folder / "cache"), "HOME": str(self.folder)}
        run = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert not check or run.returncode == 0, f"kubectl {' '.join(arguments)}: {run.returncode}\n{run.stderr}"
        return run

    def client(self, user: str = "admin") -> httpx.Client:
        """An HTTP client for the API server; a new one has new connections."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        headers = {}
        if user == "admin":
            context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        else:
            headers["Authorization"] = f"Bearer token-of-{user}"
        return httpx.Client(base_url=self.url, verify=context, headers=headers, timeout=60)

    def namespace(self, name: str, **labels: str) -> str:
        """Creates the Namespace; `_` and `__` in label names stand for `-` and `/`."""
        spelt = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": spelt}}
        self.http.post("/api/v1/namespaces", json=manifest).raise_for_status()
        return name

    def dry_run(self, namespace: str) -> Event:
        """The audit event of creating a pod that is never stored: what is asked to learn what is in effect."""
        audit_id = str(uuid.uuid4())
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "probe-"},
            "spec": {"containers": [{"name": "probe", "image": "probe"}]},
        }
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        self.http.post(path, json=pod, headers={"Audit-ID": audit_id})
        return self.audit_event(audit_id)

    def audit_events(self, *, stage: str = "ResponseComplete", namespace: str = "") -> list[Event]:
        """The events of the log so far, oldest first; of all stages when `stage` is empty."""
        return [
            event
            for event in self._lines()
            if (not stage or event["stage"] == stage)
            and (not namespace or event.get("objectRef", {}).get("namespace") == namespace)
        ]

    def audit_event(self, audit_id: str, *, stage: str = "ResponseComplete") -> Event:
        """The event of the request that had this `Audit-ID` (a header that clients may set)."""

        def look() -> Event | None:
            events = (event for event in self._lines() if event["auditID"] == audit_id and event["stage"] == stage)
            return next(events, None)

        return wait_for(f"the audit event {audit_id}", look)

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of the API server's samples of `name` that have all of `labels`."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = self.http.get("/metrics").text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
        )

    def log(self, component: str) -> str:
        path = self.folder / f"{component}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _lines(self) -> Iterator[Event]:
        if not self.audit_log.exists():
            return
        with self.audit_log.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # the last one may still be in the making
                    yield json.loads(line)

    def _write_identity(self) -> None:
        (self.folder / "ca.crt").write_bytes(self.authority.pem)
        hosts = ["localhost", "127.0.0.1", "10.0.0.1", "kubernetes.default.svc"]
        self.authority.issue(self.folder, "api", name="kube-apiserver", hosts=hosts)
        self.authority.issue(self.folder, "admin", name="admin", organization=USERS["admin"])
        key_pair(self.folder / "sa.key", self.folder / "sa.pub")
        tokens = [f'token-of-{user},{user},{user},"{group}"\n' for user, group in USERS.items() if user != "admin"]
        (self.folder / "tokens.csv").write_text("".join(tokens))
        (self.folder / "audit.yaml").write_text(as_yaml(AUDIT_POLICY))

    def _start_api_server(self, etcd: str, *, last: bool) -> bool:
        port = free_port()
        disabled = ["TaintNodesByCondition"] if self._controllers else ["ServiceAccount", "TaintNodesByCondition"]
        process = self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self.folder}/certs",
            f"--tls-cert-file={self.folder}/api.crt",
            f"--tls-private-key-file={self.folder}/api.key",
            f"--client-ca-file={self.folder}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder}/sa.pub",
            f"--service-account-signing-key-file={self.folder}/sa.key",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            f"--disable-admission-plugins={','.join(disabled)}",
            f"--audit-policy-file={self.folder}/audit.yaml",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
            *self._flags,
        )
        self.url = f"https://127.0.0.1:{port}"
        self.http = self.client()
        self._write_kubeconfig()

        def ready() -> bool | None:
            if process.poll() is not None:
                return True
            with contextlib.suppress(httpx.TransportError):
                return self.http.get("/readyz").status_code == 200 or None
            return None

        try:
            wait_for("kube-apiserver is ready", ready, seconds=READY_SECONDS)
        except NotReady as error:
            raise NotReady(f"{error}\n{self.log('kube-apiserver')[-4000:]}") from None
        if process.poll() is None:
            return True
        self.http.close()
        self._processes.pop()
        if last or "address already in use" not in self.log("kube-apiserver"):
            raise NotReady(f"kube-apiserver ended with {process.returncode}\n{self.log('kube-apiserver')[-4000:]}")
        return False

    def _run(self, component: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{component}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.binaries.path(component), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own group: Ctrl-C is for pytest, which then stops the cluster in order.
                start_new_session=True,
            )
        self._processes.append((component, process))
        return process

    def _write_kubeconfig(self) -> None:
        certificate = {
            "client-certificate": str(self.folder / "admin.crt"),
            "client-key": str(self.folder / "admin.key"),
        }
        users = [
            {"name": user, "user": certificate if user == "admin" else {"token": f"token-of-{user}"}} for user in USERS
        ]
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": users,
            "contexts": [{"name": user, "context": {"cluster": "test", "user": user}} for user in USERS],
            "current-context": "admin",
        }
        self.kubeconfig.write_text(as_yaml(config))


def as_yaml(value: Any) -> str:
    """One document, or one for each of a list."""
    documents = value if isinstance(value, list) else [value]
    return str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))
