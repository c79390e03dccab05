"""Certificates and private keys out of PEM files, with errors that name the file and the repair.

Never puts a key's content into an error: what a key file holds is only ever described.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PublicKeyTypes
from cryptography.x509.extensions import ExtensionNotFound

from webhook.errors import UserError

_READ_BYTES_MAX = 1 << 20
"""No certificate file is larger; a wrong path (a log, a device) is not read into memory."""


def read(path: Path) -> bytes:
    """The file's bytes. Raises `UserError` for what cannot be PEM, `OSError` naming the file for the rest."""
    with path.open("rb") as file:
        data = file.read(_READ_BYTES_MAX + 1)
    if len(data) > _READ_BYTES_MAX:
        raise UserError(f"{path}: larger than 1 MiB, so not a PEM file; give a certificate or key file")
    return data


def is_key(data: bytes) -> bool:
    """Whether a PEM file holds a private key (and so is no certificate file, whatever else is in it)."""
    return b"PRIVATE KEY-----" in data


def certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM file in file order, at least one. Raises `UserError`."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise UserError(
            f"{path}: holds no readable certificate; expected PEM, one or more blocks that begin with"
            " -----BEGIN CERTIFICATE----- (a DER file: openssl x509 -inform DER -in FILE)"
        ) from None


def private_key(path: Path, data: bytes, password: bytes | None = None) -> CertificateIssuerPrivateKeyTypes:
    """The private key of a PEM file. `password` is only used if the key is encrypted. Raises `UserError`."""
    encrypted = b"ENCRYPTED" in data
    if encrypted and password is None:
        raise UserError(f"{path}: the key is encrypted; give its password with --ca-password-file FILE")
    try:
        key = serialization.load_pem_private_key(data, password if encrypted else None)
    except (ValueError, TypeError):
        why = "wrong password, or a damaged key" if encrypted else "holds no readable private key"
        raise UserError(f"{path}: {why}; expected PEM that begins with -----BEGIN PRIVATE KEY-----") from None
    if not hasattr(key, "sign"):
        raise UserError(f"{path}: a key of this type cannot sign; expected ECDSA, RSA or Ed25519")
    return key  # type: ignore[return-value]  # anything that signs a certificate has `sign`


def same_key(one: PublicKeyTypes, other: PublicKeyTypes) -> bool:
    """Whether two public keys are the same, whatever objects they came from."""
    return _spki(one) == _spki(other)


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others (basic constraints)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except ExtensionNotFound:
        return False


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names and addresses of the subject alternative name, in certificate order; empty if there is none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in found if isinstance(each, x509.DNSName | x509.IPAddress))


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `certificate` (names and signature; not whether either is valid now)."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
