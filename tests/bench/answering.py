"""A webhook to try the driver on: every path answers in its own way. Started as a process by `conftest.py`.

`python answering.py CERT KEY` prints its port and serves until it is ended. Not a test.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys

_UID = re.compile(rb'"uid":"([0-9a-z-]{36})"')


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        found = _UID.search(body)
        self._answer(path, found[1] if found else b"")

    def _answer(self, path: str, uid: bytes) -> None:
        body = (
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"%b","allowed":true}}'
            % uid
        )
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        if path == "/slow":
            asyncio.get_running_loop().call_later(0.03, self._write, head, body)
        elif path == "/silent":
            pass
        elif path == "/hangup":
            self._transport.close()
        elif path == "/close":
            self._write(head + b"Connection: close\r\n", body)
            self._transport.close()
        elif path == "/chunked":
            parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:]))
            self._transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + parts)
            asyncio.get_running_loop().call_soon(self._transport.write, b"0\r\n\r\n")
        elif path == "/status":
            self._write(b"HTTP/1.1 503 Service Unavailable\r\n", b"busy")
        elif path == "/uid":
            self._write(head, body.replace(uid, b"somebody-else"))
        elif path == "/deny":
            self._write(head, body.replace(b'"allowed":true', b'"allowed":false'))
        elif path == "/html":
            self._write(head, b"<html>")
        elif path == "/garbage":
            self._transport.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        else:
            self._write(head, body)

    def _write(self, head: bytes, body: bytes) -> None:
        self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))


async def main(certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
