"""The frozen vocabulary: what a policy is, what it is given, what it says.

A `Policy` is one entry of a `policyset.PolicySet`. Whether CEL or Python decides is hidden behind
`Policy.run`. Nothing here knows files, HTTP, settings, or how a finding is shown.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from webhook import review
from webhook.errors import DeadlineExceeded
from webhook.state import State
from webhook.sweep import Crowd
from webhook.view import WHOLE, View

T = TypeVar("T")


class Severity(enum.StrEnum):
    """How much a finding matters; declared from most to least."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    rank: int
    """0 for critical, rising: sorts the most severe first."""

    def __init__(self, _text: str) -> None:
        self.rank = len(type(self).__members__)  # of those declared before


class Metadata(Struct, frozen=True, kw_only=True):
    """What people are told about a policy: the `wouldblock.dev/…` annotations of its manifest."""

    title: str
    severity: Severity = Severity.MEDIUM
    pack: str = "custom"
    remediation: str = ""
    references: tuple[str, ...] = ()
    ticket: str = ""
    default: Literal["on", "audit", "off"] = "on"
    """`on`: warned and recorded; `audit`: recorded; `off`: not loaded unless it is asked for."""


class Requirement(Struct, frozen=True):
    """One term of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


Selector = tuple[Requirement, ...]
"""A label selector, `matchLabels` spelt as `In` terms; empty matches everything."""


class Rule(Struct, frozen=True, kw_only=True):
    """One of `resourceRules` or `excludeResourceRules`; `*` alone in a list matches all."""

    operations: tuple[str, ...]
    groups: tuple[str, ...]
    versions: tuple[str, ...]
    resources: tuple[str, ...]
    """`pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`."""
    resource_names: tuple[str, ...] = ()
    scope: Literal["*", "Cluster", "Namespaced"] = "*"


class Match(Struct, frozen=True, kw_only=True):
    """What a policy is about (`matchConstraints`, `matchResources`). `match.py` gives it meaning."""

    rules: tuple[Rule, ...]
    exclude: tuple[Rule, ...] = ()
    namespace_selector: Selector = ()
    object_selector: Selector = ()
    match_policy: Literal["Exact", "Equivalent"] = "Equivalent"


class Finding(Struct, frozen=True, kw_only=True, cache_hash=True):
    """A policy would have blocked this write: enforcement would deny it with `message`."""

    policy: str
    message: str
    """The API server's own text for it, untrimmed and untrusted: may hold user text of any kind."""
    binding: str = ""
    """Name of the ValidatingAdmissionPolicyBinding; empty for native policies."""
    index: int = 0
    """`expressionIndex`: which of `spec.validations` failed."""
    severity: Severity = Severity.MEDIUM
    error: bool = False
    """The verdict is an evaluation error under `failurePolicy: Fail` (annotation `policy_errors`)."""
    pre_existing: bool = False
    """On UPDATE: the old object violates it as well."""
    verbatim: bool = False
    """The message is already a complete warning of Kubernetes' own (Pod Security): shown as it is."""
    warn: bool = True
    """Whether the person at the keyboard is told; recorded either way."""
    keys: tuple[str, ...] = ()
    """Stable parts of the finding without values, e.g. the ids of the Pod Security checks that failed."""

    def before(self) -> Finding:
        """The same as pre-existing."""
        return msgspec.structs.replace(self, pre_existing=True)


