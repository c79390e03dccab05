"""`python -m benchmarks gate | instructions | latency | cost | table | apiserver | audit | cel`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import cost, gate, instructions, subjects, table

_EPILOG = """\
examples:
  python -m benchmarks gate                               both gates, as CI runs them (make bench)
  python -m benchmarks gate --sabotage                    both gates on subjects that must turn them red
  python -m benchmarks instructions --update              record this environment's instruction counts, on purpose
  python -m benchmarks latency --rate 4000                the latency gate alone, at another rate
  python -m benchmarks cost                               which shipped policy costs what
  python -m benchmarks table                              measure everything, write the README's table
  python -m benchmarks apiserver                          what a writer feels, at a real API server
  python -m benchmarks audit --size 2000                  2 GB of audit log, beside grep, gzip, DuckDB, Polars, jq
  python -m benchmarks cel                                CEL by hand, by us and by others (make bench-cel)
  python -m benchmarks table --print empty pod_security   some rows, to look at

exit codes: 0 fine (or nothing could be held against this machine: said loudly), 1 a gate is red, 2 could not run
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.description = "Our own subjects: gates, instruction counts, the README's table."
    verbs = parser.add_subparsers(dest="verb", required=True)

    both = verbs.add_parser("gate", help="the instruction gate, then the latency gate")
    both.add_argument("--sabotage", action="store_true", help="on subjects with a fault; 0 when each gate was red")

    counts = verbs.add_parser("instructions", help="instructions a review against baseline.json")
    counts.add_argument("names", nargs="*", metavar="SUBJECT", help=f"default: {', '.join(subjects.NAMES)}")
    counts.add_argument("--update", action="store_true", help="record instead of comparing")

    latency = verbs.add_parser("latency", help="p99 < 10 ms with the shipped set")
    latency.add_argument("--subject", default="shipped", choices=(*subjects.NAMES, *subjects.SABOTAGED))
    latency.add_argument("--rate", type=int, default=2000)

    verbs.add_parser("cost", help="CPU a review of each shipped policy alone")

    rows = verbs.add_parser("table", help="measure all subjects, write the README's table")
    rows.add_argument("names", nargs="*", metavar="SUBJECT", help="default: all")
    writer = verbs.add_parser("apiserver", help="write latency with and without the webhook, on a real API server")
    writer.add_argument("--writes", type=int, default=300)
    logs = verbs.add_parser("audit", help="reading audit logs, beside what else could")
    logs.add_argument("--size", type=int, default=2000, metavar="MB", help="of the raw log (default %(default)s)")
    logs.add_argument("--cpus", type=int, default=2, help="for everyone (default %(default)s)")
    logs.add_argument("--rounds", type=int, default=3, help="of which the best counts (default %(default)s)")
    logs.add_argument("--folder", type=Path, help="where the log is written (default: the system's temporary folder)")
    others = verbs.add_parser("cel", help="a hundred CEL expressions: by hand, compiled, and by other implementations")
    others.add_argument("names", nargs="*", metavar="ENGINE", help="default: all that are installed")
    others.add_argument("--no-instructions", action="store_true", help="without callgrind")
    for verb in (rows, writer, logs, others):
        verb.add_argument("--print", action="store_true", help="to stdout only, not into the README")
        verb.add_argument("--readme", type=Path, default=table.README)

    args = parser.parse_args()
    try:
        return _run(args)
    except (RuntimeError, ValueError, ModuleNotFoundError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    match args.verb:
        case "gate" if args.sabotage:
            return sabotage()
        case "gate":
            return max(instructions.gate(subjects.NAMES), _held(gate.latency()))
        case "instructions":
            return instructions.gate(args.names or subjects.NAMES, update=args.update)
        case "latency":
            return _held(gate.latency(args.subject, rate=args.rate))
        case "cost":
            print(cost.render(cost.run()))
            return 0
        case "audit":
            from benchmarks import audit

            text = audit.run(args.size * 1_000_000, cpus=args.cpus, rounds=args.rounds, folder=args.folder)
        case "apiserver":
            # Needs the end-to-end tests' control plane; the other verbs do not.
            from benchmarks import apiserver

            text = apiserver.render(apiserver.run(writes=args.writes))
        case "cel":
            # As above: cel-go is asked through that control plane.
            from benchmarks import cel

            text = cel.run(args.names, instructions=not args.no_instructions)
        case _:
            text = table.run(args.names or subjects.NAMES)
    print(text)
    if not args.print:
        table.insert(text, args.verb, args.readme)
    return 0


def _held(code: int) -> int:
    """A busy machine is loud, not red."""
    return 0 if code == gate.VOID else code


def sabotage() -> int:
    """Sees both gates red: a gate that cannot fail holds nothing back. Returns 0 when both were.

    The sleepy endpoint goes through the latency gate; the looping subject is held against what it is without its loop.
    """
    slow = gate.latency("sleepy", rate=200, seconds=2.0)
    counted = instructions.count(("pod_security", "extra_loop"))
    problems = instructions.compare({"pod_security": counted["extra_loop"]}, counted)
    for problem in problems:
        print(problem)
    if slow == gate.VOID:
        print("*** The latency gate was NOT seen red: the machine was too busy for any verdict. ***")
    red = slow != 0 and bool(problems)
    print("the gates saw their faults" if red else "FAILED: a gate did not see the fault it is there for")
    return 0 if red else 1


if __name__ == "__main__":
    sys.exit(main())
