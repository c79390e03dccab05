"""`wouldblock upgrade LOG… --to 1.37`: who still calls what the upgrade takes away?"""

from __future__ import annotations

import argparse
import json

from webhook import cli
from webhook.audit import upgrade_render as render
from webhook.audit.lifecycle import NEWEST
from webhook.audit.render import safe
from webhook.audit.source import Unreadable, read
from webhook.audit.upgrade import Usage, minor_of
from webhook.cli.progress import Progress
from webhook.cli.unread import nothing_found, warn_of_unreadable
from webhook.errors import UserError

_EPILOG = """\
examples:
  wouldblock upgrade /var/log/kubernetes/audit*.log* --to 1.37
  wouldblock upgrade audit.log --to 1.38 --output markdown > upgrade.md

What the API server itself marked as deprecated counts, and what is known of Kubernetes' own APIs. The API server marks
reads as well: an audit policy that drops them hides who only lists or watches, and then the report says `writes only`.
What Kubernetes' own components call is shown, and does not count: they are upgraded along. It reads once: an upgrade is
decided on weeks of log, not on its last minute.

exit codes: 0 nothing in the log breaks, 1 something does, 2 could not read
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("logs", nargs="+", metavar="LOG", help="audit logs; folders of them; - for stdin")
    parser.add_argument("--to", required=True, metavar="1.N", help="the Kubernetes release to upgrade to")
    parser.add_argument(
        "--output", choices=("text", "json", "csv", "markdown"), default="text", help="default %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    target = minor_of(args.to)
    if not target:
        raise UserError(f"--to {safe(args.to)!r} is no release of Kubernetes: write 1.{NEWEST}")
    unreadable = Unreadable()
    usage = Usage(unreadable)
    with Progress(args.logs) as progress:
        for found in read(args.logs, unreadable, progress=progress):
            usage.add(found)
    report = usage.report(target)
    if not report.reads and not report.writes:
        raise nothing_found(args.logs, unreadable)
    warn_of_unreadable(unreadable)
    match args.output:
        case "json":
            print(json.dumps(render.as_json(report), indent=2))
        case "csv":
            print(render.as_csv(report), end="")
        case "markdown":
            print("\n".join(render.as_markdown(report)))
        case _:
            print("\n".join(render.as_text(report)))
    return cli.FOUND if report.breaking else cli.FINE
