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


_HEAD = (
    "",
    "p50",
    "p99",
    "p99.9",
    "rate at p99 < 10 ms",
    "CPU a review",
    "CPU, 24 KB review",
    "p50, 24 KB review",
    "× empty",
    "RSS",
    "ready in",
)


def run(names: Sequence[str] = subjects.NAMES, *, seconds: float = 5.0) -> list[Row]:
    """Measures every subject, one after the other, on this machine."""
    rows = []
    with process.certificates() as certs:
        for name in names:
            print(f"{name} …", flush=True)
            rows.append(measure.subject(subjects.load(name), certs, seconds=seconds))
    return rows


def render(rows: Sequence[Row]) -> str:
    """Markdown. The first row is what the others are compared with."""
    floor = rows[0].reference.p50_ms
    lines = [f"| {' | '.join(_HEAD)} |", f"| {' | '.join(['---', *['---:'] * (len(_HEAD) - 1)])} |"]
    noisy = False
    for row in rows:
        noisy = noisy or bool(row.mix.void or row.reference.void)
        cells = (
            row.label,
            _ms(row.mix.p50_ms, row.mix),
            _ms(row.mix.p99_ms, row.mix),
            _ms(row.mix.p999_ms, row.mix),
            _rate(row),
            f"{row.mix.target_cpu_ms or 0:.3f} ms",
            f"{row.reference.target_cpu_ms or 0:.3f} ms",
            _ms(row.reference.p50_ms, row.reference),
            f"{row.reference.p50_ms / floor:.1f}",
            f"{row.rss:.0f} MB",
            f"{row.startup:.2f} s",
        )
        lines.append(f"| {' | '.join(cells)} |")
    sizes = sorted(one.size() for one in corpus.generate(1))
    wheels = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "httptools", "msgspec"))
    day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    notes = [
        f"{describe()}; {wheels}; {day}. Server on one CPU, driver on the other, TLS, one process a subject, one run. "
        "Open loop: a latency counts from when the review was due.",
        f"The first five columns: {measure.RATE:,} reviews/s of the seeded corpus ({sizes[0] / 1e3:.1f} KB to "
        f"{sizes[-1] / 1e3:.0f} KB, median {sizes[len(sizes) // 2] / 1e3:.1f} KB); the highest rate is to 5 %. "
        f"24 KB review: UPDATE of a 10 KB Deployment of seven containers, {measure.REFERENCE_RATE:,}/s.",
    ]
    if any(row.highest_is_the_drivers for row in rows):
        notes.append("≥: beyond that rate the driver, or a busy machine, was the limit.")
    if noisy:
        notes.append("\\* The machine was busy in every window: noise is in the figure, the subject may be better.")
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


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
