"""What the fuzzer starts from: the expressions of the shipped policies, the inputs that were found before, and the
words of the language."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from webhook.cel.library import FUNCTIONS
from webhook.cel.parser import RESERVED
from webhook.load import gather, shipped

INPUTS = Path(__file__).parent / "inputs"
"""Inputs that broke something once, or that only a fuzzer writes; replayed by `make test`."""

FOUND = Path(__file__).parent / "found.txt"
"""Short inputs that reached something new when they were found, one a line in Base64: a sample of a fuzzer's corpus."""

_MACROS = ("all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap")
_MORE = ("transformMapEntry", "sortBy", "optMap", "optFlatMap", "cel.bind", "has", "optional.of", "optional.none()")
_NAMES = (
    "object",
    "oldObject",
    "params",
    "request",
    "namespaceObject",
    "variables.a",
    "authorizer",
    ".?",
    "[?0]",
    "{?",
)
_OPERATORS = (
    "&&",
    "||",
    "==",
    "!=",
    "<=",
    ">=",
    " in ",
    "? :",
    "0x",
    "1u",
    "1e9",
    "'''",
    '"""',
    "r'",
    "b'",
    "\\u",
    "//",
)


def expressions() -> Iterator[str]:
    """Every expression of the shipped policies."""
    for spec in gather(shipped()).policies.values():
        yield from (each.expression for each in (*spec.conditions, *spec.variables))
        yield from (each.expression for each in spec.validations)
        yield from (each.expression for each in spec.audit_annotations)
        yield from (each.message_expression for each in spec.validations if each.message_expression)


def found() -> list[bytes]:
    return [base64.b64decode(line) for line in FOUND.read_text(encoding="ascii").split()]


def words() -> list[str]:
    """A dictionary for the fuzzer."""
    functions = [name for name in FUNCTIONS if name[0] not in "@_!-"]
    return sorted({*functions, *RESERVED, *_MACROS, *_MORE, *_NAMES, *_OPERATORS})


def vectors(folder: Path) -> Iterator[str]:
    """Every expression of the conformance fixtures below a folder: none where it is absent."""
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = json.loads(line).get("expr")
            if isinstance(text, str):
                yield text
