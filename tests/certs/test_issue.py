"""What `issue` writes, what it leaves alone, and that nothing is half done."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.errors import UserError
from webhook_certs import files, pem, sign
from webhook_certs.issue import issue
from webhook_certs.profile import default, read

NAMES = ("wouldblock.wouldblock-system.svc", "wouldblock.wouldblock-system.svc.cluster.local")
ALL = ("ca.crt", "ca.key", "tls.crt", "tls.key")


def certificate(directory: Path, name: str = "tls.crt") -> x509.Certificate:
    return certificates(directory, name)[0]


def certificates(directory: Path, name: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((directory / name).read_bytes())


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def belongs_together(directory: Path) -> bool:
    key = serialization.load_pem_private_key((directory / "tls.key").read_bytes(), None)
    return pem.same_key(certificate(directory).public_key(), key.public_key())


def test_a_first_run_writes_four_files_and_nothing_else(tmp_path: Path, now: datetime) -> None:
    issued = issue(tmp_path / "new" / "certs", now=now)
    assert sorted(contents(issued.directory)) == sorted(ALL)
    assert sorted(issued.written) == sorted(ALL)
    assert issued.new_authority
    assert issued.names == NAMES


def test_keys_are_readable_by_their_owner_alone_whatever_the_umask(tmp_path: Path, now: datetime) -> None:
    before = os.umask(0)
    try:
        issue(tmp_path, now=now)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ALL}
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "tls.crt": 0o644, "tls.key": 0o600}


def test_the_ca_is_long_lived_and_may_sign_leaves_only(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    ca = certificate(tmp_path, "ca.crt")
    assert ca.not_valid_after_utc == now + timedelta(days=3650)
    assert ca.not_valid_before_utc == now - timedelta(hours=1)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_the_serving_certificate_is_what_the_api_server_asks_for(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, service="hook", namespace="guards", dns=["localhost"], ip=["127.0.0.1", "::1"], now=now)
    leaf = certificate(tmp_path)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "hook.guards.svc",
        "hook.guards.svc.cluster.local",
        "localhost",
    ]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert leaf.not_valid_after_utc == now + timedelta(days=90)
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usage] == ["1.3.6.1.5.5.7.3.1"]
    assert not pem.is_authority(leaf)
    leaf.verify_directly_issued_by(certificate(tmp_path, "ca.crt"))


def test_a_later_run_replaces_the_leaf_and_keeps_the_ca(tmp_path: Path, now: datetime) -> None:
    """The CA stands in the configuration: rotation must never touch it."""
    issue(tmp_path, now=now)
    before = contents(tmp_path)
    issued = issue(tmp_path, now=now + timedelta(days=80))
    after = contents(tmp_path)
    assert {name for name in ALL if after[name] != before[name]} == {"tls.crt", "tls.key"}
    assert not issued.new_authority
    assert belongs_together(tmp_path)


def test_a_certificate_ends_with_its_ca(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    late = now + timedelta(days=3600)
    issued = issue(tmp_path, now=late)
    assert issued.shortened
    assert issued.not_after == now + timedelta(days=3650)
    with pytest.raises(UserError, match="--new-ca"):
        issue(tmp_path, now=now + timedelta(days=3651))


def test_a_new_ca_never_leaves_a_moment_without_trust(tmp_path: Path, now: datetime) -> None:
    """Each step's certificate is trusted by the bundle of the step before and of its own."""
    issue(tmp_path, now=now)
    (old,) = certificates(tmp_path, "ca.crt")
    leaf = (tmp_path / "tls.crt").read_bytes()

    first = issue(tmp_path, new_ca=True, now=now)
    assert first.authorities == 2
    assert (tmp_path / "tls.crt").read_bytes() == leaf
    new, second_ca = certificates(tmp_path, "ca.crt")
    assert second_ca == old

    with pytest.raises(UserError, match="not signed by the new CA yet"):
        issue(tmp_path, drop_old_ca=True, now=now)

    second = issue(tmp_path, now=now)
    assert set(second.written) == {"tls.crt", "tls.key"}
    assert certificates(tmp_path, "ca.crt") == [new, old]
    assert pem.signed_by(certificate(tmp_path), new)

    third = issue(tmp_path, drop_old_ca=True, now=now)
    assert third.written == ("ca.crt",)
    assert certificates(tmp_path, "ca.crt") == [new]
    assert pem.signed_by(certificate(tmp_path), new)


