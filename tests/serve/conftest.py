"""Servers, certificates and requests for the tests of serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook.policy import Context, Match, Metadata, Policy, Rule, Verdict
from webhook.policyset import PolicySet
from webhook.serve.admit import Admission, Serving
from webhook_certs.issue import issue

EVERYTHING = Match(rules=(Rule(operations=("*",), groups=("*",), versions=("*",), resources=("*/*",)),))


class Answer(msgspec.Struct, frozen=True):
    """What came back, as bytes and as JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def response(self) -> dict[str, Any]:
        value: dict[str, Any] = self.json["response"]
        return value

    @property
    def annotations(self) -> dict[str, str]:
        value: dict[str, str] = self.response.get("auditAnnotations", {})
        return value


async def exchange(
    app: Any,
    chunks: Sequence[bytes],
    *,
    query: bytes = b"timeout=2s",
    headers: Sequence[tuple[bytes, bytes]] = (),
    path: str = "/validate",
    method: str = "POST",
    waits: float = 0.0,
    leaves: bool = False,
    scope: dict[str, Any] | None = None,
) -> Answer | None:
    """One ASGI exchange without sockets. `waits` seconds pass before each chunk but the first; with `leaves` the client
    goes away instead of sending the last one. None when nothing was answered."""
    left = list(chunks)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if waits and len(left) < len(chunks):
            await asyncio.sleep(waits)
        if not left or (leaves and len(left) == 1):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    about = {"type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers)}
    await app(about | (scope or {}), receive, send)
    if not sent:
        return None
    start, *rest = sent
    assert start["type"] == "http.response.start"
    body = b"".join(each.get("body", b"") for each in rest)
    names = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], names, body)


@pytest.fixture
def call() -> Callable[..., Answer | None]:
    """`exchange`, run to its end."""

    def run(app: Any, *chunks: bytes, **options: Any) -> Answer | None:
        return asyncio.run(exchange(app, chunks or (b"",), **options))

    return run


@pytest.fixture
def post(call: Callable[..., Answer | None]) -> Callable[..., Answer]:
    """One exchange that has to be answered."""

    def run(app: Any, *chunks: bytes, **options: Any) -> Answer:
        answer = call(app, *chunks, **options)
        assert answer is not None
        return answer

    return run


@pytest.fixture
def policy() -> Callable[..., Policy]:
    """A policy out of a function; it matches everything."""

    def make(run: Callable[[Context], Verdict | None], name: str = "fake.example.com") -> Policy:
        return Policy(id=name, digest="0" * 16, meta=Metadata(title="fake"), match=EVERYTHING, run=run)

    return make


@pytest.fixture
def admission(policy: Callable[..., Policy]) -> Callable[..., Admission]:
    """An `Admission` over policies given as functions."""

    def make(*runs: Callable[[Context], Verdict | None], **options: Any) -> Admission:
        policies = [policy(run, f"fake-{index}.example.com") for index, run in enumerate(runs)]
        return Admission(Serving(policies=PolicySet(policies)), **options)

    return make


UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


@pytest.fixture
def review() -> Callable[..., bytes]:
    """The bytes of a review, keys in the API server's order."""

    def make(uid: str = UID, **changes: Any) -> bytes:
        request: dict[str, Any] = {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "settings",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}},
            "oldObject": None,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }
        body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request | changes}
        return json.dumps(body, separators=(",", ":")).encode() + b"\n"

    return make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ca.crt, tls.crt and tls.key for localhost. Read only: shared by all tests."""
    folder = tmp_path_factory.mktemp("certificates")
    issue(folder, dns=["localhost"], ip=["127.0.0.1"])
    return folder


class Process:
    """`wouldblock serve` as a process of its own, on free loopback ports."""

    def __init__(self, folder: Path, certificates: Path, *arguments: str, environment: dict[str, str] | None = None):
        self.certificates = certificates
        self.log_file = folder / "log"
        command = [sys.executable, "-m", "webhook", "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--metrics-port", "0", "--tls-cert", str(certificates / "tls.crt")]
        command += ["--tls-key", str(certificates / "tls.key"), *arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("WOULDBLOCK_")}
        with self.log_file.open("wb") as log:
            self.popen = subprocess.Popen(command, stderr=log, env=clean | (environment or {}))
        deadline = time.monotonic() + 60
        while not (line := self.events("serving")):
            if self.popen.poll() is not None or time.monotonic() > deadline:
                self.popen.kill()
                pytest.fail(f"the server did not start: {self.log_file.read_text()}")
            time.sleep(0.02)
        self.port: int = line[0]["port"]
        self.metrics_port: int = line[0]["metrics_port"]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The complete log lines of one event."""
        lines = [line for line in self.log_file.read_bytes().split(b"\n")[:-1] if line.startswith(b"{")]
        return [line for each in lines if (line := json.loads(each))["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while len(self.events(name)) < count:
            assert time.monotonic() < deadline, f"no {name} in {self.log_file.read_text()}"
            time.sleep(0.02)
        return self.events(name)[count - 1]

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificates / "ca.crt")

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return (context or self.context()).wrap_socket(raw, server_hostname="localhost")

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ends it at once; the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGINT)
            try:
                self.popen.wait(30)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode


@pytest.fixture
def serve(tmp_path: Path, certificates: Path) -> Iterator[Callable[..., Process]]:
    """Starts servers, and ends them after the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, certificates: Path = certificates, **options: Any) -> Process:
            folder = tmp_path / f"server-{time.monotonic_ns()}"
            folder.mkdir()
            process = Process(folder, certificates, *arguments, **options)
            stack.callback(process.stop)
            return process

        yield start


def head(length: int, *more: str, path: str = "/validate?timeout=2s") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "User-Agent: kube-apiserver-admission"]
    lines += [f"Content-Length: {length}", "Accept: application/json, */*", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Accept-Encoding: gzip", *more, "", ""]).encode()


def read_answer(connection: socket.socket) -> Answer:
    """One answer with a Content-Length off a connection. Raises `EOFError` when it ends before."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(received)
        received += chunk
    top, body = received.split(b"\r\n\r\n", 1)
    status, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(received)
        body += chunk
    return Answer(int(status.split()[1]), headers, body)


@pytest.fixture
def raw() -> Callable[..., Answer]:
    """Sends one review over an open connection and reads the answer."""

    def ask(connection: socket.socket, body: bytes, *headers: str, path: str = "/validate?timeout=2s") -> Answer:
        connection.sendall(head(len(body), *headers, path=path) + body)
        return read_answer(connection)

    return ask


@pytest.fixture
def read() -> Callable[[socket.socket], Answer]:
    return read_answer


@pytest.fixture
def http_head() -> Callable[..., bytes]:
    return head
