"""How fast audit logs are read, beside what else could read them: one question, one run, the same files.

The question: how many reviewed writes to Deployments are there, and how many events? It is answered from a raw log and
from its gzip by `wouldblock` (by way of all its facts), DuckDB and Polars with an explicit schema, and jq. `grep -c`
and `gzip -dc` do less, and are the floor. Every contender runs by itself, pinned to the same CPUs. Its memory is the
peak of all its processes together, looked at thirty times a second, what they share counted once (PSS), in one more
run: to look costs CPU, which would be in the time. Contenders that are not installed are named.
"""

from __future__ import annotations

import compileall
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks import audit_log
from benchmarks.audit_log import Planted
from benchmarks.audit_memory import Peak
from benchmarks.host import ROOT
from webhook.bench.machine import describe

ROUNDS = 3
BUSY = 1.3
"""Seconds for a second of CPU of what does nothing but compute, from which on the machine has not been ours."""


@dataclasses.dataclass(frozen=True)
class Contender:
    label: str
    command: Callable[[Path, int], Sequence[str] | str]
    """(file, CPUs) → what is run; a string goes to the shell."""
    answers: bool = True
    """Whether its output is the answer, `<reviewed writes> <events>`."""
    packed: bool = True
    """Whether it reads gzip."""
    limit: int = 1 << 62
    """Bytes beyond which it is not waited for."""


@dataclasses.dataclass(frozen=True)
class Timing:
    label: str
    seconds: float
    cpu: float
    """Seconds of all its processes: what a busy machine does not change much."""
    rss_mb: float
    note: str = ""


def _python(code: str) -> Callable[[Path, int], Sequence[str]]:
    return lambda file, cpus: [sys.executable, "-c", code, str(file), str(cpus)]


OURS = """
import sys
from benchmarks.audit_count import count
print(*count(sys.argv[1], int(sys.argv[2])))
"""
DUCKDB = """
import sys, duckdb
duckdb.execute(f"SET threads = {sys.argv[2]}; SET enable_progress_bar = false")
print(*duckdb.execute(\"\"\"
    SELECT count(*) FILTER (verb = 'update' AND objectRef.resource = 'deployments'
                            AND annotations['check.wouldblock.dev/reviewed'] IS NOT NULL), count(*)
    FROM read_json(?, format='newline_delimited', ignore_errors=true, columns={
        verb: 'VARCHAR', stage: 'VARCHAR', auditID: 'VARCHAR', requestURI: 'VARCHAR',
        objectRef: 'STRUCT(resource VARCHAR, namespace VARCHAR, name VARCHAR, apiGroup VARCHAR)',
        responseStatus: 'STRUCT(code INTEGER)', requestReceivedTimestamp: 'VARCHAR',
        annotations: 'MAP(VARCHAR, VARCHAR)'})
    WHERE auditID IS NOT NULL
\"\"\", [sys.argv[1]]).fetchone())
"""
POLARS = """
import os, sys
os.environ["POLARS_MAX_THREADS"] = sys.argv[2]
import polars as pl
S = pl.String
schema = {"verb": S, "stage": S, "auditID": S, "requestURI": S, "requestReceivedTimestamp": S,
          "objectRef": pl.Struct({"resource": S, "namespace": S, "name": S, "apiGroup": S}),
          "responseStatus": pl.Struct({"code": pl.Int32}),
          "annotations": pl.Struct({"check.wouldblock.dev/reviewed": S})}
frame = pl.scan_ndjson(sys.argv[1], schema=schema, ignore_errors=True)
reviewed = ((pl.col("verb") == "update") & (pl.col("objectRef").struct.field("resource") == "deployments")
            & pl.col("annotations").struct.field("check.wouldblock.dev/reviewed").is_not_null())
asked = frame.filter(pl.col("auditID").is_not_null()).select(reviewed.sum(), pl.len())
print(*asked.collect(engine="streaming").row(0))
"""
JQ = (
    '{cat} {file} | jq -R \'fromjson? | if .auditID then (if .verb == "update" and .objectRef.resource == '
    '"deployments" and .annotations["check.wouldblock.dev/reviewed"] then 1 else 0 end) else empty end\' '
    "| awk '{{n += $1}} END {{print n, NR}}'"
)

