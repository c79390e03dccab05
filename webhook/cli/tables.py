"""Logs or a folder of facts in, the facts table out: what `report`, `tickets` and `compare` share."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from webhook.annotations import WEBHOOK_NAME
from webhook.audit.source import Unreadable
from webhook.audit.verdict import SECOND
from webhook.cli.common import add_webhook_name_flag
from webhook.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def add_flags(parser: argparse.ArgumentParser) -> None:
    """`LOG…`, `--facts`, `--cluster`, `--webhook-name`, `--jobs`."""
    from webhook.cli.evidence import add_jobs_flag

    parser.add_argument("logs", nargs="*", metavar="LOG", help="audit logs, also packed; folders of them; - for stdin")
    group = parser.add_argument_group("evidence")
    group.add_argument("--facts", type=Path, metavar="DIR", help="what `wouldblock facts` has made, instead of logs")
    group.add_argument(
        "--cluster", default="", metavar="NAME", help="which cluster the logs are of (default: what the export says)"
    )
    add_webhook_name_flag(group)
    add_jobs_flag(group)


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[tuple[DuckDBPyConnection, Unreadable]]:
    """(the views of the facts table, what could not be read). Raises `UserError`, `OSError`."""
    # Only here: no --help needs them.
    from webhook.audit.table import engine

    engine.require()
    if bool(args.logs) == bool(args.facts):
        raise UserError("give audit logs or --facts DIR, one of them")
    if args.facts:
        with closing(engine.open_facts(args.facts)) as connection, bounded():
            yield connection, Unreadable()
        return
    with tempfile.TemporaryDirectory(prefix="wouldblock-") as folder:
        unreadable = _read(args, Path(folder))
        some = any(Path(folder).glob("cluster=*/day=*/*.parquet"))
        with closing(engine.open_facts(folder) if some else engine.from_rows([])) as connection, bounded():
            yield connection, unreadable


def growing(args: argparse.Namespace) -> Iterator[tuple[DuckDBPyConnection, Unreadable]]:
    """What `opened` gives, again whenever the logs have grown, at most every `--every`; without end. What is
    asked of it is to be asked within `bounded`. Raises `UserError`, `OSError`."""
    from webhook.audit.fact import Ours
    from webhook.audit.table import engine, store
    from webhook.audit.table.growing import follow

    engine.require()
    if not args.logs:
        raise UserError("--follow needs audit logs")
    source = store.Source(Ours(tuple(args.webhook_name or (WEBHOOK_NAME,))), args.cluster)
    with tempfile.TemporaryDirectory(prefix="wouldblock-") as made:
        folder = Path(made) / "facts"
        for unreadable in follow(folder, args.logs, source, every=args.every / SECOND):
            with closing(engine.open_facts(folder) if folder.exists() else engine.from_rows([])) as connection:
                yield connection, unreadable


@contextmanager
def bounded() -> Iterator[None]:
    """Says as a `UserError` that memory did not suffice."""
    import duckdb

    from webhook.audit.table.engine import MEMORY

    try:
        yield
    except duckdb.OutOfMemoryException:
        raise UserError(
            f"the question needs more memory than DuckDB is given ({MEMORY}): ask for fewer days or clusters at once"
        ) from None


def _read(args: argparse.Namespace, folder: Path) -> Unreadable:
    from webhook.audit.fact import Ours
    from webhook.audit.table import store
    from webhook.cli.progress import Progress
    from webhook.cli.unread import nothing_found

    source = store.Source(Ours(tuple(args.webhook_name or (WEBHOOK_NAME,))), args.cluster)
    with Progress(args.logs) as progress:
        done, unreadable = store.update(folder, args.logs, source, jobs=args.jobs, progress=progress)
    if not (done.records or done.reads or done.other_resources):
        raise nothing_found(args.logs, unreadable)
    return unreadable
