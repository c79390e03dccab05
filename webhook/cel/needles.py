"""What a text must hold for a test of it to come out true: where none of many texts holds it, none need be looked at.

Texts are searched all at once, each between two NULs (`places.joined`). A needle that is found proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from webhook.cel.check import Checked
from webhook.cel.error import CelError
from webhook.cel.facts import Facts, operands
from webhook.cel.patterns import compile_pattern
from webhook.cel.shapes import NOT, is_quantifier, is_variable, prefix_of
from webhook.cel.tree import Call, Fold, Node

SEPARATOR: Final = "\0"
_MOST: Final = 4
"""Needles: a search for each takes as long as a look at a few texts."""
_WRITTEN: Final = {
    "startswith": SEPARATOR + "{}",
    "endswith": "{}" + SEPARATOR,
    "contains": "{}",
    "_==_": SEPARATOR + "{}" + SEPARATOR,
}
"""By function, in small letters as `prefix_of` has it: how a text of which that is true is written among others."""


def needles_of(checked: Checked, facts: dict[int, Facts], test: Node, variable: str, want: bool) -> tuple[str, ...]:
    """Needles of which a text holds at least one if `test` of it, as `variable`, is not `want`. Empty: nobody knows."""
    while isinstance(test, Call) and test.function == NOT:
        test, want = operands(test, checked)[0], not want
    if isinstance(test, Fold) and is_quantifier(test):
        prefix = prefix_of(checked, facts, test)
        if prefix is None or want == (test.macro == "exists") or not is_variable(prefix[1], variable):
            return ()
        return _written(prefix[0], prefix[2])
    if want or not isinstance(test, Call) or test.id in checked.typed or len(operands(test, checked)) != 2:
        return ()
    subject, other = operands(test, checked)
    if test.function == "_==_" and is_variable(other, variable):
        subject, other = other, subject
    constant = facts[other.id].constant
    if not is_variable(subject, variable):
        return ()
    if test.function == "@in":
        return _written("_==_", constant) if constant.__class__ is list else ()
    if constant.__class__ is not str:
        return ()
    if test.function == "matches":
        needle = literal_of(constant)
        return (needle,) if needle else ()
    return _written(test.function.lower(), (constant,))


def _written(function: str, texts: Sequence[Any]) -> tuple[str, ...]:
    written = _WRITTEN.get(function)
    if written is None or len(texts) > _MOST or not all(text.__class__ is str and text for text in texts):
        return ()
    return tuple([written.replace("{}", text) for text in texts])


def literal_of(pattern: str) -> str:
    """The longest text that stands in all that the pattern matches, as far as that is plain to see; else empty."""
    try:
        compile_pattern(pattern)
    except CelError:
        return ""
    found, run, depth = "", "", 0
    for part in _PARTS.finditer(pattern):
        kind = part.lastgroup
        if kind == "other" or (kind == "either" and not depth):
            return ""
        if kind == "literal" and not depth:
            run += part["literal"][-1]
            continue
        if kind == "maybe":
            run = run[:-1]
        depth += {"open": 1, "close": -1}.get(kind or "", 0)
        found, run = max(found, run, key=len), ""
    return max(found, run, key=len)


_PARTS: Final = re.compile(
    r"""(?P<literal> [^\\()\[\]{}|*+?.^$] | \\[^0-9A-Za-z?] )  # a lone surrogate is read as `?`
    | (?P<class> \[ \^? [^\\\[\]^]+ \] | \\[dDsSwWbBAz] | [.^$] )
    | (?P<open> \( (?: \?: )? (?!\?) )
    | (?P<close> \) )
    | (?P<either> \| )
    | (?P<maybe> [*?] | \{ [0-9]+ (?: , [0-9]* )? \} )
    | (?P<more> \+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
"""What of RE2's syntax is read; whatever else there is, is `other`."""