CONTENDERS = (
    Contender("grep -c", lambda file, _: ["grep", "-c", "/reviewed", str(file)], answers=False, packed=False),
    Contender("gzip -dc", lambda file, _: ["gzip", "-dc", str(file)], answers=False),
    Contender("wouldblock", _python(OURS)),
    Contender("DuckDB read_json, schema", _python(DUCKDB)),
    Contender("Polars scan_ndjson, schema", _python(POLARS), packed=False),
    Contender(
        "jq",
        lambda file, _: JQ.format(cat="zcat" if file.suffix == ".gz" else "cat", file=file),
        limit=300_000_000,
    ),
)
_NEEDS = {"DuckDB read_json, schema": "duckdb", "Polars scan_ndjson, schema": "polars"}


def run(size: int, *, cpus: int, rounds: int = ROUNDS, folder: Path | None = None) -> str:
    """Writes a log of that size, lets everyone read it, and returns Markdown. Raises `ValueError` on a wrong answer."""
    as_installed()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        raw, packed = Path(made) / "audit.log", Path(made) / "audit.log.gz"
        # Without damage: Polars ends at the first line that is not JSON.
        planted = audit_log.write(raw, size, trouble=0.0)
        with packed.open("wb") as file:
            subprocess.run(["gzip", "-6", "-c", str(raw)], stdout=file, check=True)
        parts = [
            f"{describe()}; {cpus} CPUs; {raw.stat().st_size / 1e6:,.0f} MB, {planted.records:,} records, "
            f"{planted.events:,} of them of writes; best of {rounds}, page cache warm."
        ]
        for name, path in (("raw", raw), ("gzip", packed)):
            timings = [measured(each, path, planted, cpus=cpus, rounds=rounds) for each in CONTENDERS]
            parts.append(render(name, raw.stat().st_size, [each for each in timings if each is not None]))
        parts.append(growth(raw, cpus=cpus, rounds=rounds))
        floor = measured(CONTENDERS[0], raw, planted, cpus=cpus, rounds=1)
        if floor is not None and floor.seconds > BUSY * floor.cpu:
            parts.append("The machine was busy with other things: the CPU is each one's own, the time is not.")
    return "\n\n".join(parts) + "\n"


def as_installed() -> None:
    """Compiles our modules to bytecode, as whoever installs them has done, also where Python is told not to keep it
    (`PYTHONDONTWRITEBYTECODE`): else every run would begin with that."""
    for package in ("benchmarks", "webhook"):
        compileall.compile_dir(ROOT / package, quiet=2)


def growth(log: Path, *, cpus: int, rounds: int) -> str:
    """What `wouldblock` needs for less and less of the log. Markdown."""
    ours = next(each for each in CONTENDERS if each.label == "wouldblock")
    rows = ["| wouldblock, by size | time | CPU | CPU a GB | memory |", "| --- |" + " ---: |" * 4]
    size, part = log.stat().st_size, log.with_name("part.log")
    for wanted in sorted({min(each, size) for each in (10_000_000, 100_000_000, 1_000_000_000, size)}):
        with log.open("rb") as whole, part.open("wb") as file:
            while (left := wanted - file.tell()) > 0:
                file.write(whole.read(min(left, 1 << 20)))
        command = ours.command(part, cpus)
        took = [_timed(ours, command, cpus) for _ in range(rounds)]
        seconds, cpu = min(each[0] for each in took), min(each[1] for each in took)
        rss = _peak(ours, command, cpus)
        rows.append(
            f"| {wanted / 1e6:,.0f} MB | {seconds:.2f} s | {cpu:.2f} s | {cpu / wanted * 1e9:.2f} s | {rss:,.0f} MB |"
        )
    part.unlink()
    return "\n".join(rows)


