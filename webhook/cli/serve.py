"""`wouldblock serve`: the webhook."""

from __future__ import annotations

import argparse

from webhook import settings

_EPILOG = """\
examples:
  wouldblock certs issue --out certs --dns localhost
  wouldblock serve --tls-cert certs/tls.crt --tls-key certs/tls.key            the shipped policies, on 8443
  wouldblock serve --tls-cert tls.crt --tls-key tls.key --policies /etc/wouldblock/policies --snapshot /var/snapshot

Each flag is an environment variable too (in brackets); several paths are separated by a colon there.
A policy that cannot be loaded is left out, and named by the log, by /readyz and by a metric.
SIGTERM drains: not ready, `Connection: close`, until nobody is connected or --drain-seconds have passed.

exit codes: 0 ended by a signal, 2 could not start
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    settings.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Raises `UserError`, `OSError`."""
    read = settings.read(args)
    from webhook.serve import server  # uvicorn and Starlette: not before the settings are known to be good

    return server.run(read)
