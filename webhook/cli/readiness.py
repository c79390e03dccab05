"""`wouldblock readiness LOG…`: may this policy be enforced in this namespace?"""

from __future__ import annotations

import argparse
import contextlib
import json

from webhook import cli
from webhook.audit.render import as_json, as_table
from webhook.cli import evidence, following

_EPILOG = """\
examples:
  wouldblock readiness /var/log/kubernetes/audit*.log*
  wouldblock readiness audit.log --policy pod-security-baseline --namespace shop
  kubectl get namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings -o yaml > cluster.yaml
  wouldblock readiness /var/log/kubernetes/audit.log --follow --every 10m
  wouldblock readiness audit.log --native --snapshot cluster.yaml     # with nothing of ours installed

verdicts, the first that applies:
  fix first             a workload's latest write would be denied
  blind                 too much was not reviewed, or cannot be compared
  not enough evidence   too short, too few independent changes, or not proven
  enforce               none of these; `at most` is the exact 95 % upper bound 1 - 0.05^(1/n)

exit codes: 0 everything that was asked is `enforce`, 1 something is not, 2 could not read
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="LOG",
        help="audit logs and exports of them, also gzip, zstd, zip; folders; - for stdin",
    )
    parser.add_argument("--policy", action="append", default=[], metavar="ID", help="only this policy (repeatable)")
    parser.add_argument(
        "--namespace", action="append", default=[], metavar="NAME", help="only this namespace (repeatable)"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    following.add_flags(parser, what="the verdicts are")
    evidence.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    if not args.follow:
        return _show(args, evidence.collect(args, args.logs))
    code = cli.FOUND
    # Whoever has seen enough interrupts it.
    with contextlib.suppress(KeyboardInterrupt):
        for found in evidence.follow(args, args.logs):
            code = _show(args, found)
            print(flush=True)
    return code


def _show(args: argparse.Namespace, found: evidence.Evidence) -> int:
    rows = evidence.select(found, args.policy, args.namespace)
    evidence.warn_of_blind_spots(found)
    if args.output == "json":
        report = evidence.with_rows(found.report, rows)
        print(json.dumps(as_json(report, found.facts, found.unreadable), indent=None if args.follow else 2))
    elif rows:
        print("\n".join(as_table(rows)))
    else:
        print("no write in the log concerns a policy that can be judged")
    return cli.FINE if rows and all(row.verdict == "enforce" for row in rows) else cli.FOUND
