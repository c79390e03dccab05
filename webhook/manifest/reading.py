"""Reading the fields of one document, with a problem for each that is not what it should be.

A null counts as absent, as everywhere in the Kubernetes API. Knows no field by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from webhook.errors import Problem
from webhook.manifest.names import trim
from webhook.yamlfile import Document, Steps

_NONE: Mapping[str, Any] = {}


class Reader:
    """Collects the problems of one document."""

    def __init__(self, document: Document, *, policy: str = "") -> None:
        self.document = document
        self._policy = policy
        self._problems: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems)

    def report(self, steps: Steps, message: str) -> None:
        self._problems.append(self.document.problem(steps, message, policy=self._policy))

    def known(self, value: Mapping[str, Any], steps: Steps, *fields: str) -> None:
        """Reports every field that is none of `fields`."""
        for key in value:
            if key not in fields:
                near = next((field for field in fields if field.lower() == key.lower()), "")
                hint = f"did you mean {near}?" if near else f"expected one of {', '.join(fields)}"
                self.report((*steps, key), f"unknown field: {hint}")

    def object(
        self, value: Mapping[str, Any], steps: Steps, key: str, *, required: bool = False
    ) -> Mapping[str, Any] | None:
        found = value.get(key)
        if isinstance(found, dict):
            return found
        if found is not None:
            self._wrong((*steps, key), "a map", found)
        elif required:
            self._missing(steps, key)
        return None

    def is_object(self, value: Any, steps: Steps) -> bool:
        if isinstance(value, dict):
            return True
        self._wrong(steps, "a map", value)
        return False

    def items(self, value: Mapping[str, Any], steps: Steps, key: str) -> Sequence[Any]:
        found = value.get(key)
        if isinstance(found, list):
            return found
        if found is not None:
            self._once((*steps, key), "a list", found)
        return ()

    def text(self, value: Mapping[str, Any], steps: Steps, key: str, *, required: bool = False) -> str:
        found = value.get(key)
        if isinstance(found, str):
            if required and not found:
                self._missing(steps, key)
            return found
        if found is not None:
            self._wrong((*steps, key), "text", found)
        elif required:
            self._missing(steps, key)
        return ""

    def expression(self, value: Mapping[str, Any], steps: Steps, key: str) -> str:
        """A CEL expression, which must not be blank; blank in the answer only after a problem."""
        found = value.get(key)
        if isinstance(found, bool):
            self.report((*steps, key), "expected a CEL expression as text: put it in quotes")
            return ""
        text = self.text(value, steps, key)
        if not trim(text) and (found is None or isinstance(found, str)):
            self.report((*steps, key), "expected a CEL expression")
        return text

    def choice(
        self, value: Mapping[str, Any], steps: Steps, key: str, allowed: Sequence[str], *, required: bool = False
    ) -> str:
        found = self.text(value, steps, key, required=required)
        if found not in allowed and (found or (not required and value.get(key) == "")):
            self.report((*steps, key), f"expected one of {', '.join(allowed)}, found {found!r}")
            return ""
        return found

    def texts(self, value: Mapping[str, Any], steps: Steps, key: str) -> tuple[str, ...]:
        """A list of text."""
        found: list[str] = []
        for index, item in enumerate(self.items(value, steps, key)):
            if isinstance(item, str):
                found.append(item)
            else:
                self._wrong((*steps, key, index), "text", item)
        return tuple(found)

    def strings(self, value: Mapping[str, Any], steps: Steps, key: str) -> Mapping[str, str]:
        """A map of text to text."""
        found = self.object(value, steps, key) or _NONE
        for name, each in found.items():
            if not isinstance(each, str):
                self._wrong((*steps, key, name), "text", each)
        return {name: each for name, each in found.items() if isinstance(each, str)}

    def _missing(self, steps: Steps, key: str) -> None:
        self.report((*steps, key), "missing: the API server requires it")

    def _wrong(self, steps: Steps, expected: str, found: Any) -> None:
        quote = " (put it in quotes)" if expected == "text" and not isinstance(found, (dict, list)) else ""
        self.report(steps, f"expected {expected}, found {_kind(found)}{quote}")

    def _once(self, steps: Steps, expected: str, found: Any) -> None:
        before = len(self._problems)
        self._wrong(steps, expected, found)
        if self._problems[-1] in self._problems[:before]:
            self._problems.pop()


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a map"
