"""`wouldblock tickets LOG… --out DIR`: who has to mend what until when, and what provably is mended."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from webhook import cli
from webhook.audit.render import safe
from webhook.audit.report.standing import Catalogue
from webhook.audit.tickets import alertmanager, plan
from webhook.audit.tickets.alertmanager import Action, Client, Credentials
from webhook.audit.tickets.calendar import Calendar, read_holidays, weekend, zone
from webhook.audit.tickets.folder import Folder, Stored, name, tickets
from webhook.audit.tickets.model import Ticket
from webhook.audit.tickets.observe import observe
from webhook.audit.tickets.reconcile import Change, reconcile
from webhook.audit.tickets.settle import DEFAULTS, Proof
from webhook.cli import evidence, tables, unread
from webhook.cli.common import add_owner_flags, add_policy_flags, owners_of
from webhook.errors import UserError
from webhook.policy import Severity
from webhook.state import EMPTY, read_snapshot

_EPILOG = """\
examples:
  wouldblock tickets /var/log/kubernetes/audit*.log* --out tickets/ --plan      # what would change
  wouldblock tickets audit.log --out tickets/ --owners owners.yaml
  wouldblock tickets audit.log --out tickets/ --alertmanager http://alertmanager:9093

A ticket is one policy that is violated in one namespace (or by one owner), as a Markdown file. Its kind is what the
policy says in `wouldblock.dev/ticket`:
  SR  security remediation   critical  24 hours
  CO  cluster optimization   high      48 hours
  PT  performance tuning     medium    3 business days
  DA  deployment automation  medium    5 business days

Run it as often as you like, over logs that overlap or follow each other: what is known is kept in the files, and what
you write below their last line stays. A ticket closes when each of its workloads was deleted, or written again,
reviewed and without a finding, and nothing later went unseen; it comes back with the next violation. Dry runs and
exempted findings open none. Keep the folder in version control. It reads once, as a job that is run every so often; of
verbs that go on as the log grows there are `readiness --follow` and `report --follow`.

exit codes: 0 no ticket is open, 1 some are, 2 could not do it
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    tables.add_flags(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder of the tickets")
    parser.add_argument("--plan", action="store_true", help="only show what would change")
    parser.add_argument("--ticket", metavar="FINGERPRINT", help="with --plan: only this one; exit code 0 if it is done")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    parser.add_argument(
        "--by", choices=("namespace", "owner"), default="namespace", help="one ticket for each (default %(default)s)"
    )
    parser.add_argument(
        "--severity",
        choices=[each.value for each in Severity],
        default=Severity.MEDIUM.value,
        help="of the least policies that open tickets (default %(default)s)",
    )
    add_policy_flags(parser)
    evidence.add_manifest_flag(parser)
    add_owner_flags(parser)
    parser.add_argument("--now", metavar="TIME", help="what today is, RFC 3339 (default: the clock)")
    group = parser.add_argument_group("when a violation is proven gone")
    group.add_argument(
        "--close-after",
        type=int,
        default=DEFAULTS.writes,
        metavar="N",
        help="writes of the workload, reviewed and without a finding (default %(default)s)",
    )
    group.add_argument(
        "--close-unnamed-after",
        type=int,
        default=DEFAULTS.anonymous,
        metavar="N",
        help="the same of its namespace, where no workload is known (default %(default)s)",
    )
    group = parser.add_argument_group("when it is due")
    group.add_argument("--time-zone", default="UTC", metavar="ZONE", help="of business days (default %(default)s)")
    group.add_argument("--weekend", default="sat,sun", metavar="DAYS", help="default %(default)s; or none")
    group.add_argument("--holidays", type=Path, metavar="FILE", help="dates, one a line; or an iCalendar file")
    group = parser.add_argument_group("alerts")
    group.add_argument(
        "--alertmanager",
        action="append",
        default=[],
        metavar="URL",
        help="keep it in step with the tickets (repeat for each of a cluster)",
    )
    group.add_argument("--alertmanager-ca", type=Path, metavar="FILE", help="who signed its certificate")
    group.add_argument("--alertmanager-cert", type=Path, metavar="FILE", help="our own certificate")
    group.add_argument("--alertmanager-key", type=Path, metavar="FILE", help="and its key")
    group.add_argument("--alertmanager-user", default="", metavar="NAME", help="for basic authentication")
    group.add_argument("--alertmanager-password-file", type=Path, metavar="FILE")
    group.add_argument("--alertmanager-token-file", type=Path, metavar="FILE", help="for bearer authentication")
    group.add_argument(
        "--alert-ttl",
        type=evidence.span,
        default=int(alertmanager.DEFAULT_TTL.total_seconds() * 1_000_000),
        metavar="TIME",
        help="how long an alert lasts without another run (default 26h)",
    )


def run(args: argparse.Namespace) -> int:
    if args.ticket and not args.plan:
        raise UserError("--ticket shows what would become of one ticket: give --plan as well")
    now = _now(args.now)
    calendar = Calendar(
        zone=zone(args.time_zone),
        weekend=weekend(args.weekend),
        holidays=read_holidays(args.holidays) if args.holidays else frozenset(),
    )
    clients = _clients(args)
    folder = Folder(args.out)
    records = evidence.records_of(args)
    owners = owners_of(args, read_snapshot(args.snapshot) if args.snapshot else EMPTY)
    # Read the logs before the lock: that may take long, and changes nothing.
    with (
        tables.opened(args) as (facts, unreadable),
        contextlib.nullcontext() if args.plan else folder.locked(),
    ):
        stored = folder.read()
        observed = observe(
            facts,
            Catalogue(records),
            owners,
            stored=tickets(stored),
            scope=args.by,
            least=Severity(args.severity),
            proof=Proof(writes=args.close_after, anonymous=args.close_unnamed_after),
        )
        changes = reconcile(
            tickets(stored),
            observed.cases,
            now=now,
            calendar=calendar,
            proof=Proof(writes=args.close_after, anonymous=args.close_unnamed_after),
        )
        if args.ticket:
            changes = [change for change in changes if change.after.fingerprint == args.ticket]
            if not changes:
                raise UserError(f"{folder.path}: no ticket {safe(args.ticket)!r}, neither there nor in the log")
        acceptance = {change.after.fingerprint: _acceptance(args, change.after) for change in changes}
        files = {change.after.fingerprint: str(_path(folder, stored, change.after)) for change in changes}
        if not args.plan:
            for change in changes:
                key = change.after.fingerprint
                if change.kind == "none":
                    continue
                folder.write(change.after, stored.get(key), acceptance=acceptance[key])
        actions, failed = _alerts(args, clients, changes, acceptance, now)
    if args.output == "json":
        print(
            json.dumps(plan.as_json(changes, files, actions, observed.without_ticket, applied=not args.plan), indent=2)
        )
    else:
        print("\n".join(plan.as_lines(changes, files, actions, applied=not args.plan)))
    unread.warn_of_unreadable(unreadable)
    if observed.without_ticket:
        listed = ", ".join(f"{safe(policy)} ({count})" for policy, count in observed.without_ticket.items())
        print(
            f"note: no tickets for {listed}: the policy names none, is not known here, or is below --severity",
            file=sys.stderr,
        )
    if failed:
        raise UserError("\n".join(failed))
    return cli.FOUND if plan.still_open(changes) else cli.FINE


def _now(text: str | None) -> datetime.datetime:
    micros = evidence.moment(text, flag="--now", now=0) or time.time_ns() // 1_000
    return datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC)


