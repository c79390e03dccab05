"""Regular expressions: always RE2, whose time is linear in the text, and whose dialect is Go's."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import re2  # type: ignore[import-untyped]

from webhook.cel.error import CelError
from webhook.errors import DeadlineExceeded

_LONGEST_ECHO = 100
_MEMORY = 16 << 20
_LIMIT = 1_000_000
"""Units that one expression may cost; a match costs a tenth of the text times a quarter of the pattern."""
_WORK = 20_000_000
"""Characters times instructions that RE2 may have to look at: some tenths of a second at worst."""
_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
"""Go has no `\\C`."""


class Table(dict[str, bool]):
    """What one pattern said of short texts; it is asked about those that are not there."""

    __slots__ = ("__weakref__", "_ask", "_note")

    def __init__(self, ask: Callable[[str], bool], note: Callable[[Table, str, bool], None]) -> None:
        self._ask = ask
        self._note = note

    def __missing__(self, subject: str) -> bool:
        answer = self._ask(subject)
        if len(subject) <= _SHORT:
            self._note(self, subject, answer)
        return answer


class Answers:
    """What patterns said of short texts: images, quantities and names come again and again, and a look-up takes a
    twentieth of a match. One bound for all patterns together, for their number is the users' choice."""

    def __init__(self, room: int) -> None:
        self._room = self._left = room
        self._tables: weakref.WeakValueDictionary[int, Table] = weakref.WeakValueDictionary()

    def table(self, ask: Callable[[str], bool]) -> Table:
        """An empty table for one pattern; it lives as long as the pattern."""
        made = Table(ask, self.note)
        self._tables[id(made)] = made
        return made

    def note(self, table: Table, text: str, answer: bool) -> None:
        self._left -= 1
        if self._left < 0:
            for each in list(self._tables.values()):
                each.clear()
            self._left = self._room
        table[text] = answer


_SHORT = 128
"""Code points of a text whose answer is worth keeping."""
_answers = Answers(room=16_384)


class Pattern:
    """A compiled pattern. `search` is the hot call: it looks up an answer in C, and else asks a one-pattern set on
    bytes, which is nine times faster than RE2's own search."""

    __slots__ = ("_regexp", "longest", "search", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        if _ANY_BYTE.search(text):
            raise CelError("error parsing regexp: invalid escape sequence: `\\C`")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        try:
            self._regexp = re2.compile(text, options=options)
            found = re2.Set.SearchSet(options)
            found.Add(text)
            found.Compile()
        except re2.error as error:
            raise CelError(_go_text(error.args[0], text)) from None
        # The wrapper's own method only encodes and turns an empty list into None.
        match = getattr(getattr(found, "_set", None), "Match", found.Match)
        # RE2's time is linear in the text, and in the pattern: a factor that somebody else may have chosen.
        charged = 10 * _LIMIT // -(-len(text) // 4) if text else _WORK
        self.longest = min(charged, _WORK // max(self._regexp.programsize, 1))
        self.search: Callable[[str], bool] = _answers.table(partial(_search, match, text, self.longest)).__getitem__

    def find(self, subject: str) -> str:
        if len(subject) > self.longest:
            raise _too_long(self.text, len(subject))
        match = self._regexp.search(subject)
        return match.group() if match else ""

    def find_all(self, subject: str, limit: int) -> list[str]:
        """Non-overlapping matches by Go's rule: an empty match directly behind another match does not count."""
        if len(subject) > self.longest:
            raise _too_long(self.text, len(subject))
        found: list[str] = []
        at, behind = 0, -1
        while at <= len(subject) and (limit < 0 or len(found) < limit):
            match = self._regexp.search(subject, at)
            if match is None:
                break
            start, end = match.span()
            if end > start or start != behind:
                found.append(match.group())
            behind = end
            at = end if end > start else end + 1
        return found


def _search(match: Callable[[bytes], object], pattern: str, longest: int, subject: str) -> bool:
    if len(subject) > longest:
        raise _too_long(pattern, len(subject))
    try:
        return bool(match(subject.encode()))
    except UnicodeEncodeError:
        return bool(match(subject.encode("utf-8", "replace")))


def _too_long(pattern: str, length: int) -> Exception:
    """What the server says where its limit of cost would end the expression; else that our time would not do."""
    if -(-(1 + length) // 10) * -(-len(pattern) // 4) > _LIMIT:
        return CelError("operation cancelled: actual cost limit exceeded")
    return DeadlineExceeded("a regular expression on a long text")


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """Raises `CelError` with Go's text for a pattern that RE2 refuses."""
    return Pattern(text)


def pattern_of(value: Any) -> Pattern:
    """A pattern argument: prepared at load when it was a constant."""
    return value if value.__class__ is Pattern else compile_pattern(value)


_TEXTS = (
    (r"missing \): (.*)", "missing closing ): `{}`"),
    (r"missing \]: (.*)", "missing closing ]: `{}`"),
    (r"unexpected \): (.*)", "unexpected ): `{}`"),
    (r"bad repetition operator: (.*)", "invalid nested repetition operator: `{}`"),
    (r"no argument for repetition operator: (.*)", "missing argument to repetition operator: `{}`"),
    (r"invalid repetition size: (.*)", "invalid repeat count: `{}`"),
    (r"invalid character class range: (.*)", "invalid character class range: `{}`"),
    (r"invalid escape sequence: (.*)", "invalid escape sequence: `{}`"),
    (r"trailing \\.*", "trailing backslash at end of expression: ``"),
    (r"invalid perl operator: (.*)", "invalid or unsupported Perl syntax: `{}`"),
    (r"invalid named capture group: (.*)", "invalid named capture: `{}`"),
)
_REPEATS = 1_000
_REPEATED = re.compile(
    r"^(?:bad repetition operator|invalid repetition size): .*?(\{([0-9]+)(?:,([0-9]*))?\})\??$", re.DOTALL
)
_LOOKING_BEHIND = re.compile(r"invalid perl operator: (\(\?<[=!])")


def _go_text(told: bytes | str, pattern: str) -> str:
    """Go's text for what RE2 has told of a pattern."""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    if behind := _LOOKING_BEHIND.fullmatch(text):
        # To Go this begins a group with a name, which ends where the next `>` is.
        rest = pattern[pattern.index(behind[1]) :]
        text = f"invalid named capture group: {rest[: rest.find('>') + 1] or rest}"
    if repeated := _REPEATED.search(text):
        least, most = int(repeated[2]), int(repeated[3] or repeated[2])
        if least > _REPEATS or most > _REPEATS or least > most:
            # Go looks at the numbers first, and shows nothing else.
            text = f"invalid repetition size: {repeated[1]}"
    for shape, go in _TEXTS:
        match = re.fullmatch(shape, text, re.DOTALL)
        if match:
            return "error parsing regexp: " + go.format(*(group[:_LONGEST_ECHO] for group in match.groups()))
    return f"error parsing regexp: {text}"
