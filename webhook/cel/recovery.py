"""What the server says of an expression that is no CEL: everything that its parser finds, and what its macros say of
what could be read all the same.

The server's parser repairs what it can and reads on: it leaves a token out, imagines one, or skips to where a rule that
is open may go on (ANTLR 4's default error strategy, and `cel-go parser/parser.go`'s limits on it). The same is done
here over the states of `grammar.py`. Used only once `parser.py` has failed: it is slow.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.cel.diagnostics import Diagnostic
from webhook.cel.grammar import END, EOF, RULE_ENDS, STARTS, State, Unfit, listed
from webhook.cel.lexer import Token, unreadable

DEPTH: Final = 250
"""A rule may be active so often at once."""
_ATTEMPTS: Final = 30
_SKIPPED: Final = 256
_NAMES: Final = {
    "end": EOF,
    "name": "IDENTIFIER",
    "quoted": "ESC_IDENTIFIER",
    "string": "STRING",
    "bytes": "BYTES",
    "int": "NUM_INT",
    "uint": "NUM_UINT",
    "double": "NUM_FLOAT",
}
_WORDS: Final = ("true", "false", "null")
_PARTING: Final = ("block", "loop", "plus")


class Part:
    """What a rule has read: the alternative, the token it begins with, and tokens and parts by the names that the rule
    gives them."""

    __slots__ = ("alternative", "named", "rule", "start")

    def __init__(self, rule: str, start: Token) -> None:
        self.rule = rule
        self.start = start
        self.alternative = ""
        self.named: dict[str, list[Any]] = {}

    def get(self, name: str) -> Any:
        """The last of the name, or `None`."""
        found = self.named.get(name)
        return found[-1] if found else None

    def all(self, name: str) -> list[Any]:
        return self.named.get(name, [])

    def add(self, name: str, held: Token | Part) -> None:
        self.named.setdefault(name, []).append(held)


class GaveUp(Exception):
    """A limit is reached; the parser has said so."""


class _Wrong(Exception):
    """The rule can not go on."""

    def __init__(self, at: int, message: str) -> None:
        self.at = at
        self.message = message
        super().__init__(message)


def type_of(token: Token) -> str:
    """The type of a token in the grammar's words."""
    if token.kind == "name" and token.text in _WORDS:
        return token.text
    return _NAMES.get(token.kind, token.kind)


