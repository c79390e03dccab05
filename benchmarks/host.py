"""How subjects are served: the shipped set by `wouldblock serve`, every other one by the same server around it.

`python -m benchmarks.host SUBJECT PORT CERT KEY` serves a subject's `app()` with `serve`'s uvicorn settings, protocol
class, loop and TLS, so that a row differs from the next by its application and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import policies, subjects

if TYPE_CHECKING:
    from benchmarks.subjects import App, Clock, Tls

ROOT = Path(__file__).resolve().parents[1]
KEEP_ALIVE = 180


def admission(*paths: Path, clock: Clock, pod_security: bool = False) -> App:
    """`serve`'s application with the policies in `paths`.

    Raises `ValueError` for a policy that cannot be loaded: a figure for fewer policies would be a wrong one.
    """
    from webhook.load import load
    from webhook.native.pod_security import PodSecurityConfig
    from webhook.serve.admit import Admission, Serving
    from webhook.serve.app import Application

    made = load(paths, pod_security=PodSecurityConfig() if pod_security else None)
    if made.broken:
        raise ValueError("\n".join(map(str, made.broken)))
    return Application(Admission(Serving(policies=made), clock=clock))


def generated(count: int, *, strict: int = 0) -> Path:
    """A folder with that many generated policies; equal counts give the same files."""
    folder = Path(tempfile.gettempdir()) / f"wouldblock-bench-{policies.digest()}" / f"{count}-{strict}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        policies.write(unfinished, count, strict=strict)
        with contextlib.suppress(OSError):  # another process was faster
            unfinished.rename(folder)
    return folder


def command(module: str, tls: Tls) -> list[str]:
    """The command line that serves a subject's `app()`; `module` is the subject's `__name__`."""
    name = module.rpartition(".")[2]
    return [sys.executable, "-m", "benchmarks.host", name, str(tls.port), str(tls.certificate), str(tls.key)]


def serve(tls: Tls) -> list[str]:
    """The command line of `wouldblock serve` as it comes: the shipped set."""
    line = [sys.executable, "-m", "webhook", "serve", "--host", "127.0.0.1", "--port", str(tls.port)]
    line += ["--metrics-port", "0", "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
    return [*line, "--drain-seconds", "0"]


def main(name: str, port: str, certificate: str, key: str) -> None:
    import uvloop

    from webhook.serve import server, tls

    app = subjects.load(name).app()
    listener = server.bind("127.0.0.1", int(port), "PORT")
    config = server._config(app, keep_alive=KEEP_ALIVE, context=tls.context(Path(certificate), Path(key)))
    server.settle()

    async def run() -> None:
        running = server.Companion(config)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.ending.set)
        await running.serve([listener])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:5])
