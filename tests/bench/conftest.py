"""A TLS target in a process of its own, and the marker of tests that trust the wall clock."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER = Path(__file__).with_name("answering.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bench: trusts the wall clock; run by `make bench` (pytest -m bench)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "bench" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="trusts the wall clock: run by `make bench`, or pytest -m bench")
    for item in items:
        if item.get_closest_marker("bench"):
            item.add_marker(skip)


class Webhook:
    """The target's process: `url(path)`, `pid`, and the CA that signed its certificate."""

    def __init__(self, process: subprocess.Popen[str], port: int, ca: Path) -> None:
        self.process, self.port, self.ca = process, port, ca
        self.pid = process.pid

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and wh.wb.svc, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench target")])
    now = datetime.datetime.now(datetime.UTC)
    import ipaddress

    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("wh.wb.svc")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=12))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / "tls.crt", folder / "tls.key"
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return crt, pem


@pytest.fixture
def start_webhook(tls: tuple[Path, Path]) -> Iterator[Callable[[], Webhook]]:
    """Starts targets; all end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start() -> Webhook:
        process = subprocess.Popen([sys.executable, str(SERVER), *map(str, tls)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return Webhook(process, int(process.stdout.readline()), tls[0])

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def webhook(start_webhook: Callable[[], Webhook]) -> Webhook:
    return start_webhook()
