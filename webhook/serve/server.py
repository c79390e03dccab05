"""One process that serves: sockets, TLS, policies, uvicorn, signals. Where `serve`'s parts are put together.

SIGTERM starts the lame duck: `/readyz` says 503, answers say `Connection: close`, the listener stays until nobody has
been connected for a while or the time is up: endpoints are withdrawn seconds later, and the API server keeps idle
connections for 90 s. A second signal, or SIGINT, ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from webhook import __version__
from webhook.cel.releases import parse_version
from webhook.cel.versions import Version
from webhook.errors import UserError
from webhook.exemptions import NO_EXEMPTIONS, read_exemptions
from webhook.load import load as load_policies
from webhook.load import shipped
from webhook.native.pod_security import PodSecurityConfig
from webhook.serve import tls
from webhook.serve.admit import Admission, Limits, Serving
from webhook.serve.app import Application, operations
from webhook.serve.connection import Connection
from webhook.serve.log import Handler, Log
from webhook.serve.metrics import Cells
from webhook.serve.prepare import Preparation
from webhook.serve.reload import Certificates
from webhook.serve.secured import Secured
from webhook.serve.telemetry import Scraper, tracing
from webhook.settings import Settings
from webhook.state import EMPTY, read_snapshot

if TYPE_CHECKING:
    from webhook.serve.record import Options

QUIET_SECONDS = 5.0
"""How long nobody may have been connected before a lame duck ends early."""
GOODBYE_SECONDS = 0.5
"""How long a client may take to close its side of an idle connection that ends."""
BACKLOG = 2048
SWITCH_SECONDS = 0.001
"""A scrape's thread gives the interpreter back after this long (Python's default is 5 ms: half of our p99)."""


def run(settings: Settings) -> int:
    """Serves until a signal. Raises `UserError` for what is wrong with a setting, a file or a port."""
    if settings.tls_cert is None or settings.tls_key is None:
        raise UserError("--tls-cert and --tls-key are needed; `wouldblock certs issue --out DIR` makes both files")
    cells = Cells()
    log = Log(level=settings.log_level, dropped=lambda: _dropped(cells))
    with contextlib.ExitStack() as stack:
        stack.callback(log.close)
        _route_library_logs(log)
        # Ports are taken before anything slow, but nobody is let in before the policies are there: refused costs the
        # API server 3 ms, waiting costs the writer the whole timeout.
        listener = stack.enter_context(bind(settings.host, settings.port, "--port"))
        operations_listener = stack.enter_context(bind(settings.host, settings.metrics_port, "--metrics-port"))
        context = tls.context(settings.tls_cert, settings.tls_key, client_ca=settings.client_ca)
        certificates = Certificates(context, settings.tls_cert, settings.tls_key, cells=cells, log=log)
        admission = Admission(load(settings, log), limits=limits(settings), cells=cells, log=log)
        _note(cells, admission.serving)
        if settings.traces != "off":
            admission.tracer = tracer = tracing(settings.traces, version=__version__, log=log)
            stack.callback(tracer.close)
        if settings.record is not None:
            from webhook.serve.record import Recorder  # patterns of secrets: few record, and everybody starts

            admission.recorder = recorder = Recorder(record_options(settings, settings.record), cells=cells, log=log)
            stack.callback(recorder.close)
        _raise_file_limit()
        sys.setswitchinterval(SWITCH_SECONDS)
        settle()
        server = Server(
            _config(Application(admission), keep_alive=settings.keep_alive, context=context),
            admission,
            drain_seconds=settings.drain_seconds,
            log=log,
        )
        companion = Companion(_config(operations(admission, Scraper(cells, version=__version__)), keep_alive=75))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server, companion, listener, operations_listener, certificates, log))
        log("ended")
    return 0


def settle() -> None:
    """Keeps the collector out of reviews. To be called once everything is loaded."""
    gc.collect()
    gc.freeze()  # a full collection over what was loaded would take tens of milliseconds
    gc.set_threshold(YOUNG)


YOUNG = 20_000
"""Containers that may be new before the collector looks at them. Decoded objects hold no cycles and go with their
review, so that looking at every 700 finds nothing and costs a twentieth of the time; cycles, as exceptions make
them, are few."""


def _config(app: Any, *, keep_alive: int, context: ssl.SSLContext | None = None) -> uvicorn.Config:
    """uvicorn without what answers anything but 200 (`limit_concurrency`), and without what costs time."""

    def connection(**arguments: Any) -> asyncio.BaseProtocol:
        made = Connection(**arguments)
        return made if context is None else Secured(made, context)

    config = uvicorn.Config(
        app,
        http=connection,  # type: ignore[arg-type]  # it is called, not more
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=5,
    )
    config.load()
    return config


async def _serve(
    server: Server,
    companion: Companion,
    listener: socket.socket,
    operations_listener: socket.socket,
    certificates: Certificates,
    log: Log,
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.drain)
    loop.add_signal_handler(signal.SIGINT, server.end)
    chores = [asyncio.create_task(certificates.watch()), asyncio.create_task(server.sweep())]
    beside = asyncio.create_task(companion.serve([operations_listener]))
    await _started(companion, beside)  # who reads "serving" may ask either port
    serving = server.admission.serving
    preparation = Preparation(serving.policies.policies)

    def started() -> None:
        server.admission.cells.ready = 1
        preparation.start()
        log(
            "serving",
            host=listener.getsockname()[0],
            port=listener.getsockname()[1],
            metrics_port=operations_listener.getsockname()[1],
            policies=len(serving.policies.policies),
            broken=len(serving.policies.broken),
            set=serving.policies.digest,
            version=__version__,
        )

    server.on_started = started
    await server.serve([listener])
    preparation.close()
    companion.ending.set()
    await beside
    for chore in chores:
        chore.cancel()
    await asyncio.gather(*chores, return_exceptions=True)


async def _started(companion: Companion, serving: asyncio.Task[None]) -> None:
    """Returns once it listens, or has ended without."""
    up = asyncio.Event()
    companion.on_started = up.set
    serving.add_done_callback(lambda _: up.set())
    await up.wait()


class Companion(uvicorn.Server):
    """A uvicorn server that ends when `ending` is set, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()
        self.on_started: Callable[[], None] = _nothing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        self.on_started()
        await self.ending.wait()


