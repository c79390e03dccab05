"""What expires when, and what the API server would refuse about it. Reads; writes nothing; shows no key.

Source: Go `crypto/x509` as `k8s.io/client-go transport` uses it: subject alternative names only, no SHA-1, the
serverAuth usage, a chain to `caBundle`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from webhook.errors import Problem, UserError
from webhook_certs import pem
from webhook_certs.issue import CA_CERT, CA_KEY, TLS_CERT, TLS_KEY


class Entry(Struct, frozen=True, kw_only=True):
    """One certificate or key of a file; a bundle has several."""

    file: str
    kind: Literal["CA", "serving", "key"]
    subject: str = ""
    names: tuple[str, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    days_left: int | None = None
    """Whole days, rounded down; negative once expired."""


class Report(Struct, frozen=True, kw_only=True):
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


class _File(Struct, frozen=True):
    path: Path
    certificates: tuple[x509.Certificate, ...] = ()
    key: PublicKeyTypes | None = None


def inspect(
    paths: Iterable[Path],
    *,
    now: datetime,
    within: timedelta,
    name: str = "",
    ca_password: bytes | None = None,
) -> Report:
    """Looks at files, and in directories at what `issue` writes there. `name` has to be in every serving certificate.

    Files given together belong together: keys have to fit a certificate, serving certificates to be signed by a CA
    among them (where there is one). Raises `UserError` for what is no PEM, `OSError` for what cannot be read.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    loose: list[_File] = []
    groups: list[list[_File]] = [loose]
    for path in paths:
        if path.is_dir():
            groups.append([_read(path / each, ca_password) for each in _in_directory(path)])
        else:
            loose.append(_read(path, ca_password))
    for group in groups:
        for file in group:
            entries += _entries(file, now)
            problems += _alone(file, now, within, name)
        problems += _together(group)
    return Report(entries=tuple(entries), problems=tuple(problems))


def _in_directory(directory: Path) -> list[str]:
    """The names that are to be looked at: of what `issue` writes, the keys only if they are there.

    A webhook's own directory has no CA; a machine that only distributes `ca.crt` has nothing else.
    """
    there = [each for each in (CA_CERT, CA_KEY, TLS_CERT, TLS_KEY) if (directory / each).exists()]
    if not there:
        raise UserError(
            f"{directory}: holds none of {CA_CERT}, {CA_KEY}, {TLS_CERT}, {TLS_KEY}; give the directory that"
            " `certs issue --out` wrote, or single files"
        )
    for certificate, key in ((CA_CERT, CA_KEY), (TLS_CERT, TLS_KEY)):
        if key in there and certificate not in there:
            raise UserError(f"{directory / certificate}: missing while {key} is there; `certs issue` writes both")
    if TLS_CERT in there and TLS_KEY not in there:
        raise UserError(f"{directory / TLS_KEY}: missing while {TLS_CERT} is there; `certs issue` writes both")
    return there


def _read(path: Path, ca_password: bytes | None) -> _File:
    data = pem.read(path)
    if pem.is_key(data):
        certificates = tuple(pem.certificates(path, data)) if b"BEGIN CERTIFICATE-----" in data else ()
        return _File(path, certificates, pem.private_key(path, data, ca_password).public_key())
    return _File(path, tuple(pem.certificates(path, data)))


def _entries(file: _File, now: datetime) -> list[Entry]:
    found = [
        Entry(
            file=str(file.path),
            kind="CA" if pem.is_authority(each) else "serving",
            subject=each.subject.rfc4514_string(),
            names=pem.names(each),
            not_before=each.not_valid_before_utc,
            not_after=each.not_valid_after_utc,
            days_left=(each.not_valid_after_utc - now).days,
        )
        for each in file.certificates
    ]
    return [*found, Entry(file=str(file.path), kind="key")] if file.key is not None else found


def _alone(file: _File, now: datetime, within: timedelta, name: str) -> list[Problem]:
    """What is wrong with a file whatever else there is."""
    texts: list[str] = []
    for each in file.certificates:
        texts += _timing(each, now, within)
        if not pem.is_authority(each):
            texts += _serving(each, name)
    if file.key is not None and stat.S_IMODE(file.path.stat().st_mode) & stat.S_IROTH:
        texts.append("everybody on this machine can read this key; chmod 600")
    return [Problem(file=str(file.path), message=text) for text in texts]


def _timing(certificate: x509.Certificate, now: datetime, within: timedelta) -> list[str]:
    what = "the CA" if pem.is_authority(certificate) else "the certificate"
    repair = "--new-ca makes a new one, in three steps" if pem.is_authority(certificate) else "run `certs issue` again"
    end = certificate.not_valid_after_utc
    if end <= now:
        return [f"{what} expired on {end:%Y-%m-%d %H:%M} UTC, so every review fails open; {repair}"]
    if certificate.not_valid_before_utc > now:
        return [
            f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?"
        ]
    if end - now <= within:
        return [f"{what} expires on {end:%Y-%m-%d %H:%M} UTC; {repair}"]
    return []


def _serving(certificate: x509.Certificate, name: str) -> list[str]:
    """What makes Go's TLS client refuse a certificate that is valid today."""
    texts: list[str] = []
    names = pem.names(certificate)
    if not names:
        texts.append("has no subject alternative name, and the API server looks at nothing else; run `certs issue`")
    elif name and name not in names:
        texts.append(f"is not for {name}, only for {', '.join(names)}; run `certs issue --service … --namespace …`")
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        texts.append("is signed with SHA-1 or MD5, which the API server refuses; run `certs issue`")
    usage = [each for each in certificate.extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage and not any(allowed.intersection(each.value) for each in usage):
        texts.append("is not for servers (extended key usage); run `certs issue`")
    return texts


def _together(files: Sequence[_File]) -> list[Problem]:
    """Keys without their certificate, and serving certificates that no CA at hand has signed."""
    problems: list[Problem] = []
    certificates = [each for file in files for each in file.certificates]
    authorities = [each for each in certificates if pem.is_authority(each)]
    for file in files:
        key = file.key
        if key is not None and certificates and not any(pem.same_key(key, each.public_key()) for each in certificates):
            text = "is not the key of any certificate here, so no connection would succeed; run `certs issue` again"
            problems.append(Problem(file=str(file.path), message=text))
        for each in file.certificates:
            if authorities and not pem.is_authority(each) and not any(pem.signed_by(each, ca) for ca in authorities):
                text = "is not signed by any CA here, so every review fails open; run `certs issue` again"
                problems.append(Problem(file=str(file.path), message=text))
    return problems
