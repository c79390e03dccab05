"""Where reviews are sent: the webhook's URL, its TLS, and the HTTP head that the API server would write.

Knows nothing of sockets or clocks.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from webhook.bench.corpus import Body, Review
from webhook.errors import UserError


class Target(Struct, frozen=True, kw_only=True):
    url: str
    address: tuple[str, int]
    """What is dialled: IP address and port."""
    family: int
    server_name: str
    """What the certificate must be for; also the SNI and the Host header, as with the API server."""
    context: ssl.SSLContext
    head: bytes
    """The request's head up to the length of the body."""

    def request(self, review: Review) -> Body:
        """The review as bytes on the wire, open at the place of the uid."""
        length = len(review.body.before) + 36 + len(review.body.after)
        return Body(before=b"%b%d\r\n\r\n%b" % (self.head, length, review.body.before), after=review.body.after)


def target(url: str, *, ca: Path | None = None, server_name: str = "", timeout: float = 2.0) -> Target:
    """Checks everything about the target that can be checked without calling it. Raises `UserError`.

    `timeout` (seconds) is told to the webhook as the API server tells it: `?timeout=2s`.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 443
    except ValueError as error:
        raise UserError(f"--url {url}: {error}; expected e.g. https://127.0.0.1:8443/validate") from None
    if parts.scheme != "https" or not parts.hostname:
        raise UserError(f"--url {url}: expected an https address, e.g. https://127.0.0.1:8443/validate")
    try:
        family, _, _, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(f"--url {url}: cannot resolve {parts.hostname}: {error.strerror or error}") from None
    name = server_name or parts.hostname
    query = "&".join(filter(None, (parts.query, f"timeout={max(1, round(timeout))}s")))
    host = f"[{name}]" if ":" in name else name
    head = (
        f"POST {parts.path or '/'}?{query} HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\n"
        "User-Agent: kube-apiserver-admission\r\n"
        "Accept: application/json, */*\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: "
    )
    return Target(
        url=url,
        address=(str(address[0]), int(address[1])),
        family=family,
        server_name=name,
        context=_context(ca),
        head=head.encode("ascii", "strict"),
    )


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError as error:
        raise UserError(f"--ca {ca}: no certificate in it ({error.reason}); expected PEM, e.g. ca.crt") from None
    except OSError as error:
        raise UserError(f"--ca {ca}: {(error.strerror or str(error)).lower()}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
