"""The server as a process of its own, over TLS: connections, rotation, draining, wrong settings."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from webhook.bench import machine
from webhook_certs.issue import issue

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def admits(answer: Any, uid: str = UID) -> bool:
    return answer.status == 200 and b'"allowed":true' in answer.body and answer.response["uid"] == uid


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    return serve()


def test_reviews_over_one_connection(server: Any, raw: Any, review: Any) -> None:
    with server.connect() as connection:
        assert connection.version() == "TLSv1.3"
        for number in range(5):
            assert admits(raw(connection, review(uid=f"uid-{number}")), f"uid-{number}")


def test_alpn_and_versions(server: Any, raw: Any, review: Any) -> None:
    context = server.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with server.connect(context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() == "TLSv1.2"
        assert admits(raw(connection, review()))
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    bare.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL itself would speak 1.1 at this level
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        bare.minimum_version = bare.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)ssl|version|alert|reset"):
        server.connect(bare)


def test_no_sni_and_any_host(server: Any, raw: Any, review: Any) -> None:
    context = server.context()
    context.check_hostname = False
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port))) as connection:
        assert admits(raw(connection, review(), "Host: elsewhere"))


def test_large_headers_and_bodies_then_the_same_connection(server: Any, raw: Any, review: Any) -> None:
    with server.connect() as connection:
        hostile = ["Baggage: secret=" + "x" * 16_384, "Traceparent: 00-zz", "Authorization: Bearer secret"]
        assert admits(raw(connection, review(), *hostile))
        huge = review()[:200] + b"<" * (32 * 1024 * 1024)
        answer = raw(connection, huge)
        assert admits(answer)
        assert answer.annotations["incomplete"] == "size"
        assert admits(raw(connection, review()))
    assert "secret" not in server.log_file.read_text()
    assert server.wait_for("review_incomplete")["uid"] == UID


def test_other_paths(server: Any, raw: Any, review: Any) -> None:
    with server.connect() as connection:
        for path in ("/validate/", "/", "/Validate", "/validate/x"):
            assert raw(connection, review(), path=path).status == 404
        assert admits(raw(connection, review(), path="/validate"))
    client = http.client.HTTPSConnection("localhost", server.port, context=server.context(), timeout=30)
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/validate", 405)):
        client.request("GET", path)
        response = client.getresponse()
        response.read()
        assert response.status == status
    client.close()


def test_operations_port(server: Any) -> None:
    assert get(server.metrics_port, "/healthz") == (200, b"ok\n")
    status, body = get(server.metrics_port, "/readyz")
    ready = json.loads(body)
    assert status == 200
    assert ready["ready"] is True
    assert ready["certificateNotAfter"].startswith("20")
    assert ready["broken"] == []
    assert ready["policies"] > 0
    for _ in range(2):
        status, body = get(server.metrics_port, "/metrics")
        assert status == 200
        assert b"\nwouldblock_ready 1\n" in body
        assert b'\nwouldblock_review_duration_seconds_bucket{le="+Inf"} 0\n' in body


def test_garbage_on_the_wire_ends_that_connection_alone(server: Any, raw: Any, review: Any) -> None:
    for junk in (b"\0" * 100, b"GET\r\n\r\n", b"POST /validate HTTP/1.1\r\nContent-Length: x\r\n\r\n", os.urandom(500)):
        with server.connect() as connection:
            connection.sendall(junk)
            connection.settimeout(10)
            while connection.recv(4096):
                pass
    with socket.create_connection(("127.0.0.1", server.port)) as plain:  # no TLS at all
        plain.sendall(b"POST /validate HTTP/1.1\r\n\r\n")
        plain.settimeout(10)
        while plain.recv(4096):
            pass
    with server.connect() as connection:
        assert admits(raw(connection, review()))


def test_half_closed_and_torn_sockets(server: Any, raw: Any, review: Any, http_head: Any) -> None:
    body = review()
    for cut in (0, 30, len(http_head(len(body))) + 10, None):
        connection = server.connect()
        connection.sendall((http_head(len(body)) + body)[:cut])
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(10)
        with contextlib.suppress(BrokenPipeError):  # newer clients want to say goodbye, too
            while connection.recv(4096):
                pass
        connection.close()
    for _ in range(20):  # RST instead of FIN
        connection = server.connect()
        connection.sendall(http_head(len(body)) + body[:20])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket.socket.close(connection)
    with server.connect() as connection:
        assert admits(raw(connection, review()))
    wait_until(lambda: metric(server, "wouldblock_in_flight ") == 0)
    wait_until(lambda: metric(server, "wouldblock_connections ") == 0)


def metric(server: Any, start: str) -> float:
    text = get(server.metrics_port, "/metrics")[1].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(start))


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_slow_senders_hold_nobody_up(server: Any, raw: Any, review: Any, http_head: Any) -> None:
    """A body that comes byte by byte is answered when its time is up; others do not notice."""
    body = review()
    slow = [server.connect() for _ in range(40)]
    for connection in slow:
        connection.sendall(http_head(len(body), path="/validate?timeout=1s") + body[:150])
    with server.connect() as connection:
        for _ in range(20):
            answer = raw(connection, body)
            assert admits(answer)
            assert "incomplete" not in answer.annotations
    for connection in slow:
        connection.sendall(body[150:151])
    from_slow = [read_all(connection) for connection in slow]
    assert all(b'"allowed":true' in each and UID.encode() in each for each in from_slow)
    assert all(b"connection: close" in each for each in from_slow)
    assert metric(server, 'wouldblock_incomplete_total{reason="undecodable"}') == 40


def read_all(connection: ssl.SSLSocket) -> bytes:
    received = b""
    with connection:
        connection.settimeout(30)
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_thousand_idle_connections(server: Any, raw: Any, review: Any) -> None:
    context = server.context()
    idle = [server.connect(context) for _ in range(1_000)]
    try:
        with server.connect(context) as connection:
            for _ in range(20):
                assert admits(raw(connection, review()))
        for connection in (idle[0], idle[500], idle[-1]):  # they are of use whenever they are needed
            assert admits(raw(connection, review()))
        wait_until(lambda: metric(server, "wouldblock_connections ") >= 1_000)
    finally:
        for connection in idle:
            connection.close()


def test_large_bodies_leave_nothing_with_their_connections(serve: Any, raw: Any, review: Any) -> None:
    """Forty stay open that have brought 400 KiB each: no 250 KiB of it are left with any, as uvloop leaves."""
    server = serve()
    large = review(object={"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "a" * 400 * 1024}})
    context = server.context()

    def bring() -> ssl.SSLSocket:
        connection: ssl.SSLSocket = server.connect(context)
        assert admits(raw(connection, large))
        return connection

    first = [bring() for _ in range(5)]
    before = machine.resident_bytes(server.popen.pid)
    more = [bring() for _ in range(40)]
    grown = machine.resident_bytes(server.popen.pid) - before
    for connection in (*first, *more):
        connection.close()
    assert grown < 40 * 250 * 1024


def test_fifty_new_connections_at_once(server: Any, raw: Any, review: Any) -> None:
    answers: list[Any] = []
    context = server.context()

    def write() -> None:
        for _ in range(4):
            with server.connect(context) as connection:
                answers.append(raw(connection, review()))

    threads = [threading.Thread(target=write) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 200
    assert all(admits(answer) for answer in answers)


def serial(connection: ssl.SSLSocket) -> object:
    certificate = connection.getpeercert()
    assert certificate
    return certificate["serialNumber"]


def test_certificates_are_taken_up_without_dropping_connections(
    serve: Any, certificates: Path, tmp_path: Path, raw: Any, review: Any
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(certificates, folder)
    server = serve(certificates=folder)
    open_one = server.connect()
    before = serial(open_one)
    assert admits(raw(open_one, review()))
    issue(folder, dns=["localhost"], ip=["127.0.0.1"])
    server.wait_for("certificate_reloaded")
    with server.connect() as connection:
        after = serial(connection)
        assert after != before
        assert admits(raw(connection, review()))
    assert admits(raw(open_one, review()))

    for number, broken in enumerate([b"", b"no PEM", (certificates / "tls.crt").read_bytes()], 1):
        (folder / "tls.crt").write_bytes(broken)
        server.wait_for("certificate_unusable", number)
        with server.connect() as connection:
            assert serial(connection) == after
    (folder / "tls.crt").unlink()
    server.wait_for("certificate_unusable", 4)
    assert admits(raw(open_one, review()))
    open_one.close()
    issue(folder, dns=["localhost"], ip=["127.0.0.1"])
    server.wait_for("certificate_reloaded", 2)
    with server.connect() as connection:
        assert serial(connection) not in (before, after)
    assert metric(server, "wouldblock_certificate_failures_total") == 4
    assert metric(server, "wouldblock_certificate_reloads_total") == 2
    assert "PRIVATE KEY" not in server.log_file.read_text()


def client_pair(authority: Path, folder: Path) -> tuple[Path, Path]:
    """A client certificate by the CA in `authority`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    made = (
        x509.CertificateBuilder(issuer_name=ca.subject, serial_number=x509.random_serial_number())
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "kube-apiserver")]))
        .public_key(key.public_key())
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_before_utc + datetime.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "client.crt").write_bytes(made.public_bytes(pem))
    (folder / "client.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "client.crt", folder / "client.key"


def test_client_certificates_are_demanded(
    serve: Any, certificates: Path, tmp_path: Path, raw: Any, review: Any
) -> None:
    server = serve("--client-ca", str(certificates / "ca.crt"))
    context = server.context()
    with pytest.raises((OSError, EOFError)), server.connect(context) as connection:  # an alert, a reset or an end
        raw(connection, review())
    context.load_cert_chain(*client_pair(certificates, tmp_path))
    with server.connect(context) as connection:
        assert admits(raw(connection, review()))
    assert get(server.metrics_port, "/readyz")[0] == 200


def test_sigterm_drains(serve: Any, raw: Any, review: Any) -> None:
    server = serve("--drain-seconds", "60")
    used, idle = server.connect(), server.connect()
    assert admits(raw(used, review()))
    server.terminate()
    assert server.wait_for("draining")["connections"] == 2
    status, body = get(server.metrics_port, "/readyz")
    assert status == 503
    assert json.loads(body)["draining"] is True
    assert get(server.metrics_port, "/healthz")[0] == 200
    answer = raw(used, review())
    assert admits(answer)
    assert answer.headers["connection"] == "close"
    assert used.recv(1) == b""
    with server.connect() as late:  # endpoints are withdrawn later than the signal comes
        assert admits(raw(late, review()))
    assert server.popen.poll() is None
    assert admits(raw(idle, review()))
    used.close()
    idle.close()
    assert server.popen.wait(30) == 0
    assert server.events("ended")


def test_the_lame_duck_stays_as_long_as_somebody_does_but_no_longer_than_it_may(serve: Any) -> None:
    server = serve("--drain-seconds", "3")
    with server.connect() as connection:
        server.terminate()
        assert server.popen.wait(60) == 0
        assert connection.recv(1) == b""
    began, ended = (moment(server.events(name)[0]) for name in ("draining", "ended"))
    assert (ended - began).total_seconds() >= 3
    assert not server.events("library_uvicorn.error")  # nobody was waited for in vain


def moment(line: dict[str, Any]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(line["time"])


def test_a_second_signal_ends_at_once(serve: Any) -> None:
    server = serve("--drain-seconds", "1000")
    with server.connect():
        server.terminate()
        server.wait_for("draining")
        server.terminate()
        assert server.popen.wait(30) == 0


def test_no_write_is_lost_while_one_of_two_goes(serve: Any, review: Any, raw: Any) -> None:
    """Eight API servers, each with a pooled connection to both: new ones are dialled to the one that goes for another
    half second, as long as its endpoint is not withdrawn."""
    servers = [serve("--drain-seconds", "10"), serve()]
    lost: list[BaseException] = []
    answered = [0]
    withdrawn = [float("inf")]

    def write(first: bool) -> None:
        context = servers[0].context()
        pool: dict[int, ssl.SSLSocket] = {}
        for number in range(250):
            which = number % 2
            if number == 60 and first:
                withdrawn[0] = time.monotonic() + 0.5
                servers[0].terminate()
            try:
                if which not in pool:
                    which = 1 if time.monotonic() > withdrawn[0] else which
                    pool[which] = pool.get(which) or servers[which].connect(context)
                answer = raw(pool[which], review())
                assert admits(answer)
                answered[0] += 1
                if answer.headers.get("connection") == "close":
                    pool.pop(which).close()
            except (OSError, EOFError, AssertionError) as error:
                lost.append(error)
                return
        for connection in pool.values():
            connection.close()

    threads = [threading.Thread(target=write, args=(number == 0,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert answered[0] == 2_000
    assert servers[0].popen.wait(30) == 0
    assert servers[0].events("draining")


def test_a_broken_policy_stops_nothing(serve: Any, tmp_path: Path, raw: Any, review: Any) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n"
        "metadata: {name: broken.example.com}\nspec: {validations: [{expression: 'object.('}]}\n"
    )
    server = serve("--policies", str(broken))
    with server.connect() as connection:
        assert admits(raw(connection, review()))
    status, body = get(server.metrics_port, "/readyz")
    assert status == 200
    named = json.loads(body)["broken"]
    assert named[0]["policy"] == "broken.example.com"
    assert named[0]["message"]
    assert server.events("policy_broken")[0]["policy"] == "broken.example.com"
    assert metric(server, "wouldblock_broken_policies ") == len(named)


def test_overload_is_shed_with_answers(serve: Any, raw: Any, review: Any) -> None:
    """No error status, no closed connection, no silence: a review that has waited too long is admitted unseen."""
    server = serve("--max-wait-ms", "0.00001")
    with server.connect() as connection:
        for _ in range(20):
            answer = raw(connection, review())
            assert admits(answer)
            assert answer.annotations["incomplete"] == "shed"
            assert "retry-after" not in answer.headers
    assert metric(server, 'wouldblock_incomplete_total{reason="shed"}') == 20
    assert server.events("review_incomplete")[0]["reason"] == "shed"


def test_settings_come_from_the_environment(serve: Any, certificates: Path) -> None:
    server = serve(environment={"WOULDBLOCK_LOG_LEVEL": "info", "WOULDBLOCK_KEEP_ALIVE": "200"})
    assert server.events("serving")


def wouldblock(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", "serve", "--metrics-port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_wrong_settings_end_with_one_clear_message(certificates: Path, tmp_path: Path) -> None:
    pair = ["--tls-cert", str(certificates / "tls.crt"), "--tls-key", str(certificates / "tls.key")]
    other = tmp_path / "other"
    issue(other, dns=["localhost"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = {
            (): "--tls-cert and --tls-key are needed",
            ("--tls-cert", "absent.crt", "--tls-key", "absent.key"): "absent.crt: no such file",
            (*pair[:3], str(other / "tls.key")): "key values mismatch",
            (*pair[:3], str(certificates / "tls.crt")): "certs issue",
            (*pair, "--client-ca", str(certificates / "tls.key")): "tls.key: no PEM certificate",
            (*pair, "--host", "127.0.0.1", "--port", port): f"--port {port}: address already in use",
            (*pair, "--port", "70000"): "--port '70000': expected `int` <= 65535",
            (*pair, "--policies", "absent"): "--policies absent: no such file",
        }
        for arguments, message in cases.items():
            ended = wouldblock(*arguments)
            assert ended.returncode == 2, ended.stderr
            assert message in ended.stderr
            assert "Traceback" not in ended.stderr
            assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def test_a_port_of_every_address(certificates: Path, serve: Any) -> None:
    server = serve("--host", "")
    for address in ("127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])):
        socket.create_connection((address, server.port)).close()
