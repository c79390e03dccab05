"""`wouldblock certs issue` and `certs status`: make certificates, say what expires when."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from webhook import cli
from webhook.errors import UserError
from webhook_certs import profile
from webhook_certs.issue import NAMESPACE, SERVICE, Issued, issue
from webhook_certs.status import Report, inspect

_ISSUE_EPILOG = """\
examples:
  wouldblock certs issue --out certs                       first run: CA and serving certificate
  wouldblock certs issue --out certs                       later runs: a new serving certificate by the same CA
  wouldblock certs issue --out certs --dns localhost --ip 127.0.0.1

  kubectl create secret tls wouldblock-tls -n wouldblock-system --cert certs/tls.crt --key certs/tls.key \\
    --dry-run=client -o yaml | kubectl apply -f -
  wouldblock webhook-config --ca-file certs/ca.crt | kubectl apply -f -

a new CA, without a write that goes unchecked; after each step apply what it wrote:
  wouldblock certs issue --out certs --new-ca              ca.crt now holds both: webhook-config --ca-file
  wouldblock certs issue --out certs                       tls.crt by the new CA: the secret
  wouldblock certs issue --out certs --drop-old-ca         ca.crt holds the new one: webhook-config --ca-file
"""

_STATUS_EPILOG = """\
examples:
  wouldblock certs status certs
  wouldblock certs status --within 30d --output json certs/tls.crt
  wouldblock certs status --service wouldblock certs       also: is it for that Service?

exit codes: 0 all is well, 1 something expires within --within or is wrong, 2 a file cannot be read
"""


def register(parser: argparse.ArgumentParser) -> None:
    """The two sub-verbs and their flags."""
    parser.epilog = "example:\n  wouldblock certs issue --out certs && wouldblock certs status certs\n"
    raw = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="certs_verb", metavar="VERB", required=True)

    make = verbs.add_parser(
        "issue", help="write ca.crt, ca.key, tls.crt, tls.key", epilog=_ISSUE_EPILOG, formatter_class=raw
    )
    make.description = (
        "Write a serving certificate, and a CA if there is none, in PEM: ca.crt, ca.key, tls.crt, tls.key.\n"
        "The CA that is there is used again, so that the ValidatingWebhookConfiguration stays as it is."
    )
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files are and go")
    make.add_argument("--service", default=SERVICE, help="name of the webhook's Service (default %(default)s)")
    make.add_argument("--namespace", default=NAMESPACE, help="and its namespace (default %(default)s)")
    make.add_argument("--dns", action="append", default=[], metavar="NAME", help="another name; repeatable")
    make.add_argument("--ip", action="append", default=[], metavar="ADDRESS", help="another address; repeatable")
    make.add_argument("--days", type=int, metavar="N", help="lifetime of the serving certificate (default 90)")
    make.add_argument("--profile", type=Path, metavar="FILE", help="other defaults: a file like certs/profile.toml")
    steps = make.add_mutually_exclusive_group()
    steps.add_argument("--new-ca", action="store_true", help="make a new CA and trust the old one beside it")
    steps.add_argument("--drop-old-ca", action="store_true", help="trust the new CA alone")
    _add_common(make)

    show = verbs.add_parser("status", help="what expires when", epilog=_STATUS_EPILOG, formatter_class=raw)
    show.description = "Say what expires when, and what the API server would refuse. Keys are compared, never shown."
    show.add_argument(
        "paths", nargs="*", type=Path, default=[Path()], metavar="DIR|FILE", help="default: this directory"
    )
    show.add_argument("--within", type=_duration, default="14d", metavar="TIME", help="14d (default), 36h, 90m")
    show.add_argument("--service", default="", help="the Service that the serving certificate has to be for")
    show.add_argument("--namespace", default=NAMESPACE, help="and its namespace (default %(default)s)")
    _add_common(show)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ca-password-file", type=Path, metavar="FILE", help="holds the password of ca.key")
    parser.add_argument("--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Raises `UserError`, `OSError`."""
    password = _password(args.ca_password_file) if args.ca_password_file else None
    if args.certs_verb == "issue":
        issued = issue(
            args.out,
            service=args.service,
            namespace=args.namespace,
            dns=args.dns,
            ip=args.ip,
            days=args.days,
            new_ca=args.new_ca,
            drop_old_ca=args.drop_old_ca,
            ca_password=password,
            profile=profile.read(args.profile) if args.profile else None,
        )
        _print_issued(issued, args.output)
        return cli.FINE
    names = f"{args.service}.{args.namespace}.svc" if args.service else ""
    report = inspect(args.paths, now=datetime.now(UTC), within=args.within, name=names, ca_password=password)
    _print_report(report, args.output)
    return cli.FOUND if report.problems else cli.FINE


def _print_issued(issued: Issued, output: str) -> None:
    if output == "json":
        print(msgspec.json.encode(issued, enc_hook=str).decode())
        return
    for name in issued.written:
        print(f"wrote {issued.directory / name}")
    print(f"serving certificate until {issued.not_after:%Y-%m-%d}, for {', '.join(issued.names)}")
    print(
        f"CA until {issued.authority_not_after:%Y-%m-%d}"
        + (f", {issued.authorities} CAs in ca.crt" * (issued.authorities > 1))
    )
    if "ca.crt" in issued.written:
        print("next: put ca.crt into the configuration (wouldblock webhook-config --ca-file)")
    if "tls.crt" in issued.written:
        print("next: put tls.crt and tls.key where the webhook reads them; it takes them up without a restart")
    if issued.shortened:
        print(
            "note: the certificate ends with its CA, earlier than asked: make a new one with --new-ca", file=sys.stderr
        )
    if issued.lost_names:
        print(f"note: the previous certificate was also for {', '.join(issued.lost_names)}", file=sys.stderr)


def _print_report(report: Report, output: str) -> None:
    if output == "json":
        print(msgspec.json.encode(report, enc_hook=str).decode())
        return
    rows = [("FILE", "KIND", "EXPIRES", "DAYS", "NAMES")]
    rows += [
        (
            each.file,
            each.kind,
            f"{each.not_after:%Y-%m-%d}" if each.not_after else "-",
            str(each.days_left) if each.days_left is not None else "-",
            ", ".join(each.names) or each.subject or "-",
        )
        for each in report.entries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for problem in report.problems:
        print(f"{problem.file}: {problem.message}")


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected 14d, 36h or 90m")
    unit = {"d": "days", "h": "hours", "m": "minutes"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def _password(path: Path) -> bytes:
    """The first line of a file. Raises `UserError`, `OSError`."""
    password = path.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    if not password:
        raise UserError(f"{path}: the first line is empty; expected the password of ca.key")
    return password
