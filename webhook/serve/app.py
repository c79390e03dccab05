"""Which path goes where: reviews to `admit.py` without a detour, the rest by Starlette.

On the webhook's port: `/validate`, `/healthz`, `/readyz`. On the metrics port: `/metrics`, `/healthz`, `/readyz`, for
probes and scrapers that hold no client certificate.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from webhook.serve.admit import PATH, Admission, Receive, Scope, Send

PROBLEMS_MAX = 100

Scrape = Callable[[], Awaitable[str]]
"""The Prometheus text, made without stalling the loop."""


class Application:
    """The ASGI application of the webhook's port."""

    def __init__(self, admission: Admission) -> None:
        self.at_once = self._admission = admission
        self._rest = _starlette([*_probes(admission), Route(PATH, _post_only, methods=["GET"])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            await self._admission(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


def operations(admission: Admission, scrape: Scrape) -> Starlette:
    """The ASGI application of the metrics port."""

    async def metrics(request: Request) -> Response:
        return Response(await scrape(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return _starlette([*_probes(admission), Route("/metrics", metrics)])


def _starlette(routes: list[Route]) -> Starlette:
    made = Starlette(routes=routes)
    made.router.redirect_slashes = False  # the API server would follow a 307 instead of saying that the path is wrong
    return made


def _probes(admission: Admission) -> list[Route]:
    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        return Response(readiness(admission), 200 if admission.cells.ready else 503, media_type="application/json")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _post_only(request: Request) -> Response:
    return PlainTextResponse("POST an AdmissionReview\n", 405, {"allow": "POST"})


def readiness(admission: Admission) -> bytes:
    """What `/readyz` says, as JSON: set, broken policies with their problems, certificate, snapshot, draining."""
    serving, cells = admission.serving, admission.cells
    broken = serving.policies.broken
    ends = cells.certificate_not_after
    return msgspec.json.encode(
        {
            "ready": bool(cells.ready),
            "draining": bool(cells.draining),
            "set": serving.policies.digest,
            "policies": len(serving.policies.policies),
            "broken": broken[:PROBLEMS_MAX],
            "brokenCount": len(broken),
            "certificateNotAfter": datetime.datetime.fromtimestamp(ends, datetime.UTC) if ends else None,
            "snapshot": {
                "digest": serving.state.digest,
                "ageSeconds": round(time.time() - serving.state.taken_at) if serving.state.taken_at else None,
            },
        }
    )
