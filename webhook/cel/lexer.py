"""CEL text to tokens: literals with their values, names, punctuation, each with its offset in code points.

Accepts what the API server's grammar accepts (`cel-go parser/gen/CEL.g4`); what it cannot read becomes a
`token recognition error` and lexing goes on, so that one run reports every bad token.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from webhook.cel.diagnostics import Diagnostic, Failed
from webhook.cel.values import INT_MAX, UINT_MAX, Uint

SIZE_LIMIT = 100_000
"""Code points in an expression: cel-go's default, which Kubernetes keeps."""

UNREADABLE = "Syntax error: token recognition error at: "

_ESCAPE = r"""\\(?:[abfnrtv"'`\\?]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"""
_STRING = (
    rf"[rR]'''(?:.|\n)*?'''|[rR]\"\"\"(?:.|\n)*?\"\"\"|[rR]'[^'\n\r]*'|[rR]\"[^\"\n\r]*\""
    rf"|'''(?:{_ESCAPE}|[^\\])*?'''|\"\"\"(?:{_ESCAPE}|[^\\])*?\"\"\""
    rf"|'(?:{_ESCAPE}|[^\\'\n\r])*'|\"(?:{_ESCAPE}|[^\\\"\n\r])*\""
)
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
  | (?P<string>{_STRING})
  | (?P<bytes>[bB](?:{_STRING}))
  | (?P<double>\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
  | (?P<uint>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
  | (?P<int>0x[0-9a-fA-F]+|[0-9]+)
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<quoted>`[a-zA-Z0-9_.\-/\x20]+`)
  | (?P<punctuation>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])
    """,
    re.VERBOSE,
)
_BROKEN_STRING = re.compile(rf"(?:[bB]?[rR]?)(?P<quote>['\"])(?:{_ESCAPE}|(?!(?P=quote))[^\\\n\r])*")
_BROKEN_NAME = re.compile(r"`[a-zA-Z0-9_.\-/\x20]*")
_BROKEN_ESCAPE = re.compile(r"\\(?:[xX][0-9a-fA-F]{0,1}|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|[0-3][0-7]?)?")
_ESCAPES = re.compile(_ESCAPE)
_BACKSLASHED = {
    "a": 7,
    "b": 8,
    "f": 12,
    "n": 10,
    "r": 13,
    "t": 9,
    "v": 11,
    "\\": 92,
    "'": 39,
    '"': 34,
    "`": 96,
    "?": 63,
}


class Token(msgspec.Struct, frozen=True):
    """`kind` is `string bytes double uint int name quoted end`, or the punctuation itself; `text` as written."""

    kind: str
    text: str
    at: int
    value: Any = None


def tokens(text: str, problems: list[Diagnostic]) -> list[Token]:
    """All tokens and an `end`. Bad ones are added to `problems`. Raises `Failed` when the text is too long."""
    if len(text) > SIZE_LIMIT:
        message = f"expression code point size exceeds limit: size: {len(text)}, limit {SIZE_LIMIT}"
        raise Failed([Diagnostic(0, message)])
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            at = _unreadable(text, at, problems)
            continue
        kind, written = match.lastgroup or "", match.group()
        if kind != "space":
            found.append(_token(kind, written, at, problems))
        at = match.end()
    found.append(Token("end", "<EOF>", len(text)))
    return found


def _token(kind: str, written: str, at: int, problems: list[Diagnostic]) -> Token:
    match kind:
        case "name" | "quoted":
            return Token("in" if written == "in" else kind, written, at)
        case "punctuation":
            return Token(written, written, at)
        case "int" | "uint":
            digits = written.rstrip("uU")
            value: Any = int(digits, 16) if digits.startswith("0x") else _decimal(digits)
            if value > (UINT_MAX if kind == "uint" else INT_MAX + 1):
                problems.append(Diagnostic(at, f"invalid {kind} literal"))
                value = 0
            return Token(kind, written, at, Uint(value) if kind == "uint" else value)
        case "double":
            value = float(written)
            if value in (float("inf"), float("-inf")):
                problems.append(Diagnostic(at, "invalid double literal"))
                value = 0.0
            return Token(kind, written, at, value)
    return Token(kind, written, at, _unescape(written, kind == "bytes", at, problems))


def _decimal(digits: str) -> int:
    # Python refuses to convert thousands of digits; the number is out of range long before.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 30 else 10**30


def _unescape(written: str, as_bytes: bool, at: int, problems: list[Diagnostic]) -> str | bytes:
    body = written[1:] if as_bytes else written
    raw = body[0] in "rR"
    if raw:
        body = body[1:]
    width = 3 if body[:3] in ("'''", '"""') and len(body) >= 6 else 1
    body = body[width:-width].replace("\r\n", "\n").replace("\r", "\n")
    if as_bytes:
        if raw or "\\" not in body:
            return body.encode("utf-8", "surrogatepass")
        return _unescape_bytes(body, at, problems)
    if raw or "\\" not in body:
        return body

    def character(match: re.Match[str]) -> str:
        code = _code(match.group())
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            problems.append(Diagnostic(at, "invalid unicode code point"))
            return "\ufffd"
        return chr(code)

    return _ESCAPES.sub(character, body)


def _unescape_bytes(body: str, at: int, problems: list[Diagnostic]) -> bytes:
    out = bytearray()
    end = 0
    for match in _ESCAPES.finditer(body):
        out += body[end : match.start()].encode("utf-8", "surrogatepass")
        if match.group()[1] in "uU":
            problems.append(Diagnostic(at, "unable to unescape string"))
        else:
            out.append(_code(match.group()))
        end = match.end()
    return bytes(out + body[end:].encode("utf-8", "surrogatepass"))


def _code(escape: str) -> int:
    """The code point or byte that an escape stands for."""
    kind = escape[1]
    if kind in _BACKSLASHED:
        return _BACKSLASHED[kind]
    return int(escape[2:], 16) if kind in "xXuU" else int(escape[1:], 8)


def _unreadable(text: str, at: int, problems: list[Diagnostic]) -> int:
    """Reports the unreadable token at `at`; returns where to go on: behind the character that did not fit."""
    match = _BROKEN_STRING.match(text, at)
    end = at + 1
    if match is not None:
        end = match.end()
        escape = _BROKEN_ESCAPE.match(text, end)
        end = (escape.end() if escape else end) + 1
    elif text[at] in "=&|":
        end = at + 2
    elif (quoted := _BROKEN_NAME.match(text, at)) is not None:
        end = quoted.end() + 1
    problems.append(Diagnostic(at, f"{UNREADABLE}'{text[at:end]}'"))
    return min(end, len(text))


def unreadable(text: str, problem: Diagnostic) -> int:
    """How much of the text the problem is that there is no token; 0 for other problems."""
    length = len(problem.message) - len(UNREADABLE) - 2
    return min(length, len(text) - problem.at) if problem.message.startswith(UNREADABLE) else 0
