"""`wouldblock report LOG…`: who would be blocked, by team, policy, namespace, client and workload."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from webhook import __version__, cli
from webhook.audit.owners import Owners
from webhook.audit.report import export, summary, text
from webhook.audit.report.build import build
from webhook.audit.report.figures import Report
from webhook.audit.report.page import render
from webhook.audit.report.standing import Catalogue
from webhook.audit.report.workloads import Selection
from webhook.audit.source import Unreadable
from webhook.cli import evidence, following, tables, unread
from webhook.cli.common import add_owner_flags, add_policy_flags, owners_of
from webhook.errors import UserError
from webhook.state import EMPTY, read_snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_EPILOG = """\
examples:
  wouldblock report /var/log/kubernetes/audit*.log* --owners owners.yaml
  wouldblock report audit.log --html report.html        # one file, to show to everybody
  wouldblock report --facts facts --team team-shop --output markdown
  wouldblock report --facts facts --output csv > all.csv
  wouldblock report /var/log/kubernetes/audit.log --html report.html --follow --every 10m

Workloads are counted, not writes: a Deployment with five hundred refused pods is one. A workload counts until the log
proves that it is mended (reviewed again without a finding) or deleted. Every figure says how many of the writes were
reviewed; what was really refused is shown apart. The page needs no network and no script.

exit codes: 0 nothing would be blocked, 1 something would, 2 could not read
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    tables.add_flags(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        choices=("text", "json", "csv", "markdown", "parquet"),
        help="default text; csv and parquet have a row for each workload and policy",
    )
    group.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    group.add_argument("--title", default="", metavar="TEXT", help="of the page")
    group.add_argument("--top", type=int, default=15, metavar="N", help="rows a table, 0 for all (default %(default)s)")
    group = parser.add_argument_group("what is asked for (all repeatable)")
    group.add_argument("--policy", action="append", default=[], metavar="ID", help="only this policy")
    group.add_argument("--namespace", action="append", default=[], metavar="NAME", help="only this namespace")
    group.add_argument("--team", action="append", default=[], metavar="NAME", help="only what this team owns")
    group.add_argument(
        "--new-since",
        "--since-report",
        metavar="TIME",
        help="since when a violation counts as new: RFC 3339, or as long before the end of the log as 7d, 36h "
        "(default 7d)",
    )
    following.add_flags(parser, what="the report is")
    add_policy_flags(parser)
    evidence.add_manifest_flag(parser)
    add_owner_flags(parser)


def run(args: argparse.Namespace) -> int:
    state = read_snapshot(args.snapshot) if args.snapshot else EMPTY
    owners = owners_of(args, state)
    catalogue = Catalogue(evidence.records_of(args))
    if not args.follow:
        with tables.opened(args) as (facts, unreadable):
            report = _build(args, facts, owners, catalogue)
        return _show(args, report, unreadable)
    if args.facts or args.output in ("csv", "parquet"):
        raise UserError("--follow is for logs, and for --html, or --output text, json or markdown")
    code = cli.FINE
    # Whoever has seen enough interrupts it.
    with contextlib.suppress(KeyboardInterrupt):
        for facts, unreadable in tables.growing(args):
            with tables.bounded():
                report = _build(args, facts, owners, catalogue)
            code = _show(args, report, unreadable)
            print(flush=True)
    return code


def _build(args: argparse.Namespace, facts: DuckDBPyConnection, owners: Owners, catalogue: Catalogue) -> Report:
    return build(
        facts,
        owners=owners,
        catalogue=catalogue,
        new_since=_since(args.new_since, facts),
        selection=Selection(
            policies=frozenset(args.policy),
            namespaces=frozenset(args.namespace),
            teams=frozenset(args.team),
        ),
    )


def _show(args: argparse.Namespace, report: Report, unreadable: Unreadable) -> int:
    unread.warn_of_unreadable(unreadable)
    if args.html is not None:
        _page(args, report)
    if args.html is None or args.output is not None:
        _print(args, report)
    return cli.FOUND if report.totals.workloads else cli.FINE


def _since(text: str | None, facts: DuckDBPyConnection) -> datetime.datetime | None:
    """A time, or how long before the last fact."""
    if text is None:
        return None
    row = facts.execute("SELECT epoch_us(max(last)) FROM spans").fetchone()
    end = (row[0] if row else None) or time.time_ns() // 1_000
    micros = evidence.moment(text, flag="--new-since", now=end)
    return datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC)


def _page(args: argparse.Namespace, report: Report) -> None:
    until = f", facts until {report.window.end:%Y-%m-%d %H:%M} UTC" if report.window else ""
    page = render(report, title=args.title, generated=f"wouldblock {__version__}{until}").encode()
    args.html.write_bytes(page)
    print(f"{args.html}: {summary.headline(report)} {summary.seen(report)}", file=sys.stderr)


def _print(args: argparse.Namespace, report: Report) -> None:
    match args.output:
        case "json":
            sys.stdout.writelines(export.as_json(report, indent=None if args.follow else 2))
            print()
        case "csv":
            export.write_csv(report, sys.stdout)
        case "markdown":
            print(export.as_markdown(report, top=args.top), end="")
        case "parquet":
            if sys.stdout.isatty():
                raise UserError("--output parquet is not for terminals: redirect it, as in > report.parquet")
            sys.stdout.buffer.write(export.as_parquet(report))
        case _:
            width = shutil.get_terminal_size((120, 24)).columns
            for line in text.lines(report, width=width, top=args.top):
                print(line)
