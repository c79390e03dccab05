"""`wouldblock demo`: the tour, on this machine, in a minute. Certificates, webhook, reviews, log, verdict, latency."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import tempfile
from importlib import resources
from pathlib import Path

import yaml

from webhook import cli
from webhook.annotations import WEBHOOK_NAME
from webhook.demo import tour
from webhook.errors import UserError

WRITES = 40
"""Writes a namespace in the made-up log: more than the evidence that a verdict asks for."""
BAD_WRITES = 3

_EPILOG = """\
example:
  wouldblock demo

Nothing outside a temporary folder is written, only loopback is used, and nothing is left running.
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """The tour; its exit code is 0 when each station did what it says."""
    good, bad, role = yaml.safe_load_all(resources.files("webhook.demo").joinpath("objects.yaml").read_text())
    with tempfile.TemporaryDirectory(prefix="wouldblock-") as folder:
        directory = Path(folder)
        _say("1. Throw-away certificates")
        _quietly("certs", "issue", "--out", folder, "--dns", "localhost", "--ip", "127.0.0.1")
        with tour.running(directory) as webhook:
            _say(f"2. The webhook serves on https://localhost:{webhook.port}/validate")
            _say("3. Three objects are applied. All are admitted; this is what the person at the keyboard sees:")
            for number, document in enumerate((good, bad, role)):
                _show(webhook.post(tour.by_hand(document, number)))
            log = directory / "audit.log"
            _say(
                f"4. {2 * WRITES} more writes, over 16 days, go into an audit log as the API server writes them.\n"
                "   May the policies be enforced?"
            )
            log.write_bytes(_log(webhook, good, bad))
            cli.main(["readiness", str(log)])
            _say("5. How long a review takes (open loop, 500 a second, TLS, two seconds):")
            url = f"https://localhost:{webhook.port}/validate"
            flags = ["--rate", "500", "--duration", "2s", "--windows", "1", "--p99", "10ms"]
            cli.main(["bench", "--url", url, "--ca", str(webhook.ca), *flags])
    _say("Done: nothing is left running.")
    return cli.FINE


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _quietly(*arguments: str) -> None:
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        code = cli.main(arguments)
    if code != cli.FINE:
        raise UserError(f"wouldblock {' '.join(arguments)} failed: {heard.getvalue().strip()}")


def _show(answer: tour.Answer) -> None:
    request = answer.request
    resource = f"{request.kind.kind.lower()}{'.' + request.kind.group if request.kind.group else ''}"
    print(f"\n   $ kubectl apply -f {request.name}.yaml")
    for warning in answer.warnings:
        print(f"   Warning: {warning}")
    print(f"   {resource}/{request.name} created")
    print("   in the API server's audit log:")
    for key, value in sorted(answer.annotations.items()):
        for line in value.splitlines():
            print(f"     {WEBHOOK_NAME}/{key}: {line}")


def _log(webhook: tour.Webhook, good: dict[str, object], bad: dict[str, object]) -> bytes:
    """The audit log of two namespaces: one whose writes are all fit, one where a few are not."""
    end = datetime.datetime.now(datetime.UTC)
    lines = []
    for number in range(WRITES):
        at = end - datetime.timedelta(days=16) * (WRITES - number) / WRITES
        for offset, namespace in enumerate(("shop", "legacy")):
            shape = bad if namespace == "legacy" and number % (WRITES // BAD_WRITES) == 0 else good
            meta = {"name": f"app-{number}", "namespace": namespace}
            document = {**shape, "metadata": {**shape["metadata"], **meta}}  # type: ignore[dict-item]
            lines.append(tour.audit_line(webhook.post(tour.by_hand(document, 2 * number + offset)), at))
    return b"".join(lines)