def test_an_expired_ca_is_not_carried_along(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    issued = issue(tmp_path, new_ca=True, now=now + timedelta(days=4000))
    assert issued.authorities == 1
    assert pem.signed_by(certificate(tmp_path), certificate(tmp_path, "ca.crt"))


def test_a_new_ca_replaces_a_serving_certificate_that_does_not_work(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    (tmp_path / "tls.key").write_bytes(sign.authority(default(), now=now).key_pem())
    issued = issue(tmp_path, new_ca=True, now=now)
    assert "tls.crt" in issued.written
    assert belongs_together(tmp_path)


def test_lost_names_are_reported(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, dns=["localhost"], ip=["10.0.0.1"], now=now)
    assert issue(tmp_path, dns=["localhost"], now=now).lost_names == ("10.0.0.1",)


def test_a_password_locks_and_opens_the_ca_key(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, ca_password=b"correct horse", now=now)
    assert b"ENCRYPTED" in (tmp_path / "ca.key").read_bytes()
    assert b"ENCRYPTED" not in (tmp_path / "tls.key").read_bytes()
    issue(tmp_path, ca_password=b"correct horse", now=now)
    with pytest.raises(UserError, match="wrong password"):
        issue(tmp_path, ca_password=b"battery staple", now=now)
    with pytest.raises(UserError, match="is encrypted; give its password"):
        issue(tmp_path, now=now)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"days": 0}, "--days 0"),
        ({"service": "Hook"}, "--service 'Hook'"),
        ({"namespace": "a.b"}, "--namespace 'a.b'"),
        ({"dns": ["two words"]}, "--dns 'two words'"),
        ({"dns": ["a..b"]}, "--dns 'a..b'"),
        ({"dns": ["x" * 64]}, "--dns"),
        ({"ip": ["localhost"]}, "--ip 'localhost'"),
        ({"ip": ["10.0.0.300"]}, "--ip '10.0.0.300'"),
        ({"new_ca": True, "drop_old_ca": True}, "give one of them"),
        ({"drop_old_ca": True}, "no old CA to drop"),
    ],
)
def test_wrong_wishes_change_nothing(tmp_path: Path, now: datetime, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        issue(tmp_path, now=now, **wrong)  # type: ignore[arg-type]
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_half_a_ca_is_named(tmp_path: Path, now: datetime, name: str) -> None:
    issue(tmp_path, now=now)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        issue(tmp_path, now=now)


@pytest.mark.parametrize(
    ("name", "says"), [("ca.crt", "holds no readable certificate"), ("ca.key", "holds no readable private key")]
)
def test_garbage_is_named_and_never_quoted(tmp_path: Path, now: datetime, name: str, says: str) -> None:
    issue(tmp_path, now=now)
    (tmp_path / name).write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=says) as caught:
        issue(tmp_path, now=now)
    assert "c2VjcmV0" not in str(caught.value)
    assert contents(tmp_path) == before


