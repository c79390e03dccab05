"""The exception tree. Everything that wouldblock raises on purpose is a `WouldblockError`.

Three kinds matter to callers: `UserError` (a wrong file, flag or policy: printed without a traceback,
exit code 2), `NeedsState` (a policy cannot give a verdict here: recorded as *not comparable*) and
`DeadlineExceeded` (a review ran out of time: recorded as *incomplete*).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class WouldblockError(Exception):
    """Base of all errors raised on purpose."""


class UserError(WouldblockError):
    """Something the user gave is wrong. The text says what, where, what was expected, and the fix."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with an input file. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0
    path: str = ""
    """Field path inside the document, such as `spec.validations[0].expression`."""
    message: str
    source: str = ""
    """The offending source line, printed with a caret below `column`; empty when there is none."""
    caret: int = 0
    """Column in `source`, from 1, that the caret points at; 0 for no caret."""
    policy: str = ""
    """The policy's id, where one is known."""

    def __str__(self) -> str:
        where = self.file + (f":{self.line}" if self.line else "") + (f":{self.column}" if self.column else "")
        text = f"{where}: {self.path + ': ' if self.path else ''}{self.message}"
        if self.source:
            text += f"\n  | {self.source}"
            if self.caret:
                text += f"\n  | {'.' * (self.caret - 1)}^"
        return text


class InvalidInput(UserError):
    """All problems of a set of files at once; `problems` is never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class NeedsState(WouldblockError):
    """A verdict needs cluster state that the snapshot does not hold. `what` names it, e.g. `Namespace shop`."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"needs state: {what}")


class NotComparable(WouldblockError):
    """The webhook's inputs differ from the API server's, so there is no verdict. `reason` says how."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not comparable: {reason}")


class DeadlineExceeded(WouldblockError):
    """The review's time is used up. Raised by `Context.check_deadline`, between policies and inside loops."""
