"""The floor: raw ASGI that reads the body, copies the uid out of it and answers. No JSON is decoded."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import host
from benchmarks.subjects import App, Clock, Tls

label = "empty ASGI endpoint"

_BEFORE = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"'
_AFTER = b'","allowed":true}}'


async def _application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    start = body.index(b'"uid":"') + 7
    answer = _BEFORE + body[start : start + 36] + _AFTER
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def app(clock: Clock = time.monotonic) -> App:
    return _application


def command(tls: Tls) -> list[str]:
    return host.command(__name__, tls)
