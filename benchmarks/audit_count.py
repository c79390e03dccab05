"""What `benchmarks.audit` asks `wouldblock`: apart, so that what the benchmark needs is not loaded on its time."""

from __future__ import annotations

from benchmarks import audit_set
from webhook.audit.facts import Facts
from webhook.audit.source import parallel
from webhook.cli.evidence import Collecting


def count(file: str, jobs: int) -> tuple[int, int]:
    """(reviewed writes to Deployments, events), by way of every fact that `readiness` keeps."""
    work = Collecting(audit_set.interest(), audit_set.ours())
    facts = Facts()
    for found, _ in parallel.each(parallel.parts([file], jobs), work, jobs=jobs):
        facts.merge(found)
    reviewed = sum(
        fact.review is not None for fact in map(facts.table.__getitem__, facts.which) if fact.resource == "deployments"
    )
    return reviewed, sum(facts.counts.values())
