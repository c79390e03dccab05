"""Figures over millions of facts: how long they take, and how much memory, in bounded engines.

`python -m benchmarks.audit_facts --rows 10000000`: generates rows of the facts table (seeded), puts them into a folder
by the code that `wouldblock facts` runs, and asks it what a report asks. One process a step, so that each step's peak
memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from webhook.audit.fact import Ours
from webhook.audit.table import engine, store
from webhook.audit.table.schema import COLUMNS, sql_type

DAYS, NAMESPACES, WORKLOADS, POLICIES = 30, 400, 25, 40
START = "TIMESTAMPTZ '2026-10-01 00:00:00+00'"

QUESTIONS = {
    "workloads that would be blocked, by policy and namespace": """
        SELECT policy, namespace, count(DISTINCT (root_kind, root_name)), count(*), min(time), max(time)
        FROM findings WHERE result IN ('violation', 'error') AND NOT rejected AND NOT dry_run GROUP BY ALL""",
    "by client": """
        SELECT client, count(DISTINCT (namespace, root_kind, root_name)), count(*) FROM findings
        WHERE result = 'violation' GROUP BY ALL""",
    "trend": "SELECT day, policy, count(DISTINCT (namespace, root_name)) FROM findings GROUP BY ALL",
    "coverage": "SELECT namespace, result, count(*) FROM writes WHERE NOT rejected AND NOT dry_run GROUP BY ALL",
    "blind spots": "SELECT result, reason, count(*) FROM blind GROUP BY ALL",
}


def generate(rows: int, path: Path, seed: int) -> None:
    """Six writes, three findings and a blind spot of ten rows; the order is not that of time."""
    writes = rows * 6 // 10
    values = {
        "cluster": "'prod'",
        "day": "(time AT TIME ZONE 'UTC')::DATE",
        "time": "time",
        "audit_id": "format('{:08x}-0000-4000-8000-{:012x}', h & 4294967295, i)",
        "request": "hash(i)",
        "kind": "kind",
        "source": "if(kind = 'finding', 'wouldblock', '')",
        "policy": f"if(kind = 'finding', format('policy-{{}}', hash(h, 'p') % {POLICIES}), '')",
        "result": "CASE kind WHEN 'write' THEN if(h % 50 = 0, 'failed_open', 'reviewed') WHEN 'finding' THEN "
        "if(h % 20 = 0, 'exempted', 'violation') ELSE 'failed_open' END",
        "message": "if(kind = 'finding', format('container \"c{}\" has no memory limit', h % 7), '')",
        "operation": "if(h % 3 = 0, 'UPDATE', 'CREATE')",
        "group": "if(h % 2 = 0, 'apps', '')",
        "version": "'v1'",
        "resource": "if(h % 2 = 0, 'deployments', 'pods')",
        "namespace": f"format('team-{{}}', h % {NAMESPACES})",
        "root_kind": "'Deployment'",
        "root_name": f"format('app-{{}}', hash(h % 1000003) % {WORKLOADS})",
        "user": "format('user-{}@example.com', h % 200)",
        "client": "['kubectl', 'argocd', 'helm', 'kube-controller-manager'][(1 + h % 4)::BIGINT]",
        "by_controller": "h % 4 = 3",
        "code": "201",
        "set_digest": "'set-1'",
        "requests": "1",
        "stage": "'ResponseComplete'",
        "evaluated": "'ffffffffff'",
        "weight": "h",
    }
    empty = {"words": "''", "text": "''", "bool": "false"}
    columns = ", ".join(
        f'CAST({values.get(each.name, empty.get(each.type, "0"))} AS {sql_type(each)}) AS "{each.name}"'
        for each in COLUMNS
    )
    span = DAYS * 86_400_000_000
    one = f"SELECT i, hash(i, {seed}) AS h, {START} + to_microseconds((hash(i, {seed}) % {span})::BIGINT) AS time"
    query = f"""
        SELECT {columns} FROM (
            {one}, 'write' AS kind FROM range({writes}) AS each(i)
            UNION ALL {one}, 'finding' AS kind FROM range({rows * 3 // 10}) AS each(i)
            UNION ALL {one}, 'blind' AS kind FROM range({rows - writes - rows * 3 // 10}) AS each(i))"""  # noqa: S608 - only our own texts go in
    with engine.connect() as connection:
        connection.execute(f"COPY ({query}) TO {engine.quoted(str(path))} (FORMAT parquet)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=("generate", "put", "ask"))
    args = parser.parse_args()
    if args.step:
        return _step(args)
    with tempfile.TemporaryDirectory() as folder:
        for step in ("generate", "put", "ask"):
            subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.audit_facts", "--rows", str(args.rows)),
                    *("--seed", str(args.seed), "--folder", folder, "--step", step),
                ],
                check=True,
            )
    return 0


def _step(args: argparse.Namespace) -> int:
    staged, out = args.folder / "staged.parquet", args.folder / "facts"
    start = time.perf_counter()
    if args.step == "generate":
        generate(args.rows, staged, args.seed)
    elif args.step == "put":
        done = store.put(out, staged, store.Source(Ours(("check.wouldblock.dev",))))
        assert done.rows == args.rows
    else:
        with engine.open_facts(out) as connection:
            for name, question in QUESTIONS.items():
                begin = time.perf_counter()
                found = connection.execute(question).fetchall()
                print(f"  {time.perf_counter() - begin:6.2f} s  {name} ({len(found)} rows)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.step}: {time.perf_counter() - start:.2f} s, peak {peak:.0f} MB", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
