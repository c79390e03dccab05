"""JSON as the sub-verbs of `policies` print it."""

from __future__ import annotations

from typing import Any

import msgspec

from webhook.errors import Problem


def as_json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem without what is unknown of it."""
    return {key: value for key, value in msgspec.structs.asdict(problem).items() if value not in ("", 0)}