class Recovery:
    """Reads `tokens` of `text`; `problems` grows."""

    def __init__(self, text: str, tokens: list[Token], problems: list[Diagnostic]) -> None:
        self.text = text
        self.tokens = tokens
        self.types = [type_of(token) for token in tokens]
        self.problems = problems
        self.unread = {each.at: unreadable(text, each) for each in problems}
        """How much of the text is no token, by where that begins."""
        self.index = 0
        self.state = END
        self.callers: list[State] = []
        """The states that called the rules that are open."""
        self.recovering = False
        self.failed_at = -1
        self.failed_in: list[State] = []
        self.attempts = 0

    def read(self) -> Part:
        """The whole expression. Raises `GaveUp`."""
        return self.rule("start", 0)

    def look(self, ahead: int) -> str:
        return self.types[min(self.index + ahead, len(self.types)) - 1]

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def rule(self, name: str, precedence: int) -> Part:
        part = Part(name, self.token)
        if len(self.callers) > DEPTH and sum(caller.rule == name for caller in self.callers) > DEPTH:
            self.problems.append(Diagnostic(-1, f"expression recursion limit exceeded: {DEPTH}"))
            raise GaveUp
        state = STARTS[name]
        try:
            while state.kind != "end":
                self.state = state
                after = state.after or END
                match state.kind:
                    case "token":
                        part.add(state.label, self.match(state))
                    case "rule":
                        self.callers.append(state)
                        read = self.rule(state.rule, state.precedence)
                        self.callers.pop()
                        self.state = state
                        part.add(state.label, read)
                    case "name":
                        part.alternative = state.label
                    case "push":
                        left, part = part, Part(name, part.start)
                        part.alternative = state.label
                        part.add("left", left)
                    case _:
                        self.sync(state)
                        after = self.chosen(state, precedence)
                state = after
        except _Wrong as wrong:
            self.report(wrong.at, wrong.message)
            self.recover()
        return part

    def chosen(self, state: State, precedence: int) -> State:
        if state.choose is not None:
            try:
                return state.ways[state.choose(self.look, precedence)]
            except Unfit as unfit:
                raise self.no_way(unfit.tokens) from None
        for way in state.ways:
            if self.look(1) in way.first() or way is state.after or state.kind == "plus":
                return way
        raise self.no_way(1)

    def no_way(self, looked: int) -> _Wrong:
        last = self.tokens[min(self.index + looked, len(self.tokens)) - 1]
        read = self.between(self.token.at, last.at)
        if last.kind != "end" or last is self.token:
            read += last.text
        message = f"no viable alternative at input {_shown(read)}"
        if read[:1] and read[1:] in _WORDS:
            message = f"mismatched input '{read[1:]}' expecting IDENTIFIER"
        return _Wrong(last.at, message)

    def between(self, at: int, end: int) -> str:
        """The text, without what is no token."""
        kept = ""
        for bad in sorted(self.unread):
            if at <= bad < end:
                kept += self.text[at:bad]
                at = bad + self.unread[bad]
        return kept + self.text[at:end]

    # -- tokens

    def match(self, state: State) -> Token:
        if self.look(1) in state.tokens:
            self.recovered()
            return self.consume()
        self.attempt()
        if self.left_out():
            return self.consume()
        if self.look(1) in self.following(state.after or END):
            return self.imagined()
        raise self.mismatch()

    def consume(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.index += 1
        return token

    def left_out(self) -> bool:
        """Whether the next token is one too many, which is said, and now read."""
        expected = self.expected()
        if self.look(2) not in expected:
            return False
        self.unwanted()
        self.consume()
        self.recovered()
        return True

    def imagined(self) -> Token:
        """A token that is missing."""
        expected = self.expected()
        self.report(self.token.at, f"missing {listed(expected)} at {_shown(self.token.text)}")
        last = self.token.kind == "end" and self.index
        return Token("", "", self.tokens[self.index - 1].at if last else self.token.at)

    def unwanted(self) -> None:
        self.report(self.token.at, f"extraneous input {_shown(self.token.text)} expecting {listed(self.expected())}")

    def mismatch(self) -> _Wrong:
        shown = _shown(self.token.text)
        return _Wrong(self.token.at, f"mismatched input {shown} expecting {listed(self.expected())}")

    # -- what may follow

    def expected(self) -> frozenset[str]:
        """What may stand here, by the rules that are open."""
        return self.following(self.state)

    def following(self, state: State) -> frozenset[str]:
        found = state.first()
        callers = list(self.callers)
        while RULE_ENDS in found:
            found -= {RULE_ENDS}
            if not callers:
                return found | {EOF}
            found |= (callers.pop().after or END).first()
        return found

    def resumable(self) -> set[str]:
        """What one of the rules that are open may go on with."""
        found: set[str] = set()
        for caller in self.callers:
            found |= (caller.after or END).first()
        return found - {RULE_ENDS}

    # -- errors

    def sync(self, state: State) -> None:
        """Where ways part, or an iteration ends: whether the next token fits."""
        if self.recovering:
            return
        fits = state.first()
        if RULE_ENDS in fits or self.look(1) in fits:
            return
        if state.kind in _PARTING:
            if not self.left_out():
                raise self.mismatch()
            return
        self.unwanted()
        self.skip(self.expected() | self.resumable())

    def report(self, at: int, message: str) -> None:
        """Of errors that follow one another without a token that fits only the first is told."""
        if not self.recovering:
            self.recovering = True
            self.problems.append(Diagnostic(at, f"Syntax error: {message}"))

    def recovered(self) -> None:
        self.recovering = False
        self.failed_at = -1
        self.failed_in = []

    def attempt(self) -> None:
        if self.attempts == _ATTEMPTS:
            message = f"Syntax error: error recovery attempt limit exceeded: {_ATTEMPTS}"
            self.problems.append(Diagnostic(self.token.at, message))
            raise GaveUp
        self.attempts += 1

    def recover(self) -> None:
        self.attempt()
        before = self.index
        if self.failed_at == self.index and self.state in self.failed_in:
            self.consume()  # twice at the same place: go on
        self.failed_at = self.index
        self.failed_in.append(self.state)
        self.skip(self.resumable(), before + _SKIPPED)

    def skip(self, until: set[str] | frozenset[str], limit: int | None = None) -> None:
        while self.look(1) != EOF and self.look(1) not in until:
            if self.index == limit:
                self.problems.append(Diagnostic(-1, f"error recovery token lookahead limit exceeded: {_SKIPPED}"))
                raise GaveUp
            self.consume()


def _shown(text: str) -> str:
    escaped = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
