"""From what evaluation found to the review that the API server reads.

Knows: Kubernetes' limits on warnings, how a finding reads in one line. Must not know: HTTP, settings, clocks,
metrics; the format of the annotations is `annotations.py`'s. Whatever comes in, `allowed` is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import attrgetter

from msgspec import UNSET

from webhook.annotations import clip
from webhook.annotations import encode as annotate
from webhook.policy import Finding, Outcome
from webhook.remembered import Remembered
from webhook.review import Request, Response, ReviewResponse, encode

LINE_RUNES = 120
"""Of one policy's line (guidance in `k8s.io/api/admission/v1`)."""
LINES_MAX = 5
"""Lines of findings; one more says how many were left out."""
WARNINGS_RUNES = 1_024
"""Of all lines: our share of the 4,096 that a request has, beyond which the API server cuts everybody's warnings
to 256 (`apiserver pkg/endpoints/filters/warning.go`)."""

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: the API server drops the whole warning, without a log line
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, bidirectional
    "\U000e0000-\U000e007f]"  # tag characters
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def respond(request: Request, outcome: Outcome, *, warn: bool = True) -> bytes:
    """The whole body of the answer. Raises nothing for any outcome that evaluation can produce.

    Equal requests and outcomes give equal bytes: on retries the first annotation value wins. `warn` is the
    operator's switch; machines are never warned (`writes_by_hand`).
    """
    told = warn and outcome.findings and writes_by_hand(request, outcome)
    response = Response(
        uid=request.uid,
        allowed=True,
        warnings=(told and warnings_for(outcome.findings, _subject(request))) or UNSET,
        audit_annotations=annotate(outcome, operation=request.operation, dry_run=bool(request.dry_run)),
    )
    return encode(ReviewResponse(response=response))


def admit(uid: str, outcome: Outcome | None = None) -> bytes:
    """The answer when nothing else worked, and when load is shed: uid and true. Touches no policy code."""
    if outcome is None:
        return encode(ReviewResponse(response=Response(uid=uid, allowed=True)))
    values = annotate(outcome, operation="", dry_run=False)
    return encode(ReviewResponse(response=Response(uid=uid, allowed=True, audit_annotations=values)))


def writes_by_hand(request: Request, outcome: Outcome) -> bool:
    """Whether a person may read the warning: not for service accounts, nodes and control-plane users, nor for
    objects that a controller owns."""
    user = request.user_info.username
    return not outcome.owner and not user.startswith(("system:serviceaccount:", "system:node:", "system:kube-"))


_RANK, _POLICY = attrgetter("severity.rank"), attrgetter("policy")


def warnings_for(findings: Iterable[Finding], subject: str) -> list[str]:
    """The lines that `kubectl` prints, most severe first, each once, within all limits."""
    return _fit(_in_order(tuple(findings)), subject)


def _ordered(findings: tuple[Finding, ...]) -> Sequence[Finding]:
    """Who is told of, most severe first, each once."""
    told = [each for each in findings if each.warn]
    told.sort(key=_POLICY)  # which they mostly are already
    told.sort(key=_RANK)
    return list({(each.policy, each.message): each for each in told}.values())


_in_order = Remembered(_ordered).of


def _subject(request: Request) -> str:
    """Kind and name: kubectl prints equal texts once a run, so a line names what it is about."""
    return f"{request.kind.kind}/{request.name}" if request.name else request.kind.kind


def _line(finding: Finding, subject: str) -> str:
    if finding.verbatim:
        return clean(finding.message)
    tail = f" [{finding.policy}]"
    head = clean(f"{subject}: {finding.message}")
    return clip(head, max(LINE_RUNES - len(tail), 20)) + tail


def clean(text: str) -> str:
    """`text` without what makes a warning vanish or lie: control, invisible and bidirectional characters, and the
    `=?` that clients decode as an RFC 2047 word."""
    if text.isascii() and text.isprintable():  # most are: two searches less
        return text.replace("=?", "= ?")
    return _SURROGATE.sub("\ufffd", _UNSAFE.sub(" ", text)).replace("=?", "= ?")


def _fit(findings: Sequence[Finding], subject: str) -> list[str]:
    """The first lines that both budgets allow, then how many findings there are beyond them. A long line (Pod
    Security's) is cut to what is left rather than dropped while a whole line's worth is left."""
    kept: list[str] = []
    left = WARNINGS_RUNES
    for beyond, finding in zip(range(len(findings), 0, -1), findings, strict=True):
        line = _line(finding, subject)
        if line in kept:  # what differs was cut off
            continue
        room = left - (len(_more(beyond)) if beyond > 1 else 0)
        if len(kept) == LINES_MAX or (len(line) > room and room < LINE_RUNES):
            return [*kept, _more(beyond)]
        kept.append(clip(line, room))
        left -= len(kept[-1])
    return kept


def _more(count: int) -> str:
    return f"wouldblock: {count} more finding{'s' if count != 1 else ''}, see the audit annotation"
