"""Keys and certificates in memory: a self-signed CA, and serving certificates that it signs.

Pure but for randomness: the time is an argument, files are `issue`'s business.
Source: RFC 5280; `k8s.io/client-go transport` (the API server verifies subject alternative names only, TLS 1.2 and up).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from webhook.errors import UserError
from webhook_certs.profile import Profile

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}


class Pair(Struct, frozen=True):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    def __repr__(self) -> str:
        return f"Pair({self.certificate.subject.rfc4514_string()!r})"

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """PKCS #8, encrypted if there is a password. For a file of mode 0600 and nothing else."""
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def authority(profile: Profile, *, now: datetime) -> Pair:
    """A new CA that may sign leaves and nothing else (path length 0)."""
    key = ec.generate_private_key(_CURVES[profile.keys.curve]())
    subject = _name(profile.authority.common_name)
    until = now + timedelta(days=profile.authority.days)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(profile, subject=subject, issuer=subject, key=key, now=now, until=until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def serving(profile: Profile, ca: Pair, *, dns: Iterable[str], ip: Iterable[str], days: int, now: datetime) -> Pair:
    """A new key and a certificate for it, valid for `days` but never longer than its CA.

    Raises `UserError` for names that no certificate can carry, and for a CA that is not valid now.
    """
    names = _alternative_names(dns, ip)
    if not ca.certificate.not_valid_before_utc <= now < ca.certificate.not_valid_after_utc:
        raise UserError(
            f"the CA is valid from {ca.certificate.not_valid_before_utc:%Y-%m-%d} to"
            f" {ca.certificate.not_valid_after_utc:%Y-%m-%d}, not now; make a new one with --new-ca"
        )
    key = ec.generate_private_key(_CURVES[profile.keys.curve]())
    until = min(now + timedelta(days=days), ca.certificate.not_valid_after_utc)
    issuer = ca.certificate.subject
    builder = (
        _builder(profile, subject=_name(profile.serving.common_name), issuer=issuer, key=key, now=now, until=until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return Pair(builder.sign(ca.key, _hash_for(ca.key)), key)


def service_names(service: str, namespace: str, cluster_domain: str) -> tuple[str, str]:
    """The names under which a Service is called; the API server asks for the first. Raises `UserError`."""
    for what, value in (("service", service), ("namespace", namespace)):
        if not _LABEL.fullmatch(value):
            raise UserError(
                f"--{what} {value!r} is no Kubernetes name; expected lower-case letters, digits and '-', at most 63"
            )
    return f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.{cluster_domain}"


def _alternative_names(dns: Iterable[str], ip: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(_host(each)) for each in dict.fromkeys(dns)]
    for each in dict.fromkeys(ip):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each)))
        except ValueError:
            raise UserError(
                f"--ip {each!r} is no IP address; expected 10.0.0.1 or fd00::1 (names go to --dns)"
            ) from None
    return names


def _host(text: str) -> str:
    """`text`, if it is a host name, perhaps with `*` as its first label. Raises `UserError`."""
    name = text.removeprefix("*.").lower()
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise UserError(f"--dns {text!r} is no host name; expected labels of letters, digits and '-' joined by dots")
    return text.lower()


def _builder(
    profile: Profile,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=profile.clock.backdate_minutes))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _hash_for(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | None:
    """A CA that the user brought may be Ed25519, whose signatures hash by themselves."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
