"""The server's context, and files that cannot be used."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import UserError
from webhook.serve import tls
from webhook.serve.metrics import Cells
from webhook.serve.reload import Certificates
from webhook_certs.issue import issue


def test_the_context(certificates: Path) -> None:
    made = tls.context(certificates / "tls.crt", certificates / "tls.key")
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_NONE
    assert made.num_tickets == 0
    assert (
        tls.context(certificates / "tls.crt", certificates / "tls.key", client_ca=certificates / "ca.crt").verify_mode
        is ssl.CERT_REQUIRED
    )


def test_not_after(certificates: Path) -> None:
    pair = tls.read_pair(certificates / "tls.crt", certificates / "tls.key")
    known = x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc
    assert tls.not_after(pair) == known.timestamp()
    assert 80 < (tls.not_after(pair) - time.time()) / 86_400 < 91


@pytest.mark.parametrize("year", [1999, 2049, 2050, 9999])
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_not_after_of_other_certificates(year: int, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Both notations of the date, long and short lengths; what stands before and behind the certificate."""
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "x" * 60)])
    ends = datetime.datetime(year, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, datetime.datetime(1970, 1, 1), ends)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    assert tls.not_after(tls.Pair(b"comment\n" + made + made, b"")) == ends.timestamp()


JUNK = [
    b"",
    b"junk",
    b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
    b"\xff\xfe",
]


@pytest.mark.parametrize("junk", JUNK)
def test_not_after_of_junk(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        tls.not_after(tls.Pair(junk, b""))


@given(st.data())
def test_not_after_of_a_damaged_certificate(certificates: Path, data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert((certificates / "tls.crt").read_text().split("-----\n\n")[0][:5000]))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    damaged = ssl.DER_cert_to_PEM_cert(bytes(der[: data.draw(st.integers(0, len(der)))])).encode()
    with contextlib.suppress(ValueError):
        assert isinstance(tls.not_after(tls.Pair(damaged, b"")), float)


def test_an_encrypted_key_is_refused_without_asking_for_its_password(certificates: Path, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key((certificates / "tls.key").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"password")
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(UserError, match=r"locked\.key: encrypted or no PEM"):
        tls.context(certificates / "tls.crt", locked)


def test_files_are_looked_at_and_taken_up_once(tmp_path: Path) -> None:
    issue(tmp_path, dns=["localhost"])
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    context, cells, lines = tls.context(certificate, key), Cells(), list[tuple[str, dict[str, Any]]]()
    watched = Certificates(
        context, certificate, key, cells=cells, log=lambda event, **fields: lines.append((event, fields))
    )
    assert cells.certificate_not_after > time.time()
    assert not watched.check()
    issue(tmp_path, dns=["localhost"])
    assert watched.check()
    assert not watched.check()
    key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    assert not watched.check()
    assert not watched.check()
    assert [event for event, _ in lines] == ["certificate_reloaded", "certificate_unusable"]
    assert "c2VjcmV0" not in str(lines)
    assert (cells.certificate_reloads, cells.certificate_failures) == (1, 1)
    issue(tmp_path, dns=["localhost"])
    assert watched.check()


def test_a_mounted_secret_changes_by_a_link(tmp_path: Path) -> None:
    for name in ("one", "two"):
        issue(tmp_path / name, dns=["localhost"])
    (tmp_path / "..data").symlink_to("one")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    watched = Certificates(
        tls.context(certificate, key), certificate, key, cells=Cells(), log=lambda event, **fields: None
    )
    assert not watched.check()
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert watched.check()
