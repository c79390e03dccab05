"""A webhook of the test's own, reached as a Service: it records what arrives and answers what the test says.

For showing what the API server does with an answer, and for having the very bytes that it sends.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.plane.cluster import Cluster, wait_for

Review = dict[str, Any]
Answer = Callable[[Review], tuple[int, bytes]]
"""The decoded AdmissionReview → HTTP status and body."""

NAMESPACE = "answering"
EVERYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "*"}


def admit(review: Review) -> tuple[int, bytes]:
    """The plainest answer."""
    response = {"uid": review["request"]["uid"], "allowed": True}
    return 200, json.dumps(
        {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
    ).encode()


class Answering:
    """One TLS server, with a configuration that sends it all writes."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        namespace: str = "",
        answer: Answer = admit,
        failure_policy: str = "Ignore",
        timeout: int = 2,
        versions: Sequence[str] = ("v1",),
    ) -> None:
        """Returns when the API server calls it. `name` has to be new in the cluster.

        With a `namespace` only its objects are sent (and no cluster-scoped ones), else everything in the cluster.
        """
        self.webhook_name = f"{name}.tests.wouldblock.dev"
        self.bodies: list[bytes] = []
        self.answer: Answer = admit
        self._cluster = cluster
        self._path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}"
        self._server = _serve(cluster, name, self)
        if cluster.http.get(f"/api/v1/namespaces/{NAMESPACE}").status_code == 404:
            cluster.namespace(NAMESPACE)
        external_name(cluster, NAMESPACE, name)
        service = {"name": name, "namespace": NAMESPACE, "path": "/validate", "port": self._server.server_address[1]}
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": self.webhook_name,
                    "admissionReviewVersions": list(versions),
                    "clientConfig": {"service": service, "caBundle": cluster.ca_bundle},
                    "failurePolicy": failure_policy,
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": namespace} if namespace else {}
                    },
                    "rules": [{**EVERYTHING, "scope": "Namespaced" if namespace else "*"}],
                    "sideEffects": "None",
                    "timeoutSeconds": timeout,
                }
            ],
        }
        cluster.http.post(self._path.rsplit("/", 1)[0], json=configuration).raise_for_status()

        def called() -> bool:
            cluster.dry_run(namespace or "default")
            return bool(self.bodies)

        wait_for(f"the configuration {name} is active", called)
        self.bodies.clear()
        self.answer = answer

    @property
    def reviews(self) -> list[Review]:
        """What arrived, oldest first."""
        return [json.loads(body) for body in self.bodies]

    def body(self, *, operation: str, resource: str, name: str, subresource: str = "") -> bytes:
        """The last review of that write, as it was sent. Raises `AssertionError` when there was none."""
        for body in reversed(self.bodies):
            request = json.loads(body)["request"]
            asked = (request["operation"], request["resource"]["resource"], request.get("subResource", ""))
            if asked == (operation, resource, subresource) and request.get("name") == name:
                return body
        raise AssertionError(f"no review of {operation} {resource}/{subresource} {name} among {len(self.bodies)}")

    def stop(self) -> None:
        self._cluster.http.delete(self._path).raise_for_status()
        self._server.shutdown()
        self._server.server_close()


def external_name(cluster: Cluster, namespace: str, name: str) -> None:
    """A Service that the API server finds on loopback, with Host and SNI as in production."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    made = cluster.http.post(f"/api/v1/namespaces/{namespace}/services", json=manifest)
    assert made.status_code in (201, 409), made.text


def _serve(cluster: Cluster, name: str, owner: Answering) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            owner.bodies.append(body)
            status, answer = owner.answer(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """The API server dials ahead, and leaves what answers too late: no news."""

    certificate, key = cluster.authority.issue(
        cluster.folder, f"answering-{name}", name=name, hosts=[f"{name}.{NAMESPACE}.svc"]
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", 0), Handler)
    # The handshake is for the connection's own thread: a silent connection must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