def test_a_key_of_another_ca_is_named(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    (tmp_path / "ca.key").write_bytes(sign.authority(default(), now=now).key_pem())
    with pytest.raises(UserError, match="is not the key of any CA"):
        issue(tmp_path, now=now)


def test_a_leaf_cannot_be_the_ca(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    for suffix in ("crt", "key"):
        (tmp_path / f"ca.{suffix}").write_bytes((tmp_path / f"tls.{suffix}").read_bytes())
    with pytest.raises(UserError, match="is no CA certificate"):
        issue(tmp_path, now=now)


@pytest.mark.parametrize("failing", range(4))
def test_a_failure_between_two_files_leaves_the_old_ones(
    tmp_path: Path, now: datetime, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(tmp_path, now=now)
    before = contents(tmp_path)
    replace = Path.replace
    calls = 0

    def full_disk(self: Path, target: Path) -> Path:
        nonlocal calls
        if self.suffix == ".new":
            calls += 1
            if calls == failing + 1:
                raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.replace(tmp_path, {name: files.Content(b"new", 0o600) for name in ALL})
    assert contents(tmp_path) == before


def test_a_failure_before_the_first_file_leaves_nothing_behind(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(tmp_path, now=now)
    before = contents(tmp_path)

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        issue(tmp_path, now=now)
    assert contents(tmp_path) == before


def test_a_run_waits_for_another_one(tmp_path: Path, now: datetime) -> None:
    second = threading.Thread(target=issue, args=(tmp_path,), kwargs={"now": now})
    with files.locked(tmp_path):
        second.start()
        second.join(timeout=0.2)
        assert contents(tmp_path) == {}
    second.join()
    assert sorted(contents(tmp_path)) == sorted(ALL)


def test_a_new_ca_replaces_a_serving_certificate_that_has_expired(tmp_path: Path, now: datetime) -> None:
    issue(tmp_path, now=now)
    issued = issue(tmp_path, new_ca=True, now=now + timedelta(days=100))
    assert issued.authorities == 2
    assert pem.signed_by(certificate(tmp_path), certificates(tmp_path, "ca.crt")[0])


def test_keys_are_not_in_any_text(tmp_path: Path, now: datetime) -> None:
    pair = sign.authority(default(), now=now)
    secret = pair.key_pem().splitlines()[1].decode()
    issued = issue(tmp_path, now=now)
    assert secret not in repr(pair)
    assert "PRIVATE" not in repr(issued)
    assert "PRIVATE" not in repr(files.Content(pair.key_pem(), 0o600))


def test_a_tls_client_that_trusts_the_ca_gets_through(tmp_path: Path) -> None:
    """Verified as Go verifies: by subject alternative name, TLS 1.2 and 1.3."""
    issue(tmp_path, now=datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        client.minimum_version = client.maximum_version = version
        assert handshake(server, client, NAMES[0]) == version.name.replace("_", ".")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, ssl.create_default_context(cafile=str(tmp_path / "ca.crt")), "other.wouldblock-system.svc")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    ours, theirs = socket.socketpair()

    def accept() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as accepted:
                accepted.recv(1)
        except ssl.SSLError:
            theirs.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connected:
            return connected.version()
    finally:
        ours.close()
        thread.join()


@settings(deadline=None, max_examples=25)
@given(
    names=st.lists(st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z0-9]{1,5}){0,2}", fullmatch=True), max_size=4),
    addresses=st.lists(st.ip_addresses().map(str), max_size=3),
)
def test_every_name_asked_for_is_in_the_certificate_once(names: list[str], addresses: list[str]) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    pair = sign.serving(default(), _CA, dns=[*NAMES, *names], ip=addresses, days=1, now=now)
    found = pem.names(pair.certificate)
    assert set(found) == {*NAMES, *names, *addresses}
    assert len(found) == len(set(found))


_CA = sign.authority(default(), now=datetime(2026, 11, 24, tzinfo=UTC))


def test_a_profile_overrides_what_it_names(tmp_path: Path, now: datetime) -> None:
    file = tmp_path / "profile.toml"
    file.write_text('[serving]\ndays = 7\ndns = ["hook.example"]\n[keys]\ncurve = "P-384"\n')
    issued = issue(tmp_path / "certs", profile=read(file), now=now)
    assert issued.not_after == now + timedelta(days=7)
    assert issued.names == (*NAMES, "hook.example")
    key = certificate(issued.directory).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[serving]\ndays = 0",
        "[serving]\ndayz = 9",
        '[keys]\ncurve = "P-999"',
        "serving = 1",
        "[extra]\na = 1",
        f'[authority]\ncommon_name = "{"x" * 65}"',
    ],
)
def test_a_wrong_profile_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profile.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"profile\.toml: "):
        read(file)
