"""The policies under which the planted writes of `audit_log` were reviewed, and what `readiness` would look at then."""

from __future__ import annotations

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.fact import Ours
from webhook.audit.reading import Interest
from webhook.audit.subject import interest_of, subjects_of
from webhook.policy import Match, Metadata, PolicyRecord, Rule, SetRecord

POLICIES = ("no-latest-tag", "requests-set", "run-as-non-root")
SET = SetRecord(
    digest="planted",
    policies=tuple(
        PolicyRecord(
            id=name,
            digest="v1",
            meta=Metadata(title=name),
            match=Match(
                rules=(
                    Rule(
                        operations=("CREATE", "UPDATE"), groups=("apps",), versions=("v1",), resources=("deployments",)
                    ),
                )
            ),
        )
        for name in POLICIES
    ),
)


def interest() -> Interest:
    """Which writes are worth parsing."""
    return interest_of(subjects_of(SET))


def ours() -> Ours:
    """Whose reviews count."""
    return Ours((WEBHOOK_NAME,))
