"""A real Alertmanager for tests: built from `../alertmanager/go.mod` once, run on loopback, with a receiver behind it.

The Go module holds no built user interface, which the program embeds: it is built with an empty page in its place.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.plane.binaries import CHECKOUT, MODULE, cache, go_command, go_environment, go_version, locked, watch
from tests.e2e.plane.cluster import as_yaml, end, free_port, wait_for

SOURCE = MODULE.parent / "alertmanager"
PACKAGE = "github.com/prometheus/alertmanager"
PROGRAMS = ("alertmanager", "amtool")


def find(say: Callable[[str], None]) -> Path:
    """The folder with both programs; built now if need be, which takes minutes."""
    digest = hashlib.sha256(go_version().encode())
    for name in ("go.mod", "go.sum"):
        digest.update((SOURCE / name).read_bytes())
    home = cache().parent / "alertmanager" / digest.hexdigest()[:16]
    with locked(cache().parent / "alertmanager" / "lock", say):
        if not all((home / program).exists() for program in PROGRAMS):
            _build(go_command(say), home, say)
    return home


def _build(go: str, home: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    say(f"building Alertmanager with {go} (some minutes with an empty Go cache)")
    work = Path(tempfile.mkdtemp(prefix="build-", dir=home.parent))
    try:
        module, mod = work / "module", work / "go.mod"
        download = subprocess.run(
            [go, "mod", "download", "-json", PACKAGE],
            cwd=SOURCE,
            env=go_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        shutil.copytree(json.loads(download.stdout)["Dir"], module, copy_function=shutil.copyfile)
        for folder in (module, module / "ui", module / "ui" / "app"):
            folder.chmod(0o755)
        page = module / "ui" / "app" / "dist" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("built without its user interface\n")
        shutil.copyfile(SOURCE / "go.mod", mod)
        shutil.copyfile(SOURCE / "go.sum", work / "go.sum")
        subprocess.run([go, "mod", "edit", f"-replace={PACKAGE}={module}", str(mod)], env=go_environment(), check=True)
        (work / "out").mkdir()
        targets = [f"{PACKAGE}/cmd/{program}" for program in PROGRAMS]
        flags = ["-v", "-trimpath", "-ldflags=-s -w", f"-modfile={mod}", "-o", f"{work / 'out'}/"]
        watch([go, "build", *flags, *targets], SOURCE, say, started)
        shutil.rmtree(home, ignore_errors=True)
        (work / "out").rename(home)
    finally:
        for folder in (each for each in work.rglob("*") if each.is_dir()):
            folder.chmod(0o755)
        shutil.rmtree(work, ignore_errors=True)
    say(f"built in {time.monotonic() - started:.0f} s: {home}")


class Receiver:
    """Where an Alertmanager's webhook notifications arrive: `groups`, oldest first."""

    def __init__(self) -> None:
        self.groups: list[dict[str, Any]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner.groups.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def told(self, status: str, ticket: str) -> bool:
        return any(
            alert["status"] == status and alert["labels"].get("ticket") == ticket
            for group in self.groups
            for alert in group["alerts"]
        )

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def running(programs: Path, folder: Path, *, web: dict[str, Any] | None = None) -> Iterator[tuple[str, Receiver]]:
    """(address, receiver) of an Alertmanager that notifies at once. `web`: its web configuration (TLS, users)."""
    receiver = Receiver()
    configuration = {
        "route": {
            "receiver": "test",
            "group_by": ["ticket"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "test", "webhook_configs": [{"url": receiver.url, "send_resolved": True}]}],
    }
    (folder / "alertmanager.yml").write_text(as_yaml(configuration))
    (folder / "web.yml").write_text(as_yaml(web or {}))
    port = free_port()
    command: Sequence[str] = [
        str(programs / "alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--web.config.file={folder / 'web.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    secure = bool(web and "tls_server_config" in web)
    address = f"{'https' if secure else 'http'}://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, (folder / "alertmanager.log").read_text()
        try:
            # Whoever is not let in has been heard.
            return httpx.get(f"{address}/-/ready", verify=False, timeout=5).status_code in (200, 401)  # noqa: S501
        except httpx.ReadError:
            return secure  # a client certificate is asked for
        except httpx.TransportError:
            return False

    try:
        wait_for("Alertmanager is ready", ready, seconds=30)
        yield address, receiver
    finally:
        end(process)
        receiver.stop()
