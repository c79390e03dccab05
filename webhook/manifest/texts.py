"""What evaluations of a policy say: failures, messages, audit annotations, in the API server's words.

Knows nothing of how an expression is evaluated.

Source: `apiserver pkg/admission/plugin/policy/validating/validator.go`, `pkg/admission/plugin/cel/condition.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from webhook.manifest.fields import Validation
from webhook.manifest.names import trim

_MESSAGE_BYTES = 5_120
_ANNOTATION_BYTES = 10_240


class Failure(Struct, frozen=True):
    """A validation, match condition or audit annotation that enforcement would deny with `message`."""

    message: str
    index: int = 0
    error: bool = False


def failed(expression: str, error: str) -> str:
    """The text of an evaluation error."""
    return f"expression '{expression}' resulted in error: {error}"


def aggregated(errors: Sequence[str]) -> str:
    """Several different errors as one."""
    return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"


def static_message(validation: Validation) -> str:
    """What a failure says without a message expression."""
    return trim(validation.message) if validation.message else f"failed expression: {trim(validation.expression)}"


def message_of(value: Any, static: str) -> str:
    """What a message expression came to, if the API server would use it, else the fixed text."""
    if not isinstance(value, str):
        return static
    text = trim(value)
    fits = len(text) * 4 <= _MESSAGE_BYTES or len(text.encode()) <= _MESSAGE_BYTES
    return text if text and "\n" not in text and fits else static


def add_annotation(annotations: dict[str, list[str]], key: str, value: Any) -> None:
    """Adds a value to those of an audit annotation; null, blank text and repetition add nothing."""
    if isinstance(value, str) and (text := _cut(trim(value))):
        values = annotations.setdefault(key, [])
        if text not in values:
            values.append(text)


def _cut(text: str) -> str:
    """At most as many bytes as an audit annotation may have; a character that is cut apart becomes U+FFFD bytewise."""
    if len(text) * 4 <= _ANNOTATION_BYTES:
        return text
    cut = text.encode()[:_ANNOTATION_BYTES]
    whole = cut.decode(errors="ignore")
    return whole + "\ufffd" * (len(cut) - len(whole.encode()))
