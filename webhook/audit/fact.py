"""One fact: all that is known of a write but when it came, small, and equal for writes that say the same.

Reads our annotations (by the codec) and those that the API server writes itself. Bodies and user names do not get in
here, and messages only where they are asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from webhook import annotations as codec
from webhook.policy import Outcome

FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/"
VALIDATION_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
POD_SECURITY = "pod-security.kubernetes.io/"
GATEKEEPER = "validation.gatekeeper.sh/evaluation"
VALIDATION_FAILURES_MAX = 50
"""More failures of one request the API server (1.37) does not list."""


class Review(Struct, frozen=True, cache_hash=True):
    """What our webhook recorded of one write, without its texts."""

    set_digest: str
    evaluated: int
    violated: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """Policies whose verdict was an evaluation error: enforcement would deny as well."""
    exempted: tuple[str, ...] = ()
    not_comparable: tuple[str, ...] = ()
    unreviewed: tuple[str, ...] = ()
    """Policies that matched and gave no verdict: internal errors, and those that time did not suffice for."""
    incomplete: bool = False
    """Nothing was evaluated: too large, shed, undecodable; or the deadline came before the first policy."""
    standard: str = ""
    """Pod Security `<level>:<version>` that held."""
    snapshot: str = ""


class Native(Struct, frozen=True, cache_hash=True):
    """What the API server's own engines recorded of one write."""

    failed: tuple[str, ...] = ()
    """ValidatingAdmissionPolicies that failed, from `validation_failure`."""
    errors: tuple[str, ...] = ()
    """Those of them whose failure is an evaluation error."""
    listed: int = 0
    """Failures in the list. Up to 1.36 it is one, however many there were."""
    violates: str = ""
    """Pod Security: the standard of `audit-violations`, `<level>:<version>`."""
    enforced: str = ""
    """Pod Security: `enforce-policy`, which shows that it looked at this pod."""
    exempt: str = ""
    error: bool = False


NOTHING = Native()


class Fact(Struct, frozen=True):
    """Everything that is known of a write but when it came."""

    operation: str
    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    """Empty for what is cluster-scoped."""
    root: str
    trial: str
    name: str
    """Of deletes and of Namespaces only: whose history ends, or begins anew."""
    rank: int
    """`events.FINAL` of the stage."""
    rejected: bool
    dry_run: bool
    collection: bool
    by_controller: bool
    cut: bool
    failed_open: bool
    review: Review | None
    unreadable_review: bool
    native: Native


def weight(fact: Fact) -> int:
    """32 bits that tell which of several records of one write speaks for it: the largest. The stage that says most goes
    first, then what has annotations, then what tells the workload; the rest only makes the choice the same always.
    """
    said = fact.rank << 3 | (fact.review is not None) << 2 | (fact.native != NOTHING) << 1 | bool(fact.root)
    digest = hashlib.blake2b(msgspec.json.encode(fact), digest_size=4).digest()
    return said << 27 | int.from_bytes(digest, "little") >> 5


class Own(Struct, frozen=True):
    """What our webhook left on one event."""

    review: Review | None = None
    owner: str = ""
    """`Kind/name` of the object's controller."""
    dry_run: bool = False
    operation: str = ""
    failed_open: bool = False
    unreadable: bool = False
    """There is a review of ours that this version cannot read."""
    texts: Outcome | None = None
    """All that the review said, where texts are kept."""


class Ours(Struct, frozen=True):
    """Tells our webhook names from others': they and what ends in them, for there is one entry for each API version
    that needs its own."""

    names: tuple[str, ...]

    def __call__(self, name: str) -> bool:
        return name in self.names or name.endswith(tuple(f".{each}" for each in self.names))


class _Shape(Struct, frozen=True):
    """Which annotations an event has."""

    name: str
    """Of our webhook; empty where it reviewed nothing."""
    keys: tuple[str, ...]
    """Of its annotations."""
    failed_open: tuple[str, ...]
    """Of those that say whose call failed open."""


_FOREIGN = _Shape("", (), ())
"""Nothing of ours."""


