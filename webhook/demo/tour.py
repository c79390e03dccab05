"""The tour's parts: a webhook process, the reviews that are posted, the audit log that the API server would write.

Knows nothing of the webhook's inside: it speaks to the command and to the socket, as a cluster does.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from webhook.annotations import WEBHOOK_NAME
from webhook.check.reviews import requests_of
from webhook.errors import UserError
from webhook.review import API_VERSION, Request, Review, UserInfo

_UIDS = uuid.UUID("c1b5c7a4-6b7e-5d43-8d0b-3f2f0c1e7a11")
START_SECONDS = 15.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    request: Request
    warnings: tuple[str, ...]
    annotations: Mapping[str, str]


class Webhook:
    """`wouldblock serve` as a process of its own, on a free loopback port."""

    def __init__(self, certificates: Path) -> None:
        """`certificates` holds `ca.crt`, `tls.crt` and `tls.key` with the name `localhost`."""
        self.log = certificates / "serve.log"
        self.ca = certificates / "ca.crt"
        command = [sys.executable, "-m", "webhook", "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--metrics-port", "0", "--drain-seconds", "1"]
        command += ["--tls-cert", str(certificates / "tls.crt"), "--tls-key", str(certificates / "tls.key")]
        with self.log.open("wb") as log:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("WOULDBLOCK_")}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.port = self._wait()
        context = ssl.create_default_context(cafile=str(self.ca))
        self._connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=10)

    def post(self, request: Request) -> Answer:
        review = Review(api_version=API_VERSION, kind="AdmissionReview", request=request)
        self._connection.request(
            "POST", "/validate?timeout=2s", msgspec.json.encode(review), {"Content-Type": "application/json"}
        )
        response = msgspec.json.decode(self._connection.getresponse().read())["response"]
        return Answer(
            request=request,
            warnings=tuple(response.get("warnings", ())),
            annotations=response.get("auditAnnotations", {}),
        )

    def stop(self) -> None:
        """Ends the process, which drains first."""
        self._connection.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> int:
        """The port, once the process says that it serves."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(rb'"event": ?"serving".*?"port": ?(\d+)', self.log.read_bytes())
            if found:
                return int(found[1])
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        raise UserError("the webhook did not start: " + " / ".join(tail))


@contextlib.contextmanager
def running(certificates: Path) -> Iterator[Webhook]:
    webhook = Webhook(certificates)
    try:
        yield webhook
    finally:
        webhook.stop()


def by_hand(document: Mapping[str, Any], number: int = 0) -> Request:
    """The request of somebody applying `document`; equal numbers give equal requests."""
    (request,) = requests_of(copy.deepcopy(document), where=f"tour-{number}")
    return msgspec.structs.replace(
        request, user_info=UserInfo(username="alice", groups=("developers", "system:authenticated"))
    )


def audit_line(answer: Answer, at: datetime.datetime) -> bytes:
    """The event that the API server logs for a write it admitted with this answer, at level Metadata."""
    request = answer.request
    group, resource = request.resource.group, request.resource.resource
    base = f"/apis/{group}/{request.resource.version}" if group else f"/api/{request.resource.version}"
    space = f"/namespaces/{request.namespace}" if request.namespace else ""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    reference = {
        "resource": resource,
        "namespace": request.namespace,
        "name": request.name,
        "apiGroup": group,
        "apiVersion": request.resource.version,
    }
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": str(uuid.uuid5(_UIDS, request.uid + stamp)),
        "stage": "ResponseComplete",
        "requestURI": f"{base}{space}/{resource}?fieldManager=kubectl-client-side-apply",
        "verb": "create",
        "user": {"username": request.user_info.username, "groups": request.user_info.groups},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": "kubectl",
        "objectRef": {key: value for key, value in reference.items() if value},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": stamp,
        "stageTimestamp": stamp,
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            **{f"{WEBHOOK_NAME}/{key}": value for key, value in answer.annotations.items()},
        },
    }
    return msgspec.json.encode(event) + b"\n"
