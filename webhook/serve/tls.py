"""The TLS side: a server context, and what its certificate says. Knows no HTTP and no settings.

TLS 1.2 or later, ALPN `http/1.1` alone: the API server picks h2 on loopback addresses where it is offered. No session
tickets: the API server never resumes. Source: `apiserver pkg/util/webhook/client.go`, `client-go transport`.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from msgspec import Struct

from webhook.errors import UserError


class Pair(Struct, frozen=True):
    """Bytes of a certificate (with its chain) and of its key, PEM. The key goes nowhere but into OpenSSL."""

    certificate: bytes
    key: bytes


def read_pair(certificate: Path, key: Path) -> Pair:
    """Reads both files. Raises `OSError`."""
    return Pair(certificate.read_bytes(), key.read_bytes())


def context(certificate: Path, key: Path, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """A context that serves this pair. Raises `UserError`, naming the file and what to do.

    With `client_ca` a client without a certificate of it is refused in the handshake: for the API server that is a
    failed call, which its failurePolicy Ignore admits and its audit log records as failed open.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    made.num_tickets = 0
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    try:
        pair = read_pair(certificate, key)
    except OSError as error:
        raise UserError(f"{error.filename}: {(error.strerror or '').lower()}; {_FIX}") from None
    load(made, pair, where=f"{certificate}, {key}")
    if client_ca is not None:
        try:
            made.load_verify_locations(cafile=client_ca)
        except OSError as error:
            reason = "no PEM certificate in it" if isinstance(error, ssl.SSLError) else (error.strerror or "").lower()
            raise UserError(f"{client_ca}: {reason}; expected the CA of the API server's client certificate") from None
        made.verify_mode = ssl.CERT_REQUIRED
    return made


_FIX = "`wouldblock certs issue --out DIR` makes tls.crt and tls.key"


def load(into: ssl.SSLContext, pair: Pair, *, where: str) -> None:
    """Puts a pair into a context, for the handshakes to come; connections that are open stay as they are.

    Raises `UserError` when the pair is unusable, with the context left as it was: it is tried on another one first.
    """
    with _files(pair) as (certificate, key):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
            into.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = str(getattr(error, "reason", None) or "").lower().replace("_", " ") or "encrypted or no PEM"
            raise UserError(f"{where}: {reason}; {_FIX}") from None


def _no_password() -> str:
    raise ValueError("the key has a password")


@contextmanager
def _files(pair: Pair) -> Iterator[tuple[str, str]]:
    """Names under which OpenSSL can read exactly these bytes: a file that changes between the trial and the real thing
    cannot leave a certificate with another one's key. On Linux they live in memory."""
    with ExitStack() as stack:
        names = []
        for content in (pair.certificate, pair.key):
            if hasattr(os, "memfd_create"):
                file: IO[bytes] = stack.enter_context(os.fdopen(os.memfd_create("pem"), "wb"))
                names.append(f"/proc/self/fd/{file.fileno()}")
            else:
                file = stack.enter_context(cast("IO[bytes]", tempfile.NamedTemporaryFile()))  # noqa: SIM115 (of mode 0600)
                names.append(file.name)
            file.write(content)
            file.flush()
        yield names[0], names[1]


def not_after(pair: Pair) -> float:
    """When the first certificate of the chain ends, in seconds since the epoch. Raises `ValueError`.

    Reads as much of the DER as there is before that date: importing `cryptography` for it would cost 8 MB and 30 ms.
    Source: RFC 5280, 4.1.
    """
    text = pair.certificate.decode("ascii", "replace")
    start, end = text.find(ssl.PEM_HEADER), text.find(ssl.PEM_FOOTER)
    if not 0 <= start < end:
        raise ValueError("no PEM certificate")
    der = ssl.PEM_cert_to_DER_cert(text[start : end + len(ssl.PEM_FOOTER)])
    try:
        _, (signed, *_) = _elements(der)[0]
        fields = signed[1]
        validity = fields[4 if fields[0][0] == _VERSION else 3]  # serial, algorithm, issuer, validity
        tag, content = validity[1][1]
        stamp = content.decode("ascii")
        if tag == _UTC_TIME:
            stamp = ("20" if stamp < "50" else "19") + stamp
        return datetime.strptime(stamp, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (IndexError, TypeError, AttributeError) as error:
        raise ValueError("no X.509 certificate") from error


_VERSION, _UTC_TIME, _SEQUENCE = 0xA0, 0x17, 0x30
_DEPTH = 3
"""Certificate, what is signed of it, validity: what lies deeper is left as bytes."""


def _elements(der: bytes, depth: int = _DEPTH) -> list[tuple[int, Any]]:
    """(tag, content) of each element in turn; a sequence's content is the list of its elements."""
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        content = der[at : at + length]
        found.append((tag, _elements(content, depth - 1) if tag == _SEQUENCE and depth else content))
        at += length
    return found