class Verdict(Struct, frozen=True, kw_only=True):
    """What one policy says of one request; the empty verdict is a pass."""

    findings: tuple[Finding, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    """The policy's own `auditAnnotations`, (key, value) as the API server would publish them."""
    notes: tuple[tuple[str, str], ...] = ()
    """Facts about how the verdict came about, recorded in `reviewed`, e.g. (`pss`, `restricted:latest/label`)."""


PASS = Verdict()


class _Time:
    """What a review and those made of it have together."""

    __slots__ = ("clock", "deadline")

    def __init__(self, clock: Callable[[], float], deadline: float) -> None:
        self.clock = clock
        self.deadline = deadline

    def check(self) -> None:
        if self.clock() > self.deadline:
            raise DeadlineExceeded


_NOTHING: Mapping[Any, Any] = {}


class Objects:
    """The objects of one request, decoded when first asked for; then the same values each time.

    Properties raise `msgspec.DecodeError`, `RecursionError`.
    """

    __slots__ = ("_new", "_old", "_request", "_view")

    def __init__(
        self,
        request: review.Request,
        new: Any = msgspec.UNSET,
        old: Any = msgspec.UNSET,
        *,
        view: View = WHOLE,
    ) -> None:
        self._request = request
        self._view = view
        self._new = new
        self._old = old

    @property
    def new(self) -> Any:
        if self._new is msgspec.UNSET:
            self._new = self._view.decode(self._request.object)
        return self._new

    @property
    def old(self) -> Any:
        if self._old is msgspec.UNSET:
            self._old = self._view.decode(self._request.old_object)
        return self._old

    def stored(self, view: View) -> tuple[View, Any]:
        """`old` for whoever can do with the view, and what it is a view of: all, where that has been decoded."""
        if self._old is msgspec.UNSET and not view.covers(self._view):
            return view, view.decode(self._request.old_object)
        return self._view, self.old


class Context:
    """One request while it is evaluated: decoded objects, cluster state, the time that is left.

    Lives for one review in one thread. Policies read; only `memo` is written, by code that caches what
    several policies compute from the same object (keyed by a private sentinel of that code). Nothing in `memo` refers
    to the context: what a review has made is freed as it ends, and its memory is still warm for the next one. What has
    to be made later holds `objects` and `request`.
    """

    __slots__ = ("_before", "_time", "check_deadline", "memo", "objects", "request", "reviewed", "state", "texts")

    check_deadline: Callable[[], None]
    """Raises `DeadlineExceeded` once the time is used up; called between policies and inside loops."""

    def __init__(
        self,
        request: review.Request,
        *,
        state: State,
        clock: Callable[[], float],
        deadline: float,
        view: View = WHOLE,
    ) -> None:
        """`deadline` is a time of `clock`, in seconds (`time.monotonic` or a fake). `view` does for all policies that
        will be asked."""
        self._begin(request, state, _Time(clock, deadline), Objects(request, view=view))
        self.texts = True
        """Whether anybody will read messages and audit annotations; else only which findings there are matters, and
        a policy may leave its texts empty."""

    def _begin(self, request: review.Request, state: State, time: _Time, objects: Objects) -> None:
        self.request = request
        self.state = state
        self.objects = objects
        self.memo: dict[Any, Any] = {}
        self.reviewed: Mapping[Any, Any] = _NOTHING
        """`memo` of the review of which this is `before`: where the objects are alike, so is what was made of them."""
        self.check_deadline = time.check
        self._time = time
        self._before: tuple[tuple[View, Context | None], ...] = ()

    @property
    def object(self) -> Any:
        """`request.object` as plain JSON values; None when null. Raises `msgspec.DecodeError`, `RecursionError`."""
        return self.objects.new

    @property
    def old_object(self) -> Any:
        return self.objects.old

    def of_old_object(self) -> Context:
        """The same request with `oldObject` in the place of `object`: would what is stored pass?

        Its `object` and `old_object` are the very same value: a policy that judges changes sees none. Nobody reads
        its texts.
        """
        stored = self.old_object
        return self.of_values(stored, stored)

    def before(self, view: View) -> Context | None:
        """Of an UPDATE, `of_old_object` for whoever can do with the view, the same one each time; None where there is
        nothing to compare with."""
        for shown, context in self._before:
            if shown.covers(view):
                return context
        found: Context | None = None
        if self.request.operation == "UPDATE":
            with contextlib.suppress(msgspec.DecodeError, RecursionError):
                view, stored = self.objects.stored(view)
                if stored is not None:
                    found = self.of_values(stored, stored)
                    found.reviewed = self.memo
        self._before = (*self._before, (view, found))
        return found

    def of_values(self, object: Any, old_object: Any) -> Context:
        """The same request with these values in the place of its `object` and `oldObject`. Nobody reads its texts."""
        other = Context.__new__(Context)
        other._begin(self.request, self.state, self._time, Objects(self.request, object, old_object))
        other.texts = False
        return other

    def uncounted(self, work: Callable[[], T]) -> T:
        """Does what is done once and for all, and happens to fall to this review: its time is not the review's."""
        time = self._time
        began = time.clock()
        try:
            return work()
        finally:
            time.deadline += time.clock() - began


class Policy(Struct, frozen=True, kw_only=True):
    """One policy of a set, ready to run."""

    id: str
    digest: str
    """Hex SHA-256 (first 16 characters) over everything that can change its verdict: manifest, bindings, params."""
    meta: Metadata
    match: Match
    run: Callable[[Context], Verdict | None]
    """The decision; None when selectors, names or match conditions say that the request is none of the
    policy's business. Pure. May raise `NeedsState`, `NotComparable`, `DeadlineExceeded`; anything else is a
    bug, recorded as an internal error with no verdict."""
    bindings: tuple[str, ...] = ()
    namespace_match: tuple[Selector, ...] = ()
    """The bindings' own namespace selectors; a write is the policy's business if any of them matches.
    Empty: no narrowing."""
    source: str = ""
    """Where it was read: file name, for people."""
    crowd: Crowd | None = None
    """Whom it can be asked together with."""
    view: View = WHOLE
    """What it has to see of the objects."""
    prepare: Callable[[], None] | None = None
    """Makes beforehand what a review would otherwise wait for; takes milliseconds; from any thread."""
    python: str = ""
    """The generated Python of a CEL policy (`policies show ID --python`); empty for native ones."""


class PolicyRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy without its code: what reading a log needs."""

    id: str
    digest: str
    meta: Metadata
    match: Match
    bindings: tuple[str, ...] = ()
    namespace_match: tuple[Selector, ...] = ()


class SetRecord(Struct, frozen=True, kw_only=True):
    """Set digest → policies in set order: with it the log alone tells which policies ran and passed."""

    digest: str
    policies: tuple[PolicyRecord, ...]


class Exempted(Struct, frozen=True, kw_only=True):
    """A finding that an exemption covers: recorded, neither warned nor counted as blocked."""

    policy: str
    exemption: str
    """The exemption's id, which names its owner and expiry in the exemptions file."""
    binding: str = ""
    index: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """All that evaluation found out about one request. Equal requests give equal outcomes."""

    set_digest: str = ""
    evaluated: int = 0
    """Bitmap: bit i is set when policy i of the set matched and gave a verdict."""
    findings: tuple[Finding, ...] = ()
    exempted: tuple[Exempted, ...] = ()
    not_comparable: tuple[tuple[str, str], ...] = ()
    """(policy, reason): matched, but no verdict that would equal the API server's."""
    internal_errors: tuple[tuple[str, str], ...] = ()
    """(policy, exception class): a bug of ours; no verdict. Never the exception's text: it may quote the object."""
    incomplete: str = ""
    """Why not everything ran: `deadline`, `size`, `shed`, `undecodable`; empty when it did."""
    skipped: tuple[str, ...] = ()
    """With `incomplete: deadline`: the policies that did not run. Otherwise empty and all of them."""
    annotations: tuple[tuple[str, str, str], ...] = ()
    """(policy, key, value): the policies' own audit annotations."""
    notes: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    """`Kind/name` of the object's controller; empty when it has none."""
    snapshot: str = ""
    """Digest of the cluster state that was at hand; empty for none."""
