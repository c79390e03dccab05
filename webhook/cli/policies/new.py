"""`policies new`: a policy to start from, with its cases."""

from __future__ import annotations

import argparse
from pathlib import Path

from webhook import cli
from webhook.check.skeleton import known_kinds, skeleton
from webhook.errors import UserError
from webhook.load import CASES
from webhook.policy import Severity

EPILOG = """\
examples:
  wouldblock policies new team-label --kind Deployment
  wouldblock policies new widget-owner --kind Widget --api-version example.com/v1 --severity high --dir ./policies
  wouldblock policies test ./team-label.yaml

Writes DIR/ID.yaml and DIR/ID.cases.yaml: a policy that is valid, and cases that hold. Never overwrites.
exit codes: 0 written, 2 not
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="its name, and that of the files")
    parser.add_argument("--kind", default="Deployment", help=f"what it looks at: {', '.join(known_kinds())}, or yours")
    parser.add_argument("--api-version", default="", metavar="GROUP/VERSION", help="of a kind that is not among these")
    parser.add_argument("--resource", default="", metavar="PLURAL", help="the API's plural, where it is not the usual")
    parser.add_argument("--severity", choices=[*Severity], default="medium", help="default %(default)s")
    parser.add_argument("--pack", default="custom", help="the group that it is listed in (default %(default)s)")
    parser.add_argument("--title", default="", help="what it finds, in a few words")
    parser.add_argument("--dir", type=Path, default=Path(), help="where the files go (default: here)")


def run(args: argparse.Namespace) -> int:
    made = skeleton(
        args.id,
        kind=args.kind,
        api_version=args.api_version,
        resource=args.resource,
        severity=Severity(args.severity),
        pack=args.pack,
        title=args.title,
    )
    files = {args.dir / f"{args.id}.yaml": made.manifest, args.dir / f"{args.id}{CASES}": made.cases}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UserError(f"{', '.join(there)}: there already, and not overwritten; take another id or --dir")
    args.dir.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    policy = args.dir / f"{args.id}.yaml"
    print(f"{policy}\n{args.dir / (args.id + CASES)}")
    print(f"next: edit them, then `wouldblock policies test --mutate {policy}`")
    return cli.FINE
