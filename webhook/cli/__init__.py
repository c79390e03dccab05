"""The command `wouldblock`: one module a verb, imported only when its verb is called.

A verb's module has `register(parser)` and `run(args) -> int`. Exit codes: 0 fine, 1 found something, 2 could
not do it. Only this package prints.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from webhook import __version__
from webhook.errors import InvalidInput, UserError

FINE, FOUND, FAILED = 0, 1, 2

VERBS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "answer the API server's admission reviews; always admits"),
    "review": ("review", "check manifests or AdmissionReviews from files, offline"),
    "backtest": ("backtest", "try changed policies on the reviews that `serve --record` wrote"),
    "policies": ("policies", "list, show, validate, explain, test and start policies"),
    "cel": ("cel", "evaluate CEL expressions as the API server does"),
    "webhook-config": ("webhook_config", "print the ValidatingWebhookConfiguration that the policies need"),
    "certs": ("certs", "issue certificates, and say which expire when"),
    "readiness": ("readiness", "read audit logs: may this policy be enforced in this namespace?"),
    "report": ("report", "read audit logs: who would be blocked, by team and policy; also as one HTML page"),
    "compare": ("compare", "read audit logs: did enforcement refuse what was predicted, and nothing else?"),
    "tickets": ("tickets", "read audit logs: who has to mend what until when, as files and alerts"),
    "upgrade": ("upgrade", "read audit logs: who still calls APIs that the next release removes?"),
    "facts": ("facts", "read audit logs into one flat table: Parquet, by day"),
    "promote": ("promote", "print the objects that enforce a policy"),
    "demo": ("demo", "a tour on this machine: certificates, webhook, warnings, audit log, verdict, latency"),
    "bench": ("bench", "gate an admission webhook's latency, open loop"),
}

_EPILOG = """\
start here:
  wouldblock review deployment.yaml          what would be blocked, and how to fix it
  wouldblock serve --tls-cert tls.crt --tls-key tls.key
  wouldblock readiness /var/log/kubernetes/audit.log

exit codes: 0 fine, 1 found something, 2 could not do it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code. Never a traceback for what a user did."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except InvalidInput as error:
        print(f"{error}\nwouldblock: {len(error.problems)} problem(s), nothing was done", file=sys.stderr)
        return FAILED
    except UserError as error:
        print(f"wouldblock: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output left (`| head`): nothing to say, and nowhere to say it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FINE
        where = f"{error.filename}: " if error.filename else ""
        print(f"wouldblock: {where}{(error.strerror or str(error)).lower()}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wouldblock",
        description="An admission webhook that never blocks, and the tools that read what it said.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wouldblock {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    for verb, (module, summary) in VERBS.items():
        sub = verbs.add_parser(verb, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.description = summary[0].upper() + summary[1:] + ("" if summary.endswith("?") else ".")
        if verb == asked:
            importlib.import_module(f"webhook.cli.{module}").register(sub)
    args = parser.parse_args(arguments)
    code: int = importlib.import_module(f"webhook.cli.{VERBS[args.verb][0]}").run(args)
    return code
