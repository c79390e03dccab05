"""What the prompt of `cel eval` understands: lines in, lines out. Knows no terminal (`cel_prompt.py`)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final

from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.lexer import tokens
from webhook.cel.trace_unit import TraceUnit
from webhook.cel.unit import CompileErrors, Expression, Inputs
from webhook.cel.versions import Version
from webhook.cli.policies.tree import Paint, lines
from webhook.errors import UserError, WouldblockError

INPUTS: Final = {
    ":object": "object",
    ":old-object": "oldObject",
    ":params": "params",
    ":namespace-object": "namespaceObject",
    ":request": "request",
}
COMMANDS: Final = (*INPUTS, ":cost", ":help", ":inputs", ":quit", ":type", ":why")
HELP: Final = """\
an expression          its value; an unfinished one goes on in the next line, an empty line ends it
:object FILE           bind `object` to a YAML or JSON file; also :old-object :params :namespace-object :request
:inputs                what is bound
:type EXPR             the static type, without evaluating
:why EXPR              the value of every part
:cost                  say after each value what it cost, or stop saying so
:help, :quit           Tab completes functions and the fields of what is bound; Ctrl-C drops the line, Ctrl-D leaves
"""
_OPEN, _CLOSE = "([{", ")]}"
_GOES_ON: Final = frozenset(
    ("&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "?", ":", ",", ".", "!", "in")
)


class Session:
    """What is bound, and how it is asked about. `evaluate` and `show` are those of `cel eval`."""

    def __init__(
        self,
        request: dict[str, Any],
        version: Version,
        *,
        read: Callable[[str], Any],
        evaluate: Callable[[dict[str, Any], Version], dict[str, Any]],
        show: Callable[[dict[str, Any], str], None],
    ) -> None:
        self.request = request
        self.done = False
        self._version = version
        self._read = read
        self._evaluate = evaluate
        self._show = show
        self._cost = False

    def handle(self, text: str) -> Iterator[str]:
        """One complete input; what is to be printed beside what `show` prints. Raises nothing that a user does."""
        text = text.strip()
        try:
            if text.startswith(":"):
                yield from self._command(*text.partition(" ")[::2])
            elif text:
                found = self._evaluate({**self.request, "expression": text}, self._version)
                self._show(found, text)
                if self._cost and found["cost"] is not None:
                    yield f"cost {found['cost']}"
        except WouldblockError as error:
            yield f"error: {error}"
        except OSError as error:
            yield f"error: {error.filename}: {(error.strerror or str(error)).lower()}"

    def _command(self, name: str, rest: str) -> Iterator[str]:
        rest = rest.strip()
        match name:
            case ":quit" | ":q" | ":exit":
                self.done = True
            case ":help":
                yield HELP.rstrip("\n")
            case ":cost":
                self._cost = not self._cost
                yield f"cost is {'said' if self._cost else 'not said'}"
            case ":inputs":
                for variable in INPUTS.values():
                    if variable in self.request:
                        value = self.request[variable]
                        yield f"{variable}: {'null' if value is None else _about(value)}"
            case ":type" | ":why" if rest:
                yield from self._looked_at(name, rest)
            case _ if name in INPUTS:
                yield self._bind(INPUTS[name], rest)
            case _:
                yield f"no command {' '.join((name, rest)).strip()!r}; :help lists them"

    def _bind(self, variable: str, file: str) -> str:
        words = shlex.split(file) if file.count("'") % 2 == file.count('"') % 2 == 0 else [file]
        if len(words) != 1:
            raise UserError("give one FILE")
        self.request[variable] = self._read(words[0])
        return f"{variable}: {_about(self.request[variable])}"

    def _looked_at(self, name: str, text: str) -> Iterator[str]:
        undeclared = [variable for variable in INPUTS.values() if variable not in self.request]
        expression = Expression(path="expression", text=text)
        try:
            unit = TraceUnit(
                [expression], params="params" in self.request, undeclared=undeclared, version=self._version
            )
        except CompileErrors:
            # Said as always, with its caret.
            self._show(self._evaluate({**self.request, "expression": text}, self._version), text)
            return
        if name == ":type":
            yield str(unit.types[0])
            return
        inputs = Inputs(
            object=self.request.get("object"),
            old_object=self.request.get("oldObject"),
            params=self.request.get("params"),
            namespace_object=self.request.get("namespaceObject"),
            request=self.request.get("request"),
        )
        yield from lines(unit.start(inputs).trace(0), Paint(), 0)


def unfinished(text: str) -> bool:
    """Whether more is to come: an open bracket or string, or an operator at the end. Commands are one line."""
    if text.lstrip().startswith(":"):
        return False
    problems: list[Diagnostic] = []
    try:
        found = tokens(text, problems)[:-1]
    except Failed:
        return False
    if any(text.count(quote) % 2 for quote in ("'''", '"""')):
        return True
    if problems:
        return False
    depth = sum((token.kind in _OPEN) - (token.kind in _CLOSE) for token in found if len(token.kind) == 1)
    return depth > 0 or (bool(found) and depth == 0 and found[-1].kind in _GOES_ON)


def _about(value: Any) -> str:
    """A few words on what a file held."""
    if not isinstance(value, dict):
        return type(value).__name__
    meta = value.get("metadata")
    name = meta.get("name", "") if isinstance(meta, dict) else ""
    return f"{value.get('kind', 'a map')} {name}".strip()
