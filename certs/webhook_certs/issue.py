"""Issue and rotate: `ca.crt`, `ca.key`, `tls.crt`, `tls.key` in one directory.

The CA that is there is used again, so that `caBundle` stays as it is; only the leaf is new. A new CA takes three
runs, each harmless by itself, with the step in between that only people may take:

1. `new_ca`: a second CA; `ca.crt` holds both, the serving certificate stays. Then: `ca.crt` into the configuration.
2. plain: a serving certificate by the new CA. Then: `tls.crt` and `tls.key` to where the webhook reads them.
3. `drop_old_ca`: `ca.crt` holds the new CA alone. Then: `ca.crt` into the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from msgspec import Struct

from webhook.errors import UserError
from webhook_certs import files, pem, sign
from webhook_certs.files import PRIVATE, PUBLIC, Content
from webhook_certs.profile import Profile, default

CA_CERT, CA_KEY, TLS_CERT, TLS_KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"
SERVICE, NAMESPACE = "wouldblock", "wouldblock-system"


class Issued(Struct, frozen=True, kw_only=True):
    """What a run did. Paths and public facts only."""

    directory: Path
    written: tuple[str, ...]
    """File names, in the order in which they were replaced."""
    new_authority: bool
    """`caBundle` has to change."""
    authorities: int
    """CAs in `ca.crt`; 2 while one replaces another."""
    names: tuple[str, ...]
    """Names and addresses of the serving certificate now in place."""
    lost_names: tuple[str, ...]
    """Those that the previous one had and this one has not."""
    not_after: datetime
    """When the serving certificate expires, UTC."""
    authority_not_after: datetime
    shortened: bool
    """The certificate ends with its CA, before the days that were asked for."""


class _Authority(Struct, frozen=True):
    """A CA that may sign, and the others that are still trusted beside it."""

    signing: sign.Pair
    others: tuple[x509.Certificate, ...]
    new: bool

    def bundle(self) -> bytes:
        return b"".join(
            each.public_bytes(serialization.Encoding.PEM) for each in (self.signing.certificate, *self.others)
        )


def issue(
    directory: Path,
    *,
    service: str = SERVICE,
    namespace: str = NAMESPACE,
    dns: Sequence[str] = (),
    ip: Sequence[str] = (),
    days: int | None = None,
    new_ca: bool = False,
    drop_old_ca: bool = False,
    ca_password: bytes | None = None,
    profile: Profile | None = None,
    now: datetime | None = None,
) -> Issued:
    """Writes a new serving certificate, and a CA if there is none, into `directory`, which is made if need be.

    The certificate is for `<service>.<namespace>.svc`, its long form, and `dns` and `ip`. `days` is the serving
    certificate's lifetime (default: the profile's). `ca_password` opens, and locks a new, `ca.key`. `now` is for tests.
    Raises `UserError` or `OSError`; then no file has changed.
    """
    profile = profile or default()
    now = now or datetime.now(UTC)
    days = profile.serving.days if days is None else days
    if days < 1:
        raise UserError(f"--days {days}: expected at least 1")
    if new_ca and drop_old_ca:
        raise UserError("--new-ca and --drop-old-ca are the first and the last step of a CA change; give one of them")
    wanted = sign.service_names(service, namespace, profile.serving.cluster_domain)
    with files.locked(directory):
        ca = _authority(directory, profile, new_ca=new_ca, drop_old=drop_old_ca, password=ca_password, now=now)
        before = _certificate(directory)
        contents: dict[str, Content] = {}
        leaf = before
        if not (drop_old_ca or (new_ca and before is not None and _still_trusted(directory, before, ca.others, now))):
            pair = sign.serving(
                profile,
                ca.signing,
                dns=(*wanted, *profile.serving.dns, *dns),
                ip=(*profile.serving.ip, *ip),
                days=days,
                now=now,
            )
            leaf = pair.certificate
            contents = {
                TLS_KEY: Content(pair.key_pem(), PRIVATE),
                TLS_CERT: Content(pair.certificate_pem(), PUBLIC),
            }
        if ca.new:
            contents[CA_KEY] = Content(ca.signing.key_pem(ca_password), PRIVATE)
        if ca.new or drop_old_ca:
            contents[CA_CERT] = Content(ca.bundle(), PUBLIC)
        files.replace(directory, contents)
    assert leaf is not None  # noqa: S101  # made just now, or looked at by what decided not to
    names = pem.names(leaf)
    return Issued(
        directory=directory,
        written=tuple(contents),
        new_authority=ca.new,
        authorities=1 + len(ca.others),
        names=names,
        lost_names=tuple(each for each in (pem.names(before) if before else ()) if each not in names),
        not_after=leaf.not_valid_after_utc,
        authority_not_after=ca.signing.certificate.not_valid_after_utc,
        shortened=leaf is not before and leaf.not_valid_after_utc == ca.signing.certificate.not_valid_after_utc,
    )


def _authority(
    directory: Path, profile: Profile, *, new_ca: bool, drop_old: bool, password: bytes | None, now: datetime
) -> _Authority:
    certificate_file, key_file = directory / CA_CERT, directory / CA_KEY
    if not certificate_file.exists() and not key_file.exists():
        if drop_old:
            raise UserError(f"{certificate_file}: not there, so there is no old CA to drop")
        return _Authority(sign.authority(profile, now=now), (), new=True)
    trusted = pem.certificates(certificate_file, pem.read(certificate_file)) if certificate_file.exists() else []
    if new_ca:
        # An expired CA convinces nobody: it is not carried along.
        others = tuple(each for each in trusted if each.not_valid_after_utc > now)
        return _Authority(sign.authority(profile, now=now), others, new=True)
    if not certificate_file.exists() or not key_file.exists():
        there, missing = (key_file, certificate_file) if key_file.exists() else (certificate_file, key_file)
        raise UserError(f"{missing}: missing while {there.name} is there; put it back, or start over with --new-ca")
    key = pem.private_key(key_file, pem.read(key_file), password)
    signing = next((each for each in trusted if pem.same_key(each.public_key(), key.public_key())), None)
    if signing is None:
        raise UserError(
            f"{key_file}: is not the key of any CA in {certificate_file.name}; put the right one there, or --new-ca"
        )
    if not pem.is_authority(signing):
        raise UserError(
            f"{certificate_file}: is no CA certificate (basic constraints), so it cannot sign; --new-ca makes one"
        )
    others = tuple(each for each in trusted if each is not signing)
    if drop_old:
        leaf = _certificate(directory)
        if leaf is None or not pem.signed_by(leaf, signing):
            raise UserError(
                f"{directory / TLS_CERT}: not signed by the new CA yet; run `certs issue` without --drop-old-ca first"
                " and put the new certificate where the webhook reads it"
            )
        others = ()
    return _Authority(sign.Pair(signing, key), others, new=False)


def _still_trusted(directory: Path, leaf: x509.Certificate, trusted: Sequence[x509.Certificate], now: datetime) -> bool:
    """Whether the serving certificate works until the configuration has the new CA (first step of a CA change)."""
    path = directory / TLS_KEY
    try:
        key = pem.private_key(path, pem.read(path))
    except (OSError, UserError):
        return False
    return (
        now < leaf.not_valid_after_utc
        and pem.same_key(leaf.public_key(), key.public_key())
        and any(pem.signed_by(leaf, each) for each in trusted)
    )


def _certificate(directory: Path) -> x509.Certificate | None:
    """The serving certificate that is there; None for none, or one that cannot be read: it is about to be replaced."""
    path = directory / TLS_CERT
    try:
        return pem.certificates(path, pem.read(path))[0]
    except (FileNotFoundError, UserError):
        return None
