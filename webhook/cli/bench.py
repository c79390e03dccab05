"""`wouldblock bench`: the latency gate for anybody's CI, against any admission webhook."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from webhook.bench import corpus, gate, machine
from webhook.bench.driver import Pool, prepare
from webhook.bench.gate import Load, Report, Verdict, Window
from webhook.bench.target import target
from webhook.errors import UserError

_EPILOG = """\
examples:
  wouldblock bench --url https://127.0.0.1:8443/validate --ca ca.crt --p99 10ms
  wouldblock bench --url https://127.0.0.1:8443/validate --ca ca.crt --server-name wouldblock.wouldblock.svc \\
      --rate 2000 --duration 10s --windows 3 --pid $(pidof -s my-webhook) --output json

Reviews are sent at a constant rate, whatever the webhook does, over as many keep-alive connections as the API
server opens under 50 parallel writers. A latency counts from the moment a review was due, so a webhook that stalls
is charged for all that would have come meanwhile. What is not answered with HTTP 200 and the review's uid counts
as a latency of --timeout. The best window decides.

The driver keeps one CPU busy. A window is void when the driver, or (with --pid) the webhook, waited for a CPU 2 % of
the time or more, or when the driver sent later than a tenth of --p99.

exit codes: 0 p99 is below the limit, 1 it is not, 2 could not run, 3 every window is void: the driver or a busy
machine was the limit, and the webhook is neither passed nor failed
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("--url", required=True, help="the webhook, e.g. https://127.0.0.1:8443/validate")
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="CA that signed its certificate (PEM); default: the system's"
    )
    parser.add_argument(
        "--server-name", default="", metavar="NAME", help="name in its certificate, if not the URL's host"
    )
    parser.add_argument("--p99", type=_seconds, default=0.010, metavar="TIME", help="the limit; default 10ms")
    parser.add_argument("--rate", type=_positive, default=2000.0, metavar="N", help="reviews a second; default 2000")
    parser.add_argument("--duration", type=_seconds, default=10.0, metavar="TIME", help="of a window; default 10s")
    parser.add_argument("--windows", type=_count, default=3, metavar="N", help="the best counts; default 3")
    parser.add_argument("--warmup", type=_seconds_or_none, default=2.0, metavar="TIME", help="not measured; default 2s")
    parser.add_argument(
        "--timeout", type=_seconds, default=2.0, metavar="TIME", help="latency of no answer; default 2s"
    )
    parser.add_argument("--connections", type=_count, default=50, metavar="N", help="kept open; default 50")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the corpus and of its order; default 1")
    parser.add_argument(
        "--corpus", type=Path, metavar="FILE", help="AdmissionReviews, one JSON a line, instead of ours"
    )
    parser.add_argument(
        "--pid", type=int, metavar="PID", help="the webhook's process here: CPU a review, and busy windows"
    )
    parser.add_argument(
        "--cpu", type=int, metavar="N", help="CPU for the driver; default: the last one; -1: not pinned"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    load = Load(
        rate=args.rate,
        duration=args.duration,
        warmup=args.warmup,
        windows=args.windows,
        timeout=args.timeout,
        seed=args.seed,
        limit=args.p99,
        pid=args.pid,
    )
    if load.pid is not None and machine.usage(load.pid) is None:
        raise UserError(f"--pid {load.pid}: no such process here, or its /proc/{load.pid}/task cannot be read")
    where = target(args.url, ca=args.ca, server_name=args.server_name, timeout=load.timeout)
    reviews = corpus.read(args.corpus) if args.corpus else corpus.generate(load.seed)
    with _pinned(args.cpu), Pool(where, args.connections) as pool:
        pool.open(reviews[0], max(5.0, load.timeout))
        report = gate.run(pool, prepare(where, reviews), load, connections=args.connections)
    if args.output == "json":
        print(msgspec.json.format(msgspec.json.encode(_as_json(args.url, reviews, report)), indent=2).decode())
    else:
        print(_as_text(args.url, reviews, report))
    return report.verdict.value


def _pinned(cpu: int | None) -> contextlib.AbstractContextManager[object]:
    """Spinning pays only on a CPU of one's own; with a single CPU the target would wait for us all the time."""
    usable = machine.cpus()
    if cpu is not None and cpu >= 0 and cpu not in usable:
        raise UserError(f"--cpu {cpu}: not usable here; expected one of {', '.join(map(str, usable))}, or -1")
    if len(usable) == 1:
        print("wouldblock: one CPU only: driver and webhook share it, expect void windows", file=sys.stderr)
    if cpu == -1:
        return contextlib.nullcontext()
    return machine.pinned(usable[-1] if cpu is None else cpu)


def _as_json(url: str, reviews: list[corpus.Review], report: Report) -> dict[str, Any]:
    sizes = sorted(review.size() for review in reviews)
    value: dict[str, Any] = {
        "url": url,
        "verdict": report.verdict.name.lower().replace("_", " "),
        "exit_code": report.verdict.value,
        "p99_limit_ms": report.load.limit * 1e3,
        "p99_ms": report.best.p99_ms if report.best else None,
        "rate": report.load.rate,
        "duration_s": report.load.duration,
        "connections": report.connections,
        "seed": report.load.seed,
        "corpus": {
            "reviews": len(reviews),
            "smallest": sizes[0],
            "median": sizes[len(sizes) // 2],
            "largest": sizes[-1],
        },
        "machine": report.machine,
        "windows": report.windows,
    }
    return value


def _as_text(url: str, reviews: list[corpus.Review], report: Report) -> str:
    load = report.load
    sizes = sorted(review.size() for review in reviews)
    lines = [
        f"{url}: {load.rate:g} reviews/s, open loop, {report.connections} TLS connections, "
        f"{load.windows} windows of {load.duration:g} s",
        f"corpus: {len(reviews)} reviews, {sizes[0] / 1e3:.1f} KB to {sizes[-1] / 1e3:.1f} KB, "
        f"median {sizes[len(sizes) // 2] / 1e3:.1f} KB, seed {load.seed}",
        f"machine: {report.machine}",
        "",
        "window      p50      p90      p99    p99.9      max   answers/s  driver lag p99   target CPU",
        *(_row(number, one) for number, one in enumerate(report.windows, start=1)),
        "",
    ]
    for number, one in enumerate(report.windows, start=1):
        lines += [f"window {number} is void: {reason}" for reason in one.void]
        lines += [f"window {number}: {count} × {kind}" for kind, count in sorted(one.failures.items())]
        if one.denied:
            lines.append(f"window {number}: {one.denied} answers deny")
    limit = f"the limit of {load.limit * 1e3:g} ms"
    if report.best is None:
        lines.append(f"NO VERDICT: every window is void, so p99 against {limit} is not known (exit code 3)")
        lines.append("  the driver or a busy machine was the limit: try a lower --rate, or a quieter machine")
    elif report.verdict is Verdict.FINE:
        lines.append(f"fine: p99 {report.best.p99_ms:.2f} ms is below {limit}")
    else:
        lines.append(f"TOO SLOW: p99 {report.best.p99_ms:.2f} ms is not below {limit}")
    return "\n".join(lines)


def _row(number: int, one: Window) -> str:
    cells = "".join(f"{value:>9.2f}" for value in (one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms))
    cpu = "-" if one.target_cpu_ms is None else f"{one.target_cpu_ms:.3f} ms"
    void = "  void" if one.void else ""
    return f"{number:>6}{cells}{one.answered_per_second:>12.0f}{one.lag_p99_ms:>13.3f} ms{cpu:>13}{void}"


_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def _seconds_or_none(text: str) -> float:
    match = _TIME.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number and a unit, e.g. 10ms, 2s, 1m")
    return float(match[1]) * _UNITS[match[2]]


def _seconds(text: str) -> float:
    value = _seconds_or_none(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected more than nothing")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, e.g. 2000")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 10000")
    return int(text)
