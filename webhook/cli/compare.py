"""`wouldblock compare LOG… --since T`: did enforcement refuse what was predicted, and nothing else?"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from webhook import cli
from webhook.audit.compare.build import MAX_AGE, compare
from webhook.audit.compare.figures import CAUSES, Comparison, Row
from webhook.audit.render import safe
from webhook.audit.report.summary import count
from webhook.audit.report.text import CLUSTER_SCOPED, Column, fitted
from webhook.cli import evidence, tables, unread
from webhook.cli.common import add_policy_flags

_EPILOG = """\
examples:
  wouldblock compare /var/log/kubernetes/audit*.log* --since 2026-11-20T09:00:00Z
  wouldblock compare --facts facts --since 7d --policy image-tag-mutable --output json

--since is when `wouldblock promote` was applied. A prediction is how a workload stood just before: refused is what its
last reviewed write would have been. Each difference is shown with its cause. Wrong are two: `same_template` (what had
passed was refused, unchanged) and `accepted` (what has our finding was accepted, where the policy is enforced); all
others say what the log could not know. Give --manifest with what `policies manifest` printed before and after, so that
a changed policy is told from a wrong prediction. It reads once: what is enforced since T is looked at as a whole.

exit codes: 0 no prediction was wrong, 1 one was, 2 could not read
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    tables.add_flags(parser)
    parser.add_argument("--since", required=True, metavar="TIME", help="when it was enforced: RFC 3339, or 7d, 36h ago")
    parser.add_argument("--now", metavar="TIME", help="what today is, RFC 3339 (default: the clock)")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="ID",
        help="only this policy (repeatable; default: those that the log shows to be in force since)",
    )
    parser.add_argument(
        "--max-age",
        type=evidence.span,
        default=int(MAX_AGE.total_seconds()) * 1_000_000,
        metavar="TIME",
        help="how old a workload's last review may be (default 30d)",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    add_policy_flags(parser)
    evidence.add_manifest_flag(parser)


def run(args: argparse.Namespace) -> int:
    now = evidence.moment(args.now, flag="--now", now=0) or time.time_ns() // 1_000
    since = evidence.moment(args.since, flag="--since", now=now)
    records = evidence.records_of(args)
    with tables.opened(args) as (facts, unreadable):
        found = compare(
            facts,
            records,
            since=datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=since),
            policies=args.policy,
            max_age=datetime.timedelta(microseconds=args.max_age),
        )
    unread.warn_of_unreadable(unreadable)
    if args.output == "json":
        print(json.dumps(_json(found), indent=2))
    else:
        for line in _lines(found, shutil.get_terminal_size((120, 24)).columns):
            print(line)
    return cli.FOUND if found.wrong else cli.FINE


def _json(found: Comparison) -> dict[str, Any]:
    """The comparison as it is, with `wrong`, and what each cause means."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for shown, difference in zip(plain["differences"], found.differences, strict=True):
        shown["wrong"] = difference.wrong
    causes = {each.cause for each in found.differences}
    return plain | {"wrong": found.wrong, "causes": {cause: CAUSES[cause] for cause in CAUSES if cause in causes}}


def _lines(found: Comparison, width: int) -> Iterator[str]:
    refused = sum(row.refused for row in found.rows)
    expected = sum(row.as_predicted for row in found.rows)
    untested = sum(row.untested for row in found.rows)
    end = f" until {found.end:%Y-%m-%d %H:%M}" if found.end else ""
    yield f"since {found.since:%Y-%m-%d %H:%M}{end} UTC: {count(refused, 'refusal')}, {expected:,} as predicted"
    yield (
        f"{count(len(found.differences), 'difference')}, of which {found.wrong:,} "
        f"{'is a' if found.wrong == 1 else 'are'} wrong prediction{'' if found.wrong == 1 else 's'}; "
        f"{count(untested, 'prediction')} without a write since"
    )
    if not found.policies:
        yield "the log shows no policy in force since: no refusal, and no write of a policy or a binding (--policy)"
    if found.rows:
        yield ""
        yield from fitted(
            [
                Column("POLICY"),
                Column("NAMESPACE"),
                *(Column(head, right=True) for head in ("PREDICTED", "REFUSED", "AS PREDICTED", "UNTESTED", "WRONG")),
            ],
            [(row.policy, row.namespace or CLUSTER_SCOPED, *_numbers(row)) for row in found.rows],
            width,
        )
    if found.differences:
        yield ""
        yield from fitted(
            [
                Column("DIFFERENCE"),
                Column("CAUSE"),
                Column("POLICY"),
                Column("WORKLOAD"),
                Column("TIME"),
                Column("AUDIT ID"),
            ],
            [
                (
                    f"{'WRONG: ' if each.wrong else ''}{each.kind}",
                    each.cause,
                    each.policy,
                    f"{each.namespace or CLUSTER_SCOPED}/{each.workload or '(name not in the log)'}",
                    f"{each.time:%Y-%m-%d %H:%M:%S}",
                    each.audit_id,
                )
                for each in found.differences
            ],
            width,
        )
        yield ""
        causes = Counter(each.cause for each in found.differences)
        for cause, number in causes.most_common():
            yield f"{number:,} {cause}: {safe(CAUSES[cause])}"


def _numbers(row: Row) -> tuple[str, ...]:
    return tuple(f"{each:,}" for each in (row.predicted, row.refused, row.as_predicted, row.untested, row.wrong))
