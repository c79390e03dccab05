"""The prompt of `wouldblock cel eval`: through a real terminal, and what it understands without one."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webhook.cel.versions import STORED
from webhook.cli import cel, main
from webhook.cli.cel_complete import Completer
from webhook.cli.cel_session import Session, unfinished

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web, "a/b": c}}
spec: {containers: [{name: c, image: nginx}], volumes: []}
"""
PATIENCE = 60.0
_AT_THE_TERMINAL = """\
import os, signal, sys
os.login_tty(os.dup(0))
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "webhook", *sys.argv[1:]])
"""
"""Takes the terminal as its own, then becomes the command: code between fork and exec can hang where threads run. What
a shell starts in the background ignores SIGINT, and so would all that it starts."""


class Terminal:
    """The command on a pseudo-terminal of its own, as a person would sit at it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._fd, slave = pty.openpty()
        environment = os.environ | {"TERM": "dumb", "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_THE_TERMINAL, "cel", "eval", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment,
        )
        os.close(slave)

    def until(self, text: str) -> str:
        """What appears up to and with `text`."""
        seen = b""
        while text.encode() not in seen:
            ready, _, _ = select.select([self._fd], [], [], PATIENCE)
            assert ready, f"nothing after {seen!r}, waiting for {text!r}"
            try:
                seen += os.read(self._fd, 65_536)
            except OSError:
                raise AssertionError(f"it ended after {seen!r}, waiting for {text!r}") from None
        return seen.decode().replace("\r\n", "\n")

    def type(self, text: str, wait: str = "cel> ") -> str:
        os.write(self._fd, text.encode())
        return self.until(wait)

    def interrupt(self) -> str:
        """Presses Ctrl-C, and again if nothing happens: Python's readline misses a signal that comes just before it
        waits for keys, and notices it with the next."""
        for _ in range(int(PATIENCE)):
            os.write(self._fd, b"\x03")
            if select.select([self._fd], [], [], 1.0)[0]:
                break
        return self.until("cel> ")

    def leave(self) -> int:
        os.write(self._fd, b"\x04")
        code = self.process.wait(timeout=PATIENCE)
        os.close(self._fd)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            os.close(self._fd)


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "pod.yaml").write_text(POD)
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(tmp_path, *arguments))
        started[-1].until("cel> ")
        return started[-1]

    yield start
    for each in started:
        each.kill()


def test_a_person_at_the_terminal(sit: Any, tmp_path: Path) -> None:
    terminal = sit("--object", "pod.yaml")
    assert "\n3\n" in terminal.type("1 + 2\n")
    assert '\n"web"\n' in terminal.type("object.metadata.name\n")
    wrong = terminal.type("object.x == 'a' && nope\n")
    assert "undeclared reference to 'nope'" in wrong
    source, caret = wrong.split("  | ")[1:3]
    assert source.rstrip()[caret.index("^") :] == "nope"
    assert "error: no such key: x" in terminal.type("object.x\n")
    terminal.type("[1,\n", "...> ")
    assert "\n[1, 2]\n" in terminal.type("2]\n")
    assert "object: Pod web" in terminal.type(":object pod.yaml\n")
    assert "no such file" in terminal.type(":object gone.yaml\n")
    assert "\nlist(int)\n" in terminal.type(":type [1].map(x, x + 1)\n")
    terminal.type(":cost\n")
    assert "\ncost 2\n" in terminal.type("object.kind\n")
    terminal.type("'unfinished", "'unfinished")
    assert "(' && false')" not in terminal.interrupt()  # Ctrl-C drops the line
    assert "\ntrue\n" in terminal.type("true\n")
    assert terminal.leave() == 0
    history = tmp_path / "state" / "wouldblock" / "cel_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700
    kept = history.read_text().splitlines()
    assert kept[:2] == ["1 + 2", "object.metadata.name"]
    assert "[1, 2]" in kept
    assert "2]" not in kept


def test_history_and_completion(sit: Any) -> None:
    first = sit("--object", "pod.yaml")
    first.type("40 + 2\n")
    first.leave()
    second = sit("--object", "pod.yaml")
    assert "\n42\n" in second.type("\x10\n")  # Ctrl-P: the line before
    assert '\n"nginx"\n' in second.type("object.sp\t.co\t[0].im\t\n")
    assert '\n"web"\n' in second.type("object.meta\t.la\t.app\n")
    assert "\n2\n" in second.type("size([1,2])\n")
    assert second.type(":qu\t\n", "uit") and second.process.wait(timeout=PATIENCE) == 0


def test_without_a_terminal_an_expression_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cel", "eval"]) == 2
    assert "give one expression" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("1 +", True),
        ("a &&", True),
        ("f(", True),
        ("[1, {'a':", True),
        ("'''x", True),
        ("a ? b :", True),
        ("a ? b : c", False),
        ("f(')", False),
        ("'(' + ')'", False),
        ("]", False),
        ("1 // (", False),
        ("", False),
        (":type [", False),
        ("in", True),
    ],
)
def test_what_goes_on(text: str, more: bool) -> None:
    assert unfinished(text) is more


def session(**inputs: Any) -> Session:
    return Session(dict(inputs), STORED, read=cel.document, evaluate=cel.evaluated, show=cel.show)


def test_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = session(object=None)
    (tmp_path / "a b.yaml").write_text(POD)
    assert list(made.handle(f":params '{tmp_path}/a b.yaml'")) == ["params: Pod web"]
    assert list(made.handle(":inputs")) == ["object: null", "params: Pod web"]
    assert list(made.handle(":why params.spec.containers.exists(c, c.name == 'x')"))[1:] == [
        '   params.spec.containers  =  [{"name": "c", "image": "nginx"}]',
        '   with c = {"name": "c", "image": "nginx"}:',
        "     c.name == 'x'  =  false",
        '       c.name  =  "c"',
    ]
    assert list(made.handle(":type")) == ["no command ':type'; :help lists them"]
    assert list(made.handle(":type 1 +")) == []
    assert "mismatched input" in capsys.readouterr().err
    assert list(made.handle("authorizer.path('/x').check('get').allowed()")) == []
    assert "authorizer" in capsys.readouterr().err
    asked = ":why authorizer.path('/x').check('get').allowed()"
    assert [line.partition(",")[0][:21] for line in made.handle(asked)] == ["error: not comparable"]
    assert list(made.handle(":object a b")) == ["error: give one FILE"]
    assert list(made.handle(f":object {tmp_path}")) == [f"error: {tmp_path}: is a directory"]
    assert not made.done
    assert list(made.handle(":quit")) == [] and made.done


def test_completion() -> None:
    inputs = {"object": {"spec": {"containers": [{"name": "c"}], "a-b": 1}, "status": {}}, "request": None}
    complete = Completer(inputs, STORED.functions, lambda: "")
    assert list(complete.candidates("obj", "")) == ["object"]
    assert list(complete.candidates("object.s", ""))[:2] == ["object.spec", "object.status"]
    assert "object.size(" in complete.candidates("object.si", "")
    assert list(complete.candidates("object.spec.containers[0].na", "")) == ["object.spec.containers[0].name"]
    assert list(complete.candidates("object.?spec.?c", "")) == ["object.?spec.?containers"]
    assert "object.spec.containers[7].namespace(" in complete.candidates("object.spec.containers[7].na", "")
    assert "quantity(" in complete.candidates("quant", "")
    assert list(complete.candidates(":o", ":o")) == [":object", ":old-object"]
    assert complete("obj", 0) == "object"
    assert complete("obj", 1) is None
