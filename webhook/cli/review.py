"""`wouldblock review`: what would be blocked in these manifests or AdmissionReviews, offline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from webhook import cli
from webhook.check.files import documents
from webhook.check.reviews import requests_of
from webhook.cli.common import add_policy_flags, policies_of
from webhook.errors import UserError
from webhook.evaluate import evaluate
from webhook.exemptions import NO_EXEMPTIONS, read_exemptions
from webhook.policy import Finding, Outcome
from webhook.policyset import PolicySet
from webhook.respond import clean, respond
from webhook.review import Request
from webhook.yamlfile import files

_EPILOG = """\
examples:
  wouldblock review deployment.yaml
  helm template shop ./chart | wouldblock review -
  wouldblock review --policies ./policies --output json reviews.jsonl

A manifest is checked as its author wrote it; the API server would add defaults first.
exit codes: 0 nothing would be blocked, 1 something would be, 2 could not be read
"""
BUDGET = 10.0
"""Seconds a review: offline nobody waits for the answer, so that it is complete."""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument(
        "files",
        nargs="*",
        default=["-"],
        metavar="FILE",
        help="YAML, JSON or JSON Lines, a folder of them, or - for standard input (default)",
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="json: one AdmissionReview response a line, as the webhook would answer (default %(default)s)",
    )
    parser.add_argument("--namespace", default="default", help="of manifests that name none (default %(default)s)")
    parser.add_argument(
        "--operation",
        choices=("CREATE", "UPDATE", "DELETE"),
        default="CREATE",
        help="what manifests stand for (default %(default)s)",
    )
    parser.add_argument("--exemptions", type=Path, metavar="FILE", help="the exemptions file")
    add_policy_flags(parser)


def run(args: argparse.Namespace) -> int:
    policies, state = policies_of(args)
    exemptions = read_exemptions(args.exemptions) if args.exemptions else NO_EXEMPTIONS
    for problem in policies.broken:
        print(f"wouldblock: a policy is left out: {problem}", file=sys.stderr)
    seen = blocked = 0
    for where, request in _requests(args):
        outcome = evaluate(policies, request, state=state, exemptions=exemptions, budget=BUDGET)
        seen += 1
        blocked += bool(outcome.findings)
        if args.output == "json":
            print(respond(request, outcome).decode())
        else:
            _show(where, request, outcome, policies)
    if args.output == "text":
        print(f"{seen} object{'s' if seen != 1 else ''} reviewed, {blocked} would be blocked")
    if policies.broken:
        return cli.FAILED
    return cli.FOUND if blocked else cli.FINE


def _requests(args: argparse.Namespace) -> Iterator[tuple[str, Request]]:
    for name in args.files:
        if name == "-":
            inputs = [("standard input", sys.stdin.buffer.read())]
        else:
            inputs = [(str(path), path.read_bytes()) for path in files([Path(name)])]
            if not inputs:
                raise UserError(f"{name}: no YAML or JSON files here")
        for label, data in inputs:
            for where, document in documents(data, name=label):
                for request in requests_of(document, where=where, namespace=args.namespace, operation=args.operation):
                    yield where, request


def _show(where: str, request: Request, outcome: Outcome, policies: PolicySet) -> None:
    if not (outcome.findings or outcome.not_comparable or outcome.internal_errors or outcome.incomplete):
        return
    place = f" in {request.namespace}" if request.namespace and request.namespace != request.name else ""
    print(f"{clean(where)}: {clean(request.kind.kind)}/{clean(request.name or '(generated name)')}{clean(place)}")
    fixes = {policy.id: policy.meta.remediation for policy in policies.policies}
    for finding in _told(outcome):
        print(f"  {finding.severity:8} {finding.policy}: {clean(finding.message)}")
        if fixes.get(finding.policy):
            print(f"           fix: {fixes[finding.policy]}")
    for policy, reason in outcome.not_comparable:
        print(f"  no verdict {policy}: {clean(reason)}")
    for policy, what in outcome.internal_errors:
        print(f"  no verdict {policy}: internal error {what}")
    if outcome.incomplete:
        print(f"  incomplete: {outcome.incomplete} {' '.join(outcome.skipped)}".rstrip())


def _told(outcome: Outcome) -> list[Finding]:
    """What people are told, most severe first; all of it where nothing is to be told but something is blocked."""
    told = [finding for finding in outcome.findings if finding.warn] or list(outcome.findings)
    return sorted(told, key=lambda finding: (finding.severity.rank, finding.policy))
