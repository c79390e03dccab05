"""A report over millions of facts: how long it takes, and how much memory.

`python -m benchmarks.audit_facts --rows 10000000`: generates rows of the facts table (seeded), puts them into a folder
by the code that `wouldblock facts` runs, and asks `wouldblock report` of it. One process a step, so that each step's
peak memory is its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from webhook.audit.fact import Ours
from webhook.audit.table import engine, store
from webhook.audit.table.schema import COLUMNS, sql_type

DAYS, NAMESPACES, POLICIES = 30, 400, 40
START = "TIMESTAMPTZ '2026-10-01 00:00:00+00'"


def generate(rows: int, path: Path, seed: int, *, workloads: int, violating: int) -> None:
    """About `rows` rows: of the writes of `workloads` workloads in each namespace, of whom `violating` of 100 violate
    one to five policies with each write, every fourth of them until it is mended; and some blind spots. The order is
    not that of time.
    """
    # A write makes a row, in a fiftieth of cases one for a blind spot, and three findings where its workload violates.
    writes = round(rows / (1.02 + 0.03 * violating * 0.98 * (1 - 0.25 / 2)))
    values = {
        "cluster": "'prod'",
        "day": "(time AT TIME ZONE 'UTC')::DATE",
        "time": "time",
        "audit_id": "format('{:08x}-0000-4000-8000-{:012x}', h & 4294967295, i)",
        "request": "hash(i)",
        "kind": "kind",
        "source": "if(kind = 'finding', 'wouldblock', '')",
        "policy": f"if(kind = 'finding', format('policy-{{}}', (hash(w) + number) % {POLICIES}), '')",
        "result": "CASE kind WHEN 'write' THEN if(h % 50 = 0, 'failed_open', 'reviewed') WHEN 'finding' THEN "
        "if(w % 20 = 0, 'exempted', 'violation') ELSE 'failed_open' END",
        "message": "if(kind = 'finding', format('container \"c{}\" has no memory limit', h % 7), '')",
        "operation": "if(h % 3 = 0, 'UPDATE', 'CREATE')",
        "group": "if(h % 8 = 0, 'apps', '')",
        "version": "'v1'",
        "resource": "if(h % 8 = 0, 'deployments', 'pods')",
        "namespace": f"format('team-{{}}', w % {NAMESPACES})",
        "root_kind": "'Deployment'",
        "root_name": f"format('app-{{}}', w // {NAMESPACES})",
        "user": "format('user-{}@example.com', h % 200)",
        "client": "if(h % 8 = 0, ['kubectl', 'argocd', 'helm'][(1 + w % 3)::BIGINT], 'kube-controller-manager')",
        "by_controller": "h % 8 <> 0",
        "code": "201",
        "set_digest": "'set-1'",
        "requests": "1",
        "stage": "'ResponseComplete'",
        "trial": "if(h % 8 = 0, '', format('{:x}', hash(w, day // 7) & 1048575))",
        "evaluated": "'ffffffffff'",
        "weight": "h",
    }
    empty = {"words": "''", "text": "''", "bool": "false"}
    columns = ", ".join(
        f'CAST({values.get(each.name, empty.get(each.type, "0"))} AS {sql_type(each)}) AS "{each.name}"'
        for each in COLUMNS
    )
    span = DAYS * 86_400_000_000
    query = f"""
        WITH written AS (
            SELECT i, hash(i, {seed}) AS h, hash(i, {seed}, 'w') % {NAMESPACES * workloads} AS w,
                (hash(i, {seed}, 't') % {span})::BIGINT AS since, since // 86400000000 AS day,
                {START} + to_microseconds(since) AS time
            FROM range({writes}) AS each(i)
        )
        SELECT {columns} FROM (
            SELECT *, 'write' AS kind, 0 AS number FROM written
            UNION ALL
            SELECT *, 'finding' AS kind, unnest(range((1 + hash(w, 'n') % 5)::BIGINT)) AS number FROM written
            WHERE h % 50 <> 0 AND hash(w, 'v') % 100 < {violating} AND (hash(w, 'f') % 4 <> 0 OR since < {span // 2})
            UNION ALL SELECT *, 'blind' AS kind, 0 AS number FROM written WHERE h % 50 = 0
        )"""  # noqa: S608 - only our own texts go in
    with engine.connect() as connection:
        connection.execute(f"COPY ({query}) TO {engine.quoted(str(path))} (FORMAT parquet)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="about as many (default %(default)s)")
    parser.add_argument("--workloads", type=int, default=25, help="in each of the namespaces (default %(default)s)")
    parser.add_argument("--violating", type=int, default=30, metavar="PERCENT", help="of them (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="to keep the facts in (default: they are removed)")
    parser.add_argument("--step", choices=("generate", "put", "report"), help="only this one, in --folder")
    args = parser.parse_args()
    if args.step:
        return _step(args)
    from benchmarks.audit import as_installed  # only here: what it needs is no part of a step

    as_installed()
    with tempfile.TemporaryDirectory() as made:
        for step in ("generate", "put", "report"):
            line = [sys.executable, "-m", "benchmarks.audit_facts", "--step", step, "--folder", args.folder or made]
            for name in ("rows", "workloads", "violating", "seed"):
                line += [f"--{name}", str(getattr(args, name))]
            subprocess.run(list(map(str, line)), check=True)
    return 0


def _step(args: argparse.Namespace) -> int:
    staged, out = args.folder / "staged.parquet", args.folder / "facts"
    start, cpu = time.perf_counter(), time.process_time()
    what = ""
    if args.step == "generate":
        args.folder.mkdir(parents=True, exist_ok=True)
        generate(args.rows, staged, args.seed, workloads=args.workloads, violating=args.violating)
    elif args.step == "put":
        done = store.put(out, staged, store.Source(Ours(("check.wouldblock.dev",))))
        staged.unlink()
        what = f"{done.rows:,} rows; "
    else:
        from webhook import cli

        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            cli.main(["report", "--facts", str(out)])
        what = f"{shown.getvalue().partition(chr(10))[0]}; "
    took, used = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.step}: {what}{took:.2f} s, {used:.2f} s of CPU, peak {peak:.0f} MB", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
