"""The codec between an `Outcome` and the audit annotations that prove it.

The serving side encodes, the audit side decodes; a round-trip test guards the pair. Values are
deterministic (on retries the first annotation wins), hold no ids, times or generated names, and
stay under `VALUES_BYTES` together: messages are cut, ids never.

Format. `reviewed` is on every review: space-separated `key=value` tokens, percent-escaped. The others are
lines of `|`-separated, percent-escaped fields, the free text last. Neither quotes nor `<>&` are used by the
format itself, for the audit log is JSON that spends up to six bytes on each.

Source: `apiserver pkg/admission/attributes.go` (keys), `pkg/audit/context.go` (first write wins).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from webhook.errors import WouldblockError
from webhook.policy import Exempted, Finding, Outcome, Severity
from webhook.remembered import Remembered

WEBHOOK_NAME = "check.wouldblock.dev"
"""`webhooks[].name` of the plain entry: the prefix of its annotations and its metric label. Stable for ever."""

FORMAT = "1"
VALUES_BYTES = 8_192
"""Budget of all values together: an event above 100 KiB is dropped whole when truncation is on."""

REVIEWED = "reviewed"
VIOLATIONS = "violations"
EXEMPTED = "exempted"
POLICY_ERRORS = "policy_errors"
INTERNAL_ERRORS = "internal_errors"
NOT_COMPARABLE = "not_comparable"
INCOMPLETE = "incomplete"
VALUES = "values"
KEYS = (
    REVIEWED,
    VIOLATIONS,
    EXEMPTED,
    POLICY_ERRORS,
    INTERNAL_ERRORS,
    NOT_COMPARABLE,
    INCOMPLETE,
    VALUES,
)

_MESSAGE_LIMITS = (5_120, 1_024, 512, 256, 128, 64, 24, 0)
"""Code points a message may keep, tried in this order until all fits."""


class UnreadableAnnotation(WouldblockError):
    """An annotation under our name that this version cannot read: forged, cut, or of a later format."""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """What the annotations of one review say: an `Outcome` as it survives the audit log."""

    operation: str
    dry_run: bool
    outcome: Outcome


def encode(outcome: Outcome, *, operation: str, dry_run: bool) -> dict[str, str]:
    """The annotations of one review, `reviewed` always among them. Raises nothing."""
    tokens = [
        ("set", outcome.set_digest),
        ("ran", f"{outcome.evaluated:x}"),
        ("op", operation),
        ("dry", "1" if dry_run else ""),
        ("owner", outcome.owner),
        ("snap", outcome.snapshot),
        *outcome.notes,
    ]
    reviewed = "v=" + FORMAT
    for key, value in tokens:
        if value:
            reviewed += f" {key}={value if value.isalnum() else _escape(value)}"
    values = {REVIEWED: reviewed}
    if outcome.exempted:
        values[EXEMPTED] = _lines(
            [(each.policy, each.binding, str(each.index), each.exemption) for each in outcome.exempted]
        )
    if outcome.internal_errors:
        values[INTERNAL_ERRORS] = _lines(outcome.internal_errors)
    if outcome.not_comparable:
        values[NOT_COMPARABLE] = _lines(outcome.not_comparable)
    if outcome.incomplete:
        values[INCOMPLETE] = _lines([(outcome.incomplete, *outcome.skipped)])
    if outcome.findings or outcome.annotations:
        _add_texts(values, outcome)
    return values


def decode(annotations: Mapping[str, str], *, name: str = WEBHOOK_NAME) -> Reviewed | None:
    """What the webhook `name` recorded on an audit event; None when it recorded nothing.

    `annotations` are the event's, with their prefixes. Raises `UnreadableAnnotation`.
    """
    reviewed = annotations.get(f"{name}/{REVIEWED}")
    if reviewed is None:
        return None
    try:
        return _decode(reviewed, lambda key: annotations.get(f"{name}/{key}", ""))
    except (ValueError, IndexError, KeyError) as error:
        raise UnreadableAnnotation(f"{name}/{REVIEWED}: {error}") from None


def _decode(reviewed: str, value: Callable[[str], str]) -> Reviewed:
    pairs = [token.split("=", 1) for token in reviewed.split(" ")]
    tokens = {key: _unescape(text) for key, text in pairs}
    if tokens.pop("v") != FORMAT:
        raise ValueError("not of format " + FORMAT)
    operation = tokens.pop("op", "")
    dry_run = tokens.pop("dry", "") == "1"
    incomplete = _fields(value(INCOMPLETE))
    outcome = Outcome(
        set_digest=tokens.pop("set", ""),
        evaluated=int(tokens.pop("ran", "0"), 16),
        owner=tokens.pop("owner", ""),
        snapshot=tokens.pop("snap", ""),
        notes=tuple(tokens.items()),
        findings=_findings(value(VIOLATIONS), error=False) + _findings(value(POLICY_ERRORS), error=True),
        exempted=tuple(
            Exempted(policy=policy, binding=binding, index=int(index), exemption=exemption)
            for policy, binding, index, exemption in _fields(value(EXEMPTED))
        ),
        internal_errors=tuple((policy, what) for policy, what in _fields(value(INTERNAL_ERRORS))),
        not_comparable=tuple((policy, why) for policy, why in _fields(value(NOT_COMPARABLE))),
        incomplete=incomplete[0][0] if incomplete else "",
        skipped=tuple(incomplete[0][1:]) if incomplete else (),
        annotations=tuple((policy, key, text) for policy, key, text in _fields(value(VALUES))),
    )
    return Reviewed(operation=operation, dry_run=dry_run, outcome=outcome)


def _add_texts(values: dict[str, str], outcome: Outcome) -> None:
    """The values that hold free text, with the longest messages that keep the whole within its budget."""
    spent = sum(map(len, values.values()))
    for limit in _MESSAGE_LIMITS:
        texts = _texts(outcome, limit)
        if spent + sum(map(len, map(str.encode, texts.values()))) <= VALUES_BYTES:
            break
    values.update(texts)


def _texts(outcome: Outcome, limit: int) -> Mapping[str, str]:
    """`limit` code points of a message, at most."""
    texts = _told[limit](outcome.findings)
    if outcome.annotations:
        texts = {**texts, VALUES: _lines([(name, key, clip(value, limit)) for name, key, value in outcome.annotations])}
    return texts


def _told_of(limit: int, findings: Sequence[Finding]) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    known = _remembered[limit]
    lines = [known.get(each) or _line(each, limit) for each in findings if not each.error]
    if lines:
        texts[VIOLATIONS] = "\n".join(lines)
    if len(lines) < len(findings):
        errors = [known.get(each) or _line(each, limit) for each in findings if each.error]
        texts[POLICY_ERRORS] = "\n".join(errors)
    return texts


_told = {limit: Remembered(partial(_told_of, limit)).of for limit in _MESSAGE_LIMITS}
"""Limit of a message → findings → the values that hold them."""
_remembered: dict[int, dict[Finding, str]] = {limit: {} for limit in _MESSAGE_LIMITS}
"""Limit of a message → finding → its line. Most policies say the same of all that violate them."""
_LINES = 512
_LINE_BYTES = 512


def _line(finding: Finding, limit: int) -> str:
    line = _lines(
        [
            (
                finding.policy,
                finding.binding,
                str(finding.index),
                finding.severity,
                "p" if finding.pre_existing else "",
                ",".join(finding.keys),
                clip(finding.message, limit),
            )
        ]
    )
    if len(line) <= _LINE_BYTES:
        known = _remembered[limit]
        if len(known) >= _LINES:
            known.clear()
        known[finding] = line
    return line


def _findings(value: str, *, error: bool) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            policy=policy,
            binding=binding,
            index=int(index),
            severity=Severity(severity),
            pre_existing="p" in flags,
            keys=tuple(filter(None, keys.split(","))),
            message=message,
            error=error,
        )
        for policy, binding, index, severity, flags, keys, message in _fields(value)
    )


def clip(text: str, runes: int) -> str:
    """At most `runes` code points of `text`; a cut is marked with `…`."""
    if len(text) <= runes:
        return text
    return text[: runes - 1] + "…" if runes else ""


_UNSAFE = re.compile(r"[%|=\s\x00-\x1f\x7f]")
_UNSAFE_TEXT = re.compile(r"[%|\x00-\x1f\x7f]")
"""Free text keeps its spaces and equals signs: they separate nothing in a line."""


def _escape(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    return unsafe.sub(_percent, text) if unsafe.search(text) else text


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    raw = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8")


def _lines(rows: Sequence[Sequence[str]]) -> str:
    lines = ["|".join(row) for row in rows]
    whole = "".join(lines)
    if whole.isprintable() and "%" not in whole and whole.count("|") == sum([len(row) - 1 for row in rows]):
        return "\n".join(lines)  # nothing is to be escaped, as in most
    return "\n".join(["|".join([_escape(field, _UNSAFE_TEXT) for field in row]) for row in rows])


def _fields(value: str) -> list[list[str]]:
    return [[_unescape(field) for field in line.split("|")] for line in value.split("\n")] if value else []
