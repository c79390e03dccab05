"""What `status` finds in files that `issue` wrote, and in worse ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.errors import UserError
from webhook_certs import sign
from webhook_certs.issue import issue
from webhook_certs.profile import default
from webhook_certs.status import Report, inspect

TWO_WEEKS = timedelta(days=14)


def look(*paths: Path, at: datetime, name: str = "") -> Report:
    return inspect(paths, now=at, within=TWO_WEEKS, name=name)


def messages(report: Report) -> list[str]:
    return [f"{Path(problem.file).name}: {problem.message}" for problem in report.problems]


@pytest.fixture
def certs(tmp_path: Path, now: datetime) -> Path:
    issue(tmp_path, now=now)
    return tmp_path


def test_fresh_certificates_have_no_problem(certs: Path, now: datetime) -> None:
    report = look(certs, at=now)
    assert report.problems == ()
    assert [(Path(each.file).name, each.kind, each.days_left) for each in report.entries] == [
        ("ca.crt", "CA", 3650),
        ("ca.key", "key", None),
        ("tls.crt", "serving", 90),
        ("tls.key", "key", None),
    ]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (75, []),
        (76, ["tls.crt: the certificate expires on 2027-02-22 12:00 UTC; run `certs issue` again"]),
        (90, ["tls.crt: the certificate expired on 2027-02-22 12:00 UTC, so every review fails open;"]),
        (3640, ["ca.crt: the CA expires on 2036-11-21", "tls.crt: the certificate expired"]),
        (-1, ["ca.crt: the CA is not valid before", "tls.crt: the certificate is not valid before"]),
    ],
)
def test_what_expires_is_said(certs: Path, now: datetime, days: int, expected: list[str]) -> None:
    found = messages(look(certs, at=now + timedelta(days=days)))
    assert len(found) == len(expected)
    for each, beginning in zip(found, expected, strict=True):
        assert each.startswith(beginning)


def test_days_left_are_rounded_down_and_negative_once_expired(certs: Path, now: datetime) -> None:
    report = look(certs / "tls.crt", at=now + timedelta(days=90, hours=1))
    assert report.entries[0].days_left == -1


def test_a_key_of_another_certificate_is_found(certs: Path, now: datetime) -> None:
    (certs / "tls.key").write_bytes(sign.authority(default(), now=now).key_pem())
    (problem,) = messages(look(certs, at=now))
    assert problem.startswith("tls.key: is not the key of any certificate here")


def test_a_certificate_of_another_ca_is_found(
    certs: Path, now: datetime, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    issue(other, now=now)
    (certs / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    (certs / "ca.key").write_bytes((other / "ca.key").read_bytes())
    (problem,) = messages(look(certs, at=now))
    assert problem.startswith("tls.crt: is not signed by any CA here")


def test_two_cas_while_one_replaces_the_other_are_fine(certs: Path, now: datetime) -> None:
    issue(certs, new_ca=True, now=now)
    assert look(certs, at=now).problems == ()
    assert [each.kind for each in look(certs / "ca.crt", at=now).entries] == ["CA", "CA"]


def test_the_service_is_asked_for_by_name(certs: Path, now: datetime) -> None:
    assert not look(certs, at=now, name="wouldblock.wouldblock-system.svc").problems
    (problem,) = messages(look(certs, at=now, name="other.wouldblock-system.svc"))
    assert "is not for other.wouldblock-system.svc, only for wouldblock.wouldblock-system.svc" in problem


def test_a_key_that_everybody_can_read_is_found(certs: Path, now: datetime) -> None:
    (certs / "tls.key").chmod(0o644)
    (problem,) = messages(look(certs, at=now))
    assert problem.startswith("tls.key: everybody on this machine can read this key")


def test_a_mounted_secret_has_no_ca_and_may_be_read_by_the_group(certs: Path, now: datetime) -> None:
    for name in ("ca.crt", "ca.key"):
        (certs / name).unlink()
    (certs / "tls.key").chmod(0o440)
    assert look(certs, at=now).problems == ()


def leaf(
    now: datetime,
    *,
    names: list[str] | None = None,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
) -> bytes:
    """A certificate that `issue` would not make."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.guards.svc")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=90))
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_certificate_without_alternative_names_is_found(tmp_path: Path, now: datetime) -> None:
    """The common name alone convinced the API server once; it looks at it no longer."""
    (tmp_path / "one.crt").write_bytes(leaf(now))
    (problem,) = messages(look(tmp_path / "one.crt", at=now))
    assert problem.startswith("one.crt: has no subject alternative name")


@pytest.mark.parametrize(
    ("usage", "fine"),
    [
        (None, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True),
        (ExtendedKeyUsageOID.CLIENT_AUTH, False),
    ],
)
def test_a_certificate_that_is_not_for_servers_is_found(
    tmp_path: Path, now: datetime, usage: x509.ObjectIdentifier | None, fine: bool
) -> None:
    (tmp_path / "one.crt").write_bytes(leaf(now, names=["hook.guards.svc"], usage=usage))
    assert (messages(look(tmp_path / "one.crt", at=now)) == []) == fine


def test_files_given_together_belong_together(certs: Path, now: datetime) -> None:
    assert look(certs / "tls.crt", certs / "tls.key", at=now).problems == ()
    assert look(certs / "ca.crt", certs / "tls.key", at=now).problems != ()
    assert look(certs / "tls.key", at=now).problems == (), "a key alone can be compared with nothing"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.crt", b"", "holds no readable certificate"),
        ("a.crt", b"\x30\x82\x01\x0a\x02\x82", "holds no readable certificate"),
        ("a.crt", b"-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n", "no readable certificate"),
        ("a.key", b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "holds no readable private"),
        ("a.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n", "the key is encrypted"),
        ("a.crt", b"x" * ((1 << 20) + 1), "larger than 1 MiB"),
    ],
)
def test_garbage_is_an_error_that_quotes_nothing(
    tmp_path: Path, now: datetime, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=says) as caught:
        look(tmp_path / name, at=now)
    assert str(tmp_path / name) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_missing_files_are_errors(certs: Path, now: datetime, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(FileNotFoundError):
        look(certs / "none.crt", at=now)
    with pytest.raises(UserError, match=r"holds none of ca\.crt"):
        look(tmp_path_factory.mktemp("empty"), at=now)
    (certs / "tls.crt").unlink()
    with pytest.raises(UserError, match=r"tls\.crt: missing while tls\.key is there"):
        look(certs, at=now)
