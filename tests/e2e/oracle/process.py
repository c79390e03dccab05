"""The oracle: a process that answers CEL expressions and whole policies with the API server's own code.

What questions and answers look like is said in `../controlplane/celeval/serve.go`.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from tests.e2e.plane.binaries import Binaries

_ENDS_WITHIN = 20


class Oracle:
    """One process; ended by `close` or by leaving the context. Not for several threads at once."""

    def __init__(self, binaries: Binaries) -> None:
        """Raises `NoControlPlane` when the binaries are others than the project's own."""
        self._process = subprocess.Popen(
            [binaries.path("celeval")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 20
        )

    def ask(self, questions: Iterable[dict[str, Any] | str], *, all_good: bool = True) -> list[dict[str, Any]]:
        """The answers, one a question and in order. A question is a dict, or the text of one (which keeps `1.0`).

        Raises `ValueError` when the oracle does not understand a question (unless they need not be `all_good`: then
        its answer is `{"bad"}`), `RuntimeError` when it has ended.
        """
        lines = [each if isinstance(each, str) else json.dumps(each) for each in questions]
        writer = threading.Thread(target=self._write, args=(lines,), daemon=True)
        writer.start()
        answers = [self._read(line) for line in lines]
        writer.join()
        for line, answer in zip(lines, answers, strict=True):
            if all_good and "bad" in answer:
                raise ValueError(f"celeval does not understand {line}: {answer['bad']}")
        return answers

    def _write(self, lines: list[str]) -> None:
        assert self._process.stdin is not None
        try:
            for line in lines:
                self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the reader says so

    def _read(self, question: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"celeval ended with {self._process.wait(_ENDS_WITHIN)} before it answered {question}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
