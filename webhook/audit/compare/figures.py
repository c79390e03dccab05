"""What a comparison says, as values: each difference with its cause, and sums by policy and namespace.

Frozen structs with one JSON form, which stays: fields and causes may be added, none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from webhook.audit.report.figures import Time

SCHEMA = "wouldblock.dev/compare/v1"

Kind = Literal["not predicted", "did not come"]
CAUSES: Mapping[str, str] = {
    "same_template": "the very template that was refused had been reviewed without a finding: the prediction was wrong",
    "accepted": "accepted with our finding, where the policy is enforced: the prediction was wrong",
    "changed_since": "it had passed; what was refused is another state of it",
    "new_workload": "nothing of it was in the log before",
    "policy_changed": "it was reviewed by another version of the policy",
    "policy_edited": "the policy or its binding was written after it first refused: it may not be what was promoted",
    "namespace_changed": "its Namespace was written in between: the policy may select it, or see it, differently",
    "not_selected": "it was reviewed, but the policy did not select it: labels, or a condition of the policy",
    "blind_before": "its last write before was not reviewed",
    "exempted": "an exemption covered its finding: enforcement knows none",
    "not_comparable": "our verdict on it was marked as not comparable with the API server's",
    "expired_evidence": "its last review was too long before the refusal",
    "other_scope": "it had been written, but nothing that the policy is about",
    "unknown_workload": "the log does not name the workload",
    "other_denial_first": "something else refused it first",
    "not_enforced": "the log shows no refusal by the policy in this namespace before it: it may not have been in force",
    "mended": "it was mended: reviewed since without a finding",
    "deleted": "it was deleted",
    "blind_since": "it was written since, but not reviewed",
}
WRONG = ("same_template", "accepted")


class Difference(Struct, frozen=True, kw_only=True):
    """One workload with which a policy did not do what was predicted."""

    kind: Kind
    cause: str
    """A key of `CAUSES`."""
    policy: str
    cluster: str
    namespace: str
    workload: str
    """`Deployment/web`; empty when the log does not name it."""
    time: Time
    """Of the refusal, or of the write that was not refused."""
    audit_id: str
    message: str = ""
    client: str = ""
    before: Time | None = None
    """When it was last reviewed before."""

    @property
    def wrong(self) -> bool:
        return self.cause in WRONG


class Row(Struct, frozen=True, kw_only=True):
    """One policy in one namespace. Workloads, not writes."""

    policy: str
    cluster: str
    namespace: str
    predicted: int = 0
    """Would have been refused, as last written before."""
    refused: int = 0
    """Were refused since."""
    as_predicted: int = 0
    untested: int = 0
    """Of `predicted`: nothing that the policy is about was written of them since, so nothing is proven."""
    differences: int = 0
    wrong: int = 0


class Comparison(Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    since: Time
    end: Time | None
    policies: tuple[str, ...] = ()
    """What is compared: what was asked for, or what the log shows to be in force since."""
    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in self.differences)