class Annotations:
    """Reads events' annotations; the replicas of one template say the same, so what was read is remembered."""

    def __init__(self, is_ours: Callable[[str], bool], *, texts: bool = False) -> None:
        """`is_ours` tells our webhook names from others'. Messages are kept with `texts` only."""
        self._is_ours = is_ours
        self._texts = texts
        self._reviews: dict[tuple[object, ...], Own] = {}
        self._natives: dict[tuple[str, ...], Native] = {}
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        """Keys of an event's annotations → what they tell before their values do."""

    def own(self, notes: Mapping[str, str]) -> Own | None:
        """None when nothing on the event is ours."""
        names = tuple(notes)
        shape = self._shapes.get(names)
        if shape is None:
            _bound(self._shapes)
            shape = self._shapes[names] = self._shape(names)
        if shape is _FOREIGN:
            return None
        failed_open = bool(shape.failed_open) and any(self._is_ours(notes[key]) for key in shape.failed_open)
        if not shape.name:
            return Own(failed_open=True) if failed_open else None
        texts = (shape.keys, failed_open, *[notes[key] for key in shape.keys])
        found = self._reviews.get(texts)
        if found is None:
            _bound(self._reviews)
            found = self._reviews[texts] = _own(notes, shape.name, failed_open, self._texts)
        return found

    def _shape(self, names: tuple[str, ...]) -> _Shape:
        failed_open = tuple(key for key in names if key.startswith(FAILED_OPEN))
        name = ""
        for key in names:
            if key.endswith(_REVIEWED) and not key.startswith(FAILED_OPEN) and self._is_ours(key[: -len(_REVIEWED)]):
                name = key[: -len(_REVIEWED)]
        ours = {f"{name}/{each}" for each in codec.KEYS} if name else set()
        return _Shape(name, tuple(sorted(ours.intersection(names))), failed_open) if name or failed_open else _FOREIGN

    def native(self, notes: Mapping[str, str]) -> Native:
        if _NATIVE.isdisjoint(notes):
            return NOTHING
        texts = tuple([notes.get(key, "") for key in _NATIVE_KEYS])
        found = self._natives.get(texts)
        if found is None:
            _bound(self._natives)
            found = self._natives[texts] = _native(*texts)
        return found


_REVIEWED = "/" + codec.REVIEWED
_REMEMBERED = 50_000


def _bound(remembered: dict[Any, Any]) -> None:
    if len(remembered) >= _REMEMBERED:
        remembered.clear()


def _own(notes: Mapping[str, str], name: str, failed_open: bool, texts: bool) -> Own:
    try:
        reviewed = codec.decode(notes, name=name)
    except codec.UnreadableAnnotation:
        reviewed = None
    if reviewed is None:
        return Own(failed_open=failed_open, unreadable=True)
    outcome = reviewed.outcome
    return Own(
        review=Review(
            set_digest=outcome.set_digest,
            evaluated=outcome.evaluated,
            violated=_ids(each.policy for each in outcome.findings if not each.error),
            errors=_ids(each.policy for each in outcome.findings if each.error),
            exempted=_ids(each.policy for each in outcome.exempted),
            not_comparable=_ids(policy for policy, _ in outcome.not_comparable),
            unreviewed=_ids([*(policy for policy, _ in outcome.internal_errors), *outcome.skipped]),
            incomplete=bool(outcome.incomplete) and not outcome.skipped,
            standard=dict(outcome.notes).get("pss", "").partition("/")[0],
            snapshot=outcome.snapshot,
        ),
        owner=outcome.owner,
        dry_run=reviewed.dry_run,
        operation=reviewed.operation,
        failed_open=failed_open,
        texts=outcome if texts else None,
    )


def _ids(policies: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(policies)))


class Failure(Struct):
    """One failure of a ValidatingAdmissionPolicy."""

    policy: str = ""
    message: str = ""


failures = msgspec.json.Decoder(list[Failure])
"""Decodes `validation_failure`. Raises `msgspec.DecodeError`."""
_NATIVE_KEYS = (
    VALIDATION_FAILURE,
    POD_SECURITY + "audit-violations",
    POD_SECURITY + "enforce-policy",
    POD_SECURITY + "exempt",
    POD_SECURITY + "error",
)
_NATIVE = frozenset(_NATIVE_KEYS)
STANDARD = re.compile(r'would violate PodSecurity "([a-z]+:(?:latest|v1\.\d+))": ')
"""How `audit-violations` begins: `<level>:<version>`, then what violates it."""
_LEVEL = re.compile(r"[a-z]+:(?:latest|v1\.\d+)")
_EVALUATION_ERROR = re.compile(r"(?s)expression '.*' resulted in error: ")


def _native(failure: str, violations: str, enforced: str, exempt: str, error: str) -> Native:
    listed: Sequence[Failure] = ()
    broken = bool(error)
    if failure:
        try:
            listed = failures.decode(failure)
        except msgspec.DecodeError:
            broken = True
    standard = STANDARD.match(violations)
    return Native(
        failed=_ids(each.policy for each in listed),
        errors=_ids(each.policy for each in listed if _EVALUATION_ERROR.match(each.message)),
        listed=len(listed),
        violates=standard[1] if standard else "",
        enforced=enforced if _LEVEL.fullmatch(enforced) else "",
        exempt=exempt,
        error=broken or (bool(violations) and standard is None),
    )
