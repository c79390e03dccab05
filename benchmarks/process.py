"""A subject in a process of its own: certificate, start, ready, end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from benchmarks.host import ROOT
from benchmarks.subjects import Subject, Tls
from webhook import cli
from webhook.bench import machine

READY_SECONDS = 60.0


class Running(Struct, frozen=True):
    """A subject that answers. `startup` is seconds from its start until it took a TLS connection."""

    pid: int
    url: str
    ca: Path
    startup: float


@contextlib.contextmanager
def certificates() -> Iterator[Path]:
    """A folder with `ca.crt`, `tls.crt`, `tls.key` for 127.0.0.1, made by `wouldblock certs issue`."""
    with tempfile.TemporaryDirectory(prefix="wouldblock-bench-") as folder:
        with contextlib.redirect_stdout(None):
            code = cli.main(["certs", "issue", "--out", folder, "--dns", "localhost", "--ip", "127.0.0.1"])
        if code != cli.FINE:
            raise RuntimeError(f"wouldblock certs issue: exit code {code}")
        yield Path(folder)


@contextlib.contextmanager
def running(subject: Subject, certs: Path) -> Iterator[Running]:
    """Serves the subject on a free port, on the first CPU when there are more (the driver takes the last)."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = subject.command(Tls(port, certs / "tls.crt", certs / "tls.key"))
    usable = machine.cpus()
    with tempfile.TemporaryFile() as said:
        # Compiled bytecode is read and nothing else is inherited from this run.
        began = time.perf_counter()
        process = subprocess.Popen(line, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd=ROOT)
        try:
            if len(usable) > 1:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(process.pid, {usable[0]})
            _await_ready(process, port, certs / "ca.crt", said)
            startup = time.perf_counter() - began
            yield Running(process.pid, f"https://127.0.0.1:{port}/validate", certs / "ca.crt", startup)
        finally:
            _end(process)


def _await_ready(process: subprocess.Popen[bytes], port: int, ca: Path, said: object) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                context.wrap_socket(raw, server_hostname="127.0.0.1").close()
                return
        except (ConnectionError, TimeoutError):
            time.sleep(0.002)
    said.seek(0)  # type: ignore[attr-defined]
    text = said.read().decode("utf-8", "replace")[-2000:]  # type: ignore[attr-defined]
    raise RuntimeError(f"{' '.join(map(str, process.args))}: not ready within {READY_SECONDS:g} s\n{text}")  # type: ignore[arg-type]


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGINT, 5), (signal.SIGKILL, None)):
        if process.poll() is None:
            process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