def measured(each: Contender, file: Path, planted: Planted, *, cpus: int, rounds: int) -> Timing | None:
    """None for a contender that does not read this."""
    is_packed = file.suffix == ".gz"
    if (is_packed and not each.packed) or (each.label == "gzip -dc" and not is_packed):
        return None
    command = each.command(file, cpus)
    program = command.split("|")[1].split()[0] if isinstance(command, str) else command[0]
    missing = _NEEDS.get(each.label)
    if (missing and find_spec(missing) is None) or shutil.which(program) is None:
        return Timing(each.label, 0, 0, 0, "not installed")
    if planted.size > each.limit:
        return Timing(each.label, 0, 0, 0, f"not waited for beyond {each.limit / 1e6:,.0f} MB")
    best, least = float("inf"), float("inf")
    for _ in range(rounds):
        seconds, cpu, out = _timed(each, command, cpus)
        best, least = min(best, seconds), min(least, cpu)
        if each.answers and (problem := check(out, planted)):
            raise ValueError(f"{each.label} on {file.name}: {problem}")
    return Timing(each.label, best, least, _peak(each, command, cpus))


def check(out: str, planted: Planted) -> str:
    """What is wrong with an answer; empty when it is the planted one."""
    numbers = [int(float(each)) for each in out.split()]
    events = planted.reads + planted.leases + planted.events
    if len(numbers) != 2 or numbers != [planted.reviewed, events]:
        return f"answered {out.strip()!r}; planted were {planted.reviewed} reviewed of {events} events"
    return ""


def _timed(each: Contender, command: Sequence[str] | str, cpus: int) -> tuple[float, float, str]:
    """(seconds, CPU seconds, what it printed)."""
    began = time.perf_counter()
    with _running(each, command, cpus) as process:
        out = process.stdout.read() if process.stdout is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    return took, usage.ru_utime + usage.ru_stime, out.decode()


def _peak(each: Contender, command: Sequence[str] | str, cpus: int) -> float:
    """MB that its processes take together, at most."""
    with _running(each, command, cpus) as process:
        peak = Peak(process.pid)
        process.communicate()
        peak.end()
    return peak.megabytes


@contextmanager
def _running(each: Contender, command: Sequence[str] | str, cpus: int) -> Iterator[subprocess.Popen[bytes]]:
    """Whoever takes it waits for its end. Raises `RuntimeError` when that is a bad one."""
    available = sorted(os.sched_getaffinity(0))[:cpus]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["sh", "-c", command] if isinstance(command, str) else list(command),
            stdout=subprocess.DEVNULL if each.label == "gzip -dc" else subprocess.PIPE,  # grep stops early if unheard
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: os.sched_setaffinity(0, available),
        )
        yield process
        if process.stdout is not None:
            process.stdout.close()
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{each.label}: {errors.read()[-500:].decode(errors='replace')}")


def render(name: str, size: int, timings: Sequence[Timing]) -> str:
    ours = next(each for each in timings if each.label == "wouldblock")
    rows = [
        f"| {name} | time | text a second | × wouldblock | CPU | × wouldblock | memory |",
        "| --- |" + " ---: |" * 6,
    ]
    for each in timings:
        if each.note:
            rows.append(f"| {each.label} | {each.note} | | | | | |")
        else:
            rows.append(
                f"| {each.label} | {each.seconds:.2f} s | {size / each.seconds / 1e9:.2f} GB | "
                f"{each.seconds / ours.seconds:.2f} | {each.cpu:.2f} s | {each.cpu / ours.cpu:.2f} | "
                f"{each.rss_mb:,.0f} MB |"
            )
    return "\n".join(rows)
