"""The four kinds of ticket: how urgent each is, and how a good answer to it goes.

A policy names its kind in `wouldblock.dev/ticket`. Knows no policy.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Priority = Literal["critical", "high", "medium"]


class Template(Struct, frozen=True, kw_only=True):
    """One kind. Either `hours`, which run through nights and weekends, or `business_days` are set."""

    code: str
    """As policies name it."""
    id: str
    title: str
    priority: Priority
    hours: int = 0
    business_days: int = 0
    steps: tuple[str, ...] = ()
    """How the one who gets it goes about it."""

    @property
    def deadline(self) -> str:
        return f"{self.hours} hours" if self.hours else f"{self.business_days} business days"


TEMPLATES = {
    each.code: each
    for each in (
        Template(
            code="SR",
            id="security_remediation",
            title="Security remediation",
            priority="critical",
            hours=24,
            steps=(
                "Change the manifest where it is kept (Git, chart, operator): what is only changed in the cluster is "
                "undone by the next deployment.",
                "If the workload needs it, ask for an exemption with an owner, a reason and an end.",
                "Roll out, and check that no pod of the former template is left.",
            ),
        ),
        Template(
            code="CO",
            id="cluster_optimization",
            title="Cluster optimization",
            priority="high",
            hours=48,
            steps=(
                "Find out who else depends on the object: such findings reach beyond one team.",
                "Change the manifest where it is kept, and roll out.",
            ),
        ),
        Template(
            code="PT",
            id="performance_tuning",
            title="Performance tuning",
            priority="medium",
            business_days=3,
            steps=(
                "Measure what the containers use over a week; take that, not a guess.",
                "Change the manifest where it is kept, and watch the first hours after the roll-out.",
            ),
        ),
        Template(
            code="DA",
            id="deployment_automation",
            title="Deployment automation",
            priority="medium",
            business_days=5,
            steps=(
                "Mend the pipeline or chart that writes the object, not the object alone.",
                "Let it run once, and check what it has written.",
            ),
        ),
    )
}
"""By the code that policies use."""

BY_ID = {each.id: each for each in TEMPLATES.values()}


def template_of(ticket: str) -> Template | None:
    """The template that a policy asks for, by code or id; None when it asks for no ticket."""
    return TEMPLATES.get(ticket) or BY_ID.get(ticket)