def _path(folder: Folder, stored: Mapping[str, Stored], ticket: Ticket) -> Path:
    known = stored.get(ticket.fingerprint)
    return known.path if known is not None else folder.path / name(ticket)


def _acceptance(args: argparse.Namespace, ticket: Ticket) -> tuple[str, ...]:
    """What shows that a ticket is done; and what shows whether its policy may then be enforced."""
    flags = _same_policies(args)
    done = ["--plan", "--ticket", ticket.fingerprint, *flags]
    judged = ["--policy", safe(ticket.policy)]
    for each in sorted({each.namespace for each in ticket.workloads}) or [ticket.namespace]:
        judged += ["--namespace", safe(each)]
    return (
        f'wouldblock tickets "$AUDIT_LOG" --out "$TICKETS" {shlex.join(done)}',
        f'wouldblock readiness "$AUDIT_LOG" {shlex.join([*judged, *flags])}',
    )


def _same_policies(args: argparse.Namespace) -> list[str]:
    """The flags that name the policies, as they were given."""
    words: list[str] = []
    for flag, values in (("--manifest", args.manifest), ("--policies", args.policies), ("--enable", args.enable)):
        if values:
            words += [flag, *map(str, values)]
    return words


def _clients(args: argparse.Namespace) -> list[Client]:
    if args.alertmanager_user and args.alertmanager_token_file:
        raise UserError("--alertmanager-user and --alertmanager-token-file exclude each other")
    credentials = Credentials(
        ca=args.alertmanager_ca,
        certificate=args.alertmanager_cert,
        key=args.alertmanager_key,
        user=args.alertmanager_user,
        password=args.alertmanager_password_file,
        token=args.alertmanager_token_file,
    )
    return [Client(url, credentials) for url in args.alertmanager]


def _alerts(
    args: argparse.Namespace,
    clients: Sequence[Client],
    changes: Sequence[Change],
    acceptance: Mapping[str, Sequence[str]],
    now: datetime.datetime,
) -> tuple[dict[str, list[Action]], list[str]]:
    """(what was or would be done, by address; what went wrong). One that does not answer keeps no other from it."""
    done: dict[str, list[Action]] = {}
    failed = []
    for client in clients:
        try:
            todo = alertmanager.actions(
                [change.after for change in changes],
                client.current(),
                acceptance=acceptance,
                now=now,
                ttl=datetime.timedelta(microseconds=args.alert_ttl),
            )
            if not args.plan:
                client.post([each.alert for each in todo])
            done[client.name] = todo
        except UserError as error:
            failed.append(str(error))
    return done, failed