class Server(Companion):
    """The webhook's server: it drains before it ends."""

    def __init__(self, config: uvicorn.Config, admission: Admission, *, drain_seconds: float, log: Log) -> None:
        super().__init__(config)
        self.admission = admission
        self._drain_seconds = drain_seconds
        self._log = log
        self._draining: asyncio.Task[None] | None = None

    async def main_loop(self) -> None:
        await super().main_loop()
        await self._hang_up()

    async def _hang_up(self) -> None:
        """Says goodbye to idle connections, and does not wait long for theirs; uvicorn then waits for what is busy."""
        for server in self.servers:
            server.close()
        connections = self.server_state.connections
        for connection in list(connections):
            connection.shutdown()
        end = time.monotonic() + GOODBYE_SECONDS
        while connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for connection in list(connections):
            if isinstance(connection, Connection) and connection.idle():
                connection.transport.abort()

    def drain(self) -> None:
        """The first call starts the lame duck, the second ends at once."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:
            self.end()

    def end(self) -> None:
        """Answers what is being read, and ends."""
        self.admission.cells.ready = 0
        self.ending.set()

    async def _drain(self) -> None:
        cells = self.admission.cells
        self.admission.draining = True
        cells.draining = 1
        cells.ready = 0
        connections = self.server_state.connections
        self._log("draining", connections=len(connections), seconds=self._drain_seconds)
        now = time.monotonic()
        end, quiet_since = now + self._drain_seconds, now
        quiet = min(QUIET_SECONDS, self._drain_seconds / 2)
        while now < end and not self.ending.is_set():
            if connections:
                quiet_since = now
            elif now - quiet_since >= quiet:
                break
            await asyncio.sleep(0.05)
            now = time.monotonic()
        self.ending.set()

    async def sweep(self) -> None:
        """Once a second, for ever: ends connections that take too long."""
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            connections = self.server_state.connections
            self.admission.cells.connections = len(connections)
            for connection in list(connections):
                if isinstance(connection, Connection):
                    connection.overdue(now)


def load(settings: Settings, log: Log) -> Serving:
    """Policies, exemptions and cluster state. Broken policies are named in the log and left out; raises `UserError`
    for files that are not there."""
    for path in settings.policies:
        if not path.exists():
            raise UserError(f"--policies {path}: no such file or directory; expected policy files or folders")
    state = read_snapshot(settings.snapshot) if settings.snapshot else EMPTY
    policies = load_policies(
        settings.policies or shipped(),
        state=state,
        pod_security=PodSecurityConfig(level=settings.pod_security_level, version=settings.pod_security_version),
        enable=settings.enable,
        version=Version(parse_version(settings.kubernetes_version)),
    )
    for problem in policies.broken:
        log("policy_broken", level="error", policy=problem.policy, problem=str(problem))
    return Serving(
        policies=policies,
        state=state,
        exemptions=read_exemptions(settings.exemptions) if settings.exemptions else NO_EXEMPTIONS,
        warn=not settings.mute_warnings,
    )


def limits(settings: Settings) -> Limits:
    return Limits(
        budget=settings.budget_ms / 1000,
        body=settings.large_body_bytes,
        requests=settings.max_in_flight,
        bytes=settings.max_bytes,
        wait=settings.max_wait_ms / 1000,
    )


def record_options(settings: Settings, folder: Path) -> Options:
    from webhook.serve.record import Options
    from webhook.serve.redact import Keep

    return Options(
        folder=folder,
        rate=settings.record_rate,
        total_bytes=settings.record_bytes,
        days=settings.record_days,
        keep=Keep(env=settings.record_env, config_maps=settings.record_config_maps),
    )


def bind(host: str, port: int, flag: str) -> socket.socket:
    """A bound socket that does not listen yet; an empty host is all of IPv4 and IPv6. Raises `UserError`."""
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        if not host and socket.has_dualstack_ipv6():
            family, address = socket.AF_INET6, ("::", port)
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"--host {host}: {error.strerror or error}; expected an address of this machine") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host)))
        made.bind(address)
    except OSError as error:
        made.close()
        raise UserError(
            f"{flag} {port}: {(error.strerror or str(error)).lower()}; choose another with {flag}"
        ) from None
    return made


def _note(cells: Cells, serving: Serving) -> None:
    cells.policies = len(serving.policies.policies)
    cells.broken_policies = len(serving.policies.broken)
    cells.snapshot_taken_at = serving.state.taken_at


def _nothing() -> None:
    pass


def _dropped(cells: Cells) -> None:
    cells.log_dropped += 1


def _route_library_logs(log: Log) -> None:
    for name in ("uvicorn.error", "asyncio", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers = [Handler(log)]
        logger.propagate = False


def _raise_file_limit() -> None:
    """A thousand idle connections are normal; the usual soft limit is 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
