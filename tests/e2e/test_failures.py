"""What a real API server does when the webhook is dead, slow, replaced, or answers rubbish: the write goes through.

And that everything *our* webhook ever answers is accepted by it, shown under failurePolicy Fail, where anything
that is not accepted would stop the write.
"""

from __future__ import annotations

import itertools
import json
import signal
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.plane.answers import Answering, Review
from tests.e2e.plane.cluster import Cluster, Event, wait_for
from tests.e2e.plane.webhooks import Installation, Webhook, wouldblock
from webhook.annotations import REVIEWED, WEBHOOK_NAME, decode
from webhook.audit.table.engine import open_facts

Make = Callable[..., Any]

FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/"
WRITES = 2_000
WRITERS = 8


def pod(name: str, image: str = "registry.example/app:1") -> dict[str, Any]:
    spec = {"containers": [{"name": "app", "image": image, "securityContext": {"privileged": True}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def create(client: httpx.Client, namespace: str, name: str) -> httpx.Response:
    return client.post(f"/api/v1/namespaces/{namespace}/pods", json=pod(name))


def failed_open(events: list[Event]) -> list[Event]:
    """Those that went by the webhook `check.wouldblock.dev`: the name is the annotation's value."""
    return [
        event
        for event in events
        if any(key.startswith(FAILED_OPEN) and value == WEBHOOK_NAME for key, value in event["annotations"].items())
    ]


def unreviewed(events: list[Event]) -> list[Event]:
    return [event for event in events if f"{WEBHOOK_NAME}/{REVIEWED}" not in event["annotations"]]


def creations(cluster: Cluster, namespace: str) -> list[Event]:
    """The events of pods that were really created."""
    return [
        event
        for event in cluster.audit_events(namespace=namespace)
        if event["verb"] == "create" and "dryRun" not in event["requestURI"]
    ]


@pytest.fixture
def installed(namespace: str, install: Make) -> Installation:
    """One replica, registered. A busy machine is no reason for an incomplete review: budget 500 ms."""
    made: Installation = install()
    made.register(probe=namespace)
    return made


def test_dead(cluster: Cluster, namespace: str, installed: Installation, tmp_path: Path) -> None:
    """Objects are created, quickly; the log names each as failed open, and readiness counts them: blind."""
    for number in range(3):
        assert create(cluster.http, namespace, f"before-{number}").status_code == 201
    counted = cluster.metric("apiserver_admission_webhook_fail_open_count", name=WEBHOOK_NAME)
    installed.replicas[0].process.kill()
    installed.replicas[0].process.wait()

    manifest = json.dumps(pod("by-kubectl"))
    run = cluster.kubectl("apply", "-f", "-", "-n", namespace, input=manifest)
    assert "created" in run.stdout
    assert "Warning" not in run.stderr
    for number in range(4):
        assert create(cluster.http, namespace, f"after-{number}").status_code == 201

    events = creations(cluster, namespace)
    assert len(events) == 8
    assert [event["objectRef"]["name"] for event in failed_open(events)] == [
        "by-kubectl",
        *(f"after-{number}" for number in range(4)),
    ]
    assert cluster.metric("apiserver_admission_webhook_fail_open_count", name=WEBHOOK_NAME) == counted + 5

    report = json.loads(
        wouldblock(
            *("readiness", cluster.audit_log, "--namespace", namespace, "--policy", "pod-security-restricted"),
            *("--output", "json", "--min-window", "0s", "--min-writes", "1"),
            codes=(1,),
        ).stdout
    )
    (row,) = report["verdicts"]
    assert row["gaps"]["failed_open"] == 5
    assert row["coverage"] == {"reviewed": 3, "of": 8, "share": 3 / 8}

    wouldblock("facts", cluster.audit_log, "--out", tmp_path / "facts")
    with open_facts(tmp_path / "facts") as connection:
        outcomes = connection.execute(
            "SELECT result, count(*) FROM writes WHERE namespace = $1 AND resource = 'pods' AND subresource = '' "
            "AND NOT rejected AND NOT dry_run GROUP BY ALL ORDER BY ALL",
            [namespace],
        ).fetchall()
        blind = connection.execute("SELECT name FROM blind WHERE namespace = $1 ORDER BY time", [namespace]).fetchall()
    assert outcomes == [("failed_open", 5), ("reviewed", 3)]
    assert blind == [("by-kubectl",), *((f"after-{number}",) for number in range(4))]


def test_silent(cluster: Cluster, namespace: str, installed: Installation) -> None:
    """An answer slower than the timeout: the write waits for the timeout, and is admitted."""
    replica = installed.replicas[0]
    replica.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert create(cluster.http, namespace, "while-stopped").status_code == 201
        took = time.monotonic() - started
    finally:
        replica.process.send_signal(signal.SIGCONT)
    assert took >= 1.9, "the webhook was not asked"
    assert len(failed_open(creations(cluster, namespace))) == 1
    assert create(cluster.http, namespace, "after").status_code == 201
    assert not unreviewed(creations(cluster, namespace)[-1:]), "the webhook did not recover"


@contextmanager
def writing(cluster: Cluster, namespace: str) -> Iterator[list[str]]:
    """kubectl and an HTTP client write pods as fast as they can; the list grows with each write that was answered."""
    written: list[str] = []
    problems: list[str] = []
    stop = threading.Event()

    def by_kubectl() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            name = f"kubectl-{number}"
            run = cluster.kubectl("apply", "-f", "-", "-n", namespace, input=json.dumps(pod(name)), check=False)
            (written if run.returncode == 0 else problems).append(name)

    def by_http() -> None:
        with cluster.client("developer") as client:
            for number in itertools.count():
                if stop.wait(0.01):
                    return
                answer = create(client, namespace, f"http-{number}")
                (written if answer.status_code == 201 else problems).append(answer.text)

    threads = [threading.Thread(target=each) for each in (by_kubectl, by_http)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_certificates_replaced_while_writing(cluster: Cluster, namespace: str, installed: Installation) -> None:
    """A new leaf, then a new CA in its three steps, while writes go on: none fails open."""
    replica = installed.replicas[0]

    def wait_until_served(before: str) -> str:
        """The certificate of new connections, once it is another."""

        def another() -> str | None:
            now = served(replica)
            return now if now != before else None

        return wait_for("the new certificate is served", another, seconds=15)

    def more(written: list[str], count: int = 15) -> None:
        wanted = len(written) + count
        wait_for("writes go on", lambda: len(written) >= wanted, seconds=60)

    first = served(replica)
    with writing(cluster, namespace) as written:
        more(written)
        installed.issue()
        second = wait_until_served(first)
        more(written)
        installed.issue("--new-ca")
        installed.apply()
        more(written)
        installed.issue()
        third = wait_until_served(second)
        more(written)
        installed.issue("--drop-old-ca")
        installed.apply()
        # A changed caBundle opens new connections: they trust nothing but the new CA from here on.
        more(written)
    assert len({first, second, third}) == 3
    events = creations(cluster, namespace)
    assert len(events) == len(written)
    assert failed_open(events) == []
    assert unreviewed(events) == []


def served(replica: Webhook) -> str:
    """What a new connection is shown. PEM."""
    return ssl.get_server_certificate(("127.0.0.1", replica.port))


def test_one_of_two_is_ended_during_2000_writes(cluster: Cluster, namespace: str, install: Make) -> None:
    """SIGTERM, and only later the Service's endpoints, as in a cluster: nothing is lost."""
    both: Installation = install("--drain-seconds", "300", replicas=2)
    both.register(probe=namespace)
    leaving, staying = both.replicas
    before = len(creations(cluster, namespace))
    turn = itertools.count()
    terminated = threading.Event()

    def write(client: httpx.Client) -> list[int]:
        codes = []
        while (number := next(turn)) < WRITES:
            codes.append(create(client, namespace, f"pod-{number}").status_code)
            if number == WRITES // 4:
                leaving.process.terminate()
                terminated.set()
        return codes

    def endpoints_follow() -> None:
        terminated.wait(120)
        time.sleep(0.5)
        both.remove(leaving)

    clients = [cluster.client() for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        removed = pool.submit(endpoints_follow)
        codes = [code for each in pool.map(write, clients) for code in each]
        removed.result()
    for client in clients:
        client.close()

    assert codes == [201] * WRITES
    events = creations(cluster, namespace)[before:]
    assert len(events) == WRITES
    assert failed_open(events) == []
    assert unreviewed(events) == []
    assert both.forwarder.connections.keys() == {leaving.port, staying.port}
    # It ends when nobody is connected any more, which is long before its time is up: the API server closes what its
    # pool holds idle after 90 s, and often there is nothing idle.
    assert leaving.process.wait(120) == 0


def test_hostile_headers_and_big_objects(cluster: Cluster, namespace: str, installed: Installation) -> None:
    """The client's trace headers reach the webhook verbatim; a 1 MiB object arrives six times as large."""
    wide = installed.register_everything(namespace=namespace)
    url = f"/api/v1/namespaces/{namespace}"
    hostile = {
        "traceparent": "00-" + "z" * 4_000,
        "tracestate": "=,;" * 1_000,
        "baggage": "%00" * 2_000,
        "Audit-ID": str(uuid.uuid4()),
    }
    assert cluster.http.post(f"{url}/pods", json=pod("traced"), headers=hostile).status_code == 201
    assert f"{wide}/reviewed" in cluster.audit_event(hostile["Audit-ID"])["annotations"]

    big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "<" * 1_020 * 1_024}}
    identity = {"Audit-ID": str(uuid.uuid4())}
    assert cluster.http.post(f"{url}/configmaps", json=big, headers=identity).status_code == 201
    decoded = decode(cluster.audit_event(identity["Audit-ID"])["annotations"], name=wide)
    assert decoded is not None
    assert decoded.outcome.incomplete == "size"


@pytest.mark.parametrize("spelling", ["", '"Allowed":true,'], ids=["missing", "misspelt"])
def test_a_missing_allowed_denies_even_under_ignore(
    cluster: Cluster, namespace: str, answering: Make, spelling: str
) -> None:
    """The one way in which a webhook under Ignore can block a cluster. It is why the encoder is tested so hard."""

    def answer(review: Review) -> tuple[int, bytes]:
        body = '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{%s"uid":"%s"}}'
        return 200, (body % (spelling, review["request"]["uid"])).encode()

    answering(answer=answer, failure_policy="Ignore")
    denied = create(cluster.http, namespace, "denied")
    assert denied.status_code == 400
    assert "denied the request without explanation" in denied.json()["message"]


MANGLED: dict[str, Callable[[bytes], bytes]] = {
    "as sent": lambda body: body,
    "truncated": lambda body: body[: len(body) // 2],
    "only its first 128 bytes": lambda body: body[:128],
    "a byte too many": lambda body: body + b"}",
    "other apiVersion": lambda body: body.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v9", 1),
    "other kind": lambda body: body.replace(b'"AdmissionReview"', b'"SubjectAccessReview"', 1),
    "invalid UTF-8": lambda body: body.replace(b'"name":"', b'"name":"\xff\xfe', 1),
    "NaN": lambda body: body.replace(b'"dryRun":false', b'"dryRun":NaN'),
    "operation of the wrong type": lambda body: body.replace(b'"operation":"CREATE"', b'"operation":7'),
    "duplicate keys": lambda body: body.replace(b'"operation":"CREATE"', b'"operation":"CREATE","operation":"UPDATE"'),
    "object of the wrong type": lambda body: body.replace(b'"object":{', b'"object":[{', 1),
    "10,000 levels": lambda body: body.replace(b'"object":{', b'"object":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b","),
    "100,000 levels": lambda body: body.replace(b'"object":{', b'"object":{"a":' + b"[" * 100_000),
    "32 MiB": lambda body: body.replace(b'"object":{', b'"object":{"a":"' + b"<" * (32 * 1024 * 1024) + b'",'),
}


@pytest.mark.parametrize("how", MANGLED)
def test_answers_to_rubbish_admit(
    cluster: Cluster, namespace: str, rubbish_eater: Webhook, answering: Make, how: str
) -> None:
    """The API server's own review is mangled on its way; it accepts what the webhook answers, under Fail.

    Under Fail everything that is not accepted stops the write: wrong uid, wrong version, HTTP errors, bad JSON.
    """
    given: list[httpx.Response] = []

    def answer(review: Review) -> tuple[int, bytes]:
        body = json.dumps(review, separators=(",", ":")).encode()
        mangled = MANGLED[how](body)
        assert how == "as sent" or mangled != body, "nothing was mangled"
        given.append(ask(rubbish_eater, mangled))
        return given[-1].status_code, given[-1].content

    middle: Answering = answering(answer=answer, failure_policy="Fail", timeout=30)
    identity = str(uuid.uuid4())
    created = cluster.http.post(
        f"/api/v1/namespaces/{namespace}/pods", json=pod("survivor"), headers={"Audit-ID": identity}
    )
    assert created.status_code == 201, created.text
    (answered,) = given
    assert answered.status_code == 200
    assert answered.content.count(b'"allowed":true') == 1
    recorded = decode(cluster.audit_event(identity)["annotations"], name=middle.webhook_name)
    assert recorded is not None
    if how not in ("as sent", "duplicate keys"):
        assert recorded.outcome.incomplete in ("undecodable", "size")
    assert rubbish_eater.process.poll() is None


def test_the_older_version_of_reviews(
    cluster: Cluster, namespace: str, rubbish_eater: Webhook, answering: Make
) -> None:
    """Configurations may ask for v1beta1, which API servers still speak: admitted, as everything is."""
    versions: list[str] = []

    def answer(review: Review) -> tuple[int, bytes]:
        versions.append(review["apiVersion"])
        given = ask(rubbish_eater, json.dumps(review).encode())
        return given.status_code, given.content

    answering(answer=answer, failure_policy="Fail", timeout=30, versions=["v1beta1"])
    assert create(cluster.http, namespace, "of-old").status_code == 201
    assert versions == ["admission.k8s.io/v1beta1"]


def ask(webhook: Webhook, body: bytes) -> httpx.Response:
    certificates = ssl.create_default_context(cafile=str(webhook.log.parent / "certs" / "ca.crt"))
    url = f"https://127.0.0.1:{webhook.port}/validate"
    return httpx.post(url, content=body, verify=certificates, timeout=30)


@pytest.fixture(scope="module")
def rubbish_eater(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """A webhook that only the mangling tests talk to; it has to survive all of them."""
    folder = tmp_path_factory.mktemp("rubbish")
    wouldblock("certs", "issue", "--out", folder / "certs", "--ip", "127.0.0.1")
    made = Webhook(folder / "certs", log=folder / "serve.log")
    yield made
    made.stop()
