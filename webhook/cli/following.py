"""`--follow` and `--every`, for the verbs that go on as logs grow."""

from __future__ import annotations

import argparse

from webhook.audit.verdict import SECOND
from webhook.cli.evidence import span


def add_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, what: str) -> None:
    """`what` is printed again and again."""
    parser.add_argument(
        "--follow", action="store_true", help="go on reading as the logs grow, across rotation; Ctrl-C ends it"
    )
    parser.add_argument(
        "--every",
        type=span,
        default=60 * SECOND,
        metavar="TIME",
        help=f"with --follow: how often {what} printed again, if anything has been written (default 1m)",
    )
