"""The README's table: measured, then written between its markers, with the machine's name and every losing row."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks import measure, process, subjects
from benchmarks.host import ROOT
from benchmarks.measure import Row
from webhook.bench import corpus
from webhook.bench.gate import Window
from webhook.bench.machine import describe

README = ROOT / "README.md"


def markers(verb: str) -> tuple[str, str]:
    """The lines of the README between which `python -m benchmarks <verb>` writes."""
    return f"<!-- benchmarks: begin (python -m benchmarks {verb}) -->", "<!-- benchmarks: end -->"


_MIX = ("", "p50", "p99", "p99.9", "rate at p99 < 10 ms", "CPU a review", "RSS", "ready in")
_LOW, _HIGH = (f"CPU at {rate:,}/s" for rate in measure.LOADS)
_ONE = ("", _LOW, "CPU", _HIGH, "p50", "× empty", "CPU, nothing found", "p50", "× empty")


def run(names: Sequence[str] = subjects.NAMES, *, seconds: float = 5.0) -> str:
    """Measures every subject, one after the other, on this machine. Returns the README's text."""
    rows = []
    with process.certificates() as certs:
        for name in names:
            print(f"{name} …", flush=True)
            rows.append(measure.subject(subjects.load(name), certs, seconds=seconds))
        many = subjects.load(subjects.MANY)
        rss, startup = measure.footprint(many, certs)
    return f"{render(rows)}\n{many.label}: {rss:.0f} MB, ready in {startup:.2f} s.\n"


def render(rows: Sequence[Row]) -> str:
    """Markdown: two tables and what they say. The first row is what the others are compared with."""
    sizes = sorted(one.size() for one in corpus.generate(1))
    wheels = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "httptools", "msgspec"))
    parts = [
        f"{describe()}; {wheels}; {datetime.datetime.now(datetime.UTC):%Y-%m-%d}. Server on one CPU, driver on the "
        "other, TLS, one process a subject, all in one run. Open loop: a latency counts from when the review was due.",
        f"{measure.RATE:,} reviews a second of the seeded corpus, {sizes[0] / 1e3:.1f} KB to {sizes[-1] / 1e3:.0f} KB, "
        f"median {sizes[len(sizes) // 2] / 1e3:.1f} KB (the highest rate is exact to 5 %):",
        _markdown(_MIX, [_mix(row) for row in rows]),
        f"One object, {measure.REFERENCE_RATE:,} times a second unless another rate is named: UPDATE of a 10 KB "
        "Deployment of seven containers, a 24 KB review. Policies find something in it and look at the old object, "
        "too; on the right the same with nothing to find. A CPU that sleeps between two reviews wakes up with cold "
        "caches, so that a review costs more the fewer there are:",
        _markdown(_ONE, [_one(row, rows[0]) for row in rows]),
    ]
    if any(row.highest_is_the_drivers for row in rows):
        parts.append("≥: beyond that rate the driver, or a busy machine, was the limit.")
    if any(one.void for row in rows for one in (row.mix, row.reference, row.tidy)):
        parts.append("\\* The machine was busy in every window: noise is in the figure, the subject may be better.")
    return "\n\n".join(parts) + "\n"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ruler, *rows))


def _mix(row: Row) -> list[str]:
    mix = row.mix
    times = [_ms(value, mix) for value in (mix.p50_ms, mix.p99_ms, mix.p999_ms)]
    return [row.label, *times, _rate(row), _cpu(mix), f"{row.rss:.0f} MB", f"{row.startup:.2f} s"]


def _one(row: Row, floor: Row) -> list[str]:
    found, nothing = (
        [_cpu(one), _ms(one.p50_ms, one), f"{one.p50_ms / least.p50_ms:.1f}"]
        for one, least in ((row.reference, floor.reference), (row.tidy, floor.tidy))
    )
    low, high = map(_cpu, row.loads)
    return [row.label, low, found[0], high, *found[1:], *nothing]


def _cpu(window: Window) -> str:
    return f"{window.target_cpu_ms or 0:.3f} ms"


def _rate(row: Row) -> str:
    if not row.highest_rate:
        return "not known" if row.highest_is_the_drivers else "none"
    return f"{'≥ ' if row.highest_is_the_drivers else ''}{row.highest_rate:,}/s"


def _ms(value: float, window: Window) -> str:
    return f"{value:.2f} ms" + (r"\*" if window.void else "")


def insert(text: str, verb: str, path: Path = README) -> None:
    """Writes between the verb's markers. Raises `ValueError` when the file has none."""
    begin, end = markers(verb)
    whole = path.read_text(encoding="utf-8")
    before, found, rest = whole.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(
            f"{path.name}: expected the lines {begin!r} and {end!r}, between which this is written:\n{text}"
        )
    path.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")
