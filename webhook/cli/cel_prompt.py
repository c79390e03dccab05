"""The prompt of `cel eval` for people at a terminal: line editing, history, completion. What lines mean is
`cel_session.py`'s."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Final

from webhook import cli
from webhook.cel.versions import Version
from webhook.cli.cel_complete import DELIMITERS, Completer
from webhook.cli.cel_session import Session, unfinished

PROMPT, MORE = "cel> ", "...> "
_KEPT: Final = 1_000
"""Lines of history."""

_GREETING: Final = "CEL as the API server evaluates it. :help says what else there is; Ctrl-D leaves."


def run(session: Session, version: Version) -> int:
    """Reads until the end. Always fine: what was wrong has been said."""
    readline = _readline(session, version)
    history = _open_history(readline)
    print(_GREETING)
    while not session.done:
        try:
            text = _read(readline)
        except EOFError:
            print()
            break
        except KeyboardInterrupt:
            print()
            continue
        try:
            for line in session.handle(text):
                print(line)
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
        sys.stderr.flush()
    if history is not None:
        _save(readline, history)
    return cli.FINE


def _read(readline: Any) -> str:
    """One complete input. In the history it is one line."""
    parts = [input(PROMPT)]
    before = 0 if readline is None else readline.get_current_history_length()
    while unfinished("\n".join(parts)):
        part = input(MORE)
        if not part.strip():
            break
        parts.append(part)
    if readline is not None and len(parts) > 1:
        for position in range(readline.get_current_history_length() - 1, before - 2, -1):
            if position >= 0:
                readline.remove_history_item(position)
        # A comment would swallow what follows it in one line.
        if not any("//" in part for part in parts):
            readline.add_history(" ".join(part.strip() for part in parts))
    return "\n".join(parts)


def _readline(session: Session, version: Version) -> Any:
    """Python's `readline`, set up; None where Python was built without it."""
    try:
        import readline
    except ImportError:
        return None
    readline.set_completer(Completer(session.request, version.functions, readline.get_line_buffer))
    readline.set_completer_delims(DELIMITERS)
    # macOS's Python is built with libedit, which says it in other words.
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    return readline


def history_file() -> Path:
    """Where the XDG base directories put state."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The specification: what is no absolute path is to be ignored.
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "wouldblock" / "cel_history"


def _open_history(readline: Any) -> Path | None:
    """Reads the history; None if there can be none here."""
    if readline is None:
        return None
    readline.clear_history()
    readline.set_history_length(_KEPT)
    try:
        path = history_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For nobody else from the first byte on: expressions may quote what is in an object.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        readline.read_history_file(path)
    except (OSError, RuntimeError) as error:
        print(f"wouldblock: no history here: {error}", file=sys.stderr)
        return None
    return path


def _save(readline: Any, path: Path) -> None:
    with contextlib.suppress(OSError):
        readline.write_history_file(path)
        path.chmod(0o600)
