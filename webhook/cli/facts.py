"""`wouldblock facts LOG…`: what the logs say, as one flat table in Parquet."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from webhook import cli
from webhook.annotations import WEBHOOK_NAME
from webhook.audit.render import safe
from webhook.cli.common import add_webhook_name_flag
from webhook.errors import UserError

_EPILOG = """\
examples:
  wouldblock facts /var/log/kubernetes/audit*.log* --out facts --cluster prod-eu
  wouldblock facts --schema                             # the columns
  duckdb -c "SELECT policy, count(*) FROM 'facts/*/*/*.parquet' WHERE kind = 'finding' GROUP BY ALL"

A run adds what is new: inputs that an earlier one has read are left alone, and records that came twice (stages, retried
batches, overlapping files) count once. Each day of each cluster is one file; beside it, in `_*.sums`, lies what reports
ask of every day. A run that is killed leaves the facts as they were. Heartbeats, status reports and questions (leases,
events, */status, reviews of access) are left out, and bodies never enter. It reads once: of a log that grows, run it
again over the files that were rotated.

exit codes: 0 done, 2 could not do it
"""


def register(parser: argparse.ArgumentParser) -> None:
    from webhook.cli.evidence import add_jobs_flag

    parser.epilog = _EPILOG
    parser.add_argument("logs", nargs="*", metavar="LOG", help="audit logs, also packed; folders of them; - for stdin")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the facts are, or are to be")
    parser.add_argument(
        "--cluster", default="", metavar="NAME", help="which cluster the logs are of (default: what the export says)"
    )
    add_webhook_name_flag(parser)
    add_jobs_flag(parser)
    parser.add_argument("--schema", action="store_true", help="print the table's columns, and read nothing")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")


def run(args: argparse.Namespace) -> int:
    if args.schema:
        return _schema(args.output)
    if not args.logs:
        raise UserError("no logs: give audit logs, folders of them, or - for standard input; --schema prints columns")
    if args.out is None:
        raise UserError("--out is missing: name the folder for the facts, such as --out facts")
    # Only here: neither --help nor --schema needs them.
    from webhook.audit.fact import Ours
    from webhook.audit.table import engine, store
    from webhook.cli.progress import Progress
    from webhook.cli.unread import nothing_found, warn_of_unreadable

    engine.require()
    source = store.Source(Ours(tuple(args.webhook_name or (WEBHOOK_NAME,))), args.cluster)
    with Progress(args.logs) as progress:
        done, unreadable = store.update(args.out, args.logs, source, jobs=args.jobs, progress=progress)
    if done.read and not (done.known or done.records or done.reads or done.other_resources):
        raise nothing_found(args.logs, unreadable)
    warn_of_unreadable(unreadable)
    if args.output == "json":
        print(json.dumps(msgspec.to_builtins(done), indent=2))
        return cli.FINE
    print(
        f"{safe(done.out)}: {done.added:+} rows, now {done.rows}"
        + (f", of {done.first} to {done.last}" if done.first else "")
        + (f", cluster {', '.join(safe(each) or 'without a name' for each in done.clusters)}" if done.clusters else "")
    )
    print(
        f"read {done.read} inputs with {done.records} records of writes ({done.reads} of reads and "
        f"{done.other_resources} of other resources left out); {done.known} were known"
    )
    return cli.FINE


def _schema(output: str) -> int:
    from webhook.audit.table.schema import COLUMNS

    if output == "json":
        shown = [{"name": each.name, "type": each.kind, "nullable": each.nullable, "doc": each.doc} for each in COLUMNS]
        print(json.dumps(shown, indent=2))
        return cli.FINE
    width, kinds = max(len(each.name) for each in COLUMNS), max(len(each.kind) for each in COLUMNS)
    for each in COLUMNS:
        print(f"{each.name:{width}}  {each.kind:{kinds}}  {each.doc}")
    return cli.FINE
