"""Files → documents: YAML with several documents, JSON, JSON Lines; recognised by content, not by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from webhook import yamlfile
from webhook.errors import InvalidInput, Problem


def documents(data: bytes, *, name: str) -> Iterator[tuple[str, Any]]:
    """(where, value) of each document of a file. `where` is `name:line`, for messages.

    Raises `InvalidInput` with the line of what cannot be read. Empty documents are skipped.
    """
    if data.lstrip()[:1] in (b"{", b"["):
        yield from _json(data, name)
        return
    file = yamlfile.parse(data, name=name)
    if file.problems:
        raise InvalidInput(file.problems)
    for document in file.documents:
        if document.value is not None:
            yield f"{name}:{document.line}", document.value


def _json(data: bytes, name: str) -> Iterator[tuple[str, Any]]:
    try:
        yield f"{name}:1", msgspec.json.decode(data)
        return
    except (msgspec.DecodeError, RecursionError) as error:
        whole = error
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    for number, line in lines:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            # A file whose first line is no document was meant as one: then its own error says more.
            reason = whole if number == lines[0][0] else error
            raise InvalidInput(
                [Problem(file=name, line=number, message=f"neither JSON nor JSON Lines: {reason}")]
            ) from None
        yield f"{name}:{number}", value
