"""`python -m benchmarks cel`: the README's block about CEL. Measured in one run, every losing figure included."""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import cel_counts, cel_race, cel_reviews
from benchmarks.cel_counts import Counts
from benchmarks.cel_engines import LABELS, OWN
from benchmarks.cel_objects import deployments, size
from benchmarks.cel_race import Race
from benchmarks.cel_reviews import Reviews
from webhook.bench.machine import describe

COUNTED = ("hand", "compiled", "policies")


def run(names: Sequence[str] = (), *, instructions: bool = True) -> str:
    """Measures everything, about five minutes. Raises `RuntimeError` for an answer that is not the hand's, `ValueError`
    for an unknown engine."""
    unknown = set(names) - set(cel_race.SUBJECTS)
    if unknown:
        raise ValueError(f"no engine {min(unknown)!r}; there are {', '.join(cel_race.SUBJECTS)}")
    chosen = [each for each in cel_race.SUBJECTS if not names or each in names or each == "hand"]
    objects = deployments()
    with tempfile.TemporaryDirectory(prefix="wouldblock-cel-") as folder:
        file = Path(folder, "objects.json")
        file.write_bytes(msgspec.json.encode(objects))
        print(f"{', '.join(chosen)} …", flush=True)
        found = cel_race.race(objects, file, chosen)
        counts: Counts = {}
        if instructions:
            print("instructions …", flush=True)
            counts = cel_counts.count([each for each in COUNTED if each in chosen], file)
    print("reviews …", flush=True)
    text = render(found, counts, cel_reviews.measure(), {name: size(each) for name, each in objects.items()})
    for name, why in found.absent.items():
        print(f"*** {LABELS[name]} is NOT in it: {why}", file=sys.stderr)
    return text


def render(race: Race, counts: Counts, reviews: Reviews, sizes: dict[str, int]) -> str:
    """Markdown."""
    wheels = f"Python {sys.version.split()[0]}, google-re2 {version('google-re2')}, msgspec {version('msgspec')}"
    weights = ", ".join(f"{name}: {count / 1e3:.1f}" for name, count in sizes.items())
    parts = [
        f"{describe()}; {wheels}; {datetime.datetime.now(datetime.UTC):%Y-%m-%d}. A hundred expressions of policies "
        f"({race.failing} of them false on the middle object) on one decoded Deployment of ({weights}) KB. CPU, one "
        "process a subject, all in one run and turn by turn; every subject gave the same hundred answers first. × is "
        "against plain Python by hand, in the median round; ‘taking’ is what a subject makes of the object before it "
        "can evaluate, once a review, and is not in the other figure.",
        _race(race),
    ]
    if "cpp" in race.times:
        idle = min(race.times["cpp"][race.sizes[1]].idle, default=0.0)
        parts.append(
            f"cel-cpp's binding converts what an expression touches while it evaluates it; the hundred calls alone, "
            f"with nothing to evaluate, are {_time(idle)} of its figure."
        )
    if "go" in race.times:
        parts.append(
            "cel-go is asked as the API server asks it: one condition of a hundred expressions, typed object, limits "
            "in force; its garbage collector is in the figure, ‘taking’ is decoding, defaulting and conversion."
        )
    if counts:
        parts += [
            "Instructions for all hundred (callgrind; no noise moves them), and against by hand:",
            _counts(counts),
        ]
    if race.absent:
        left_out = "; ".join(f"{LABELS[name]} ({why})" for name, why in race.absent.items())
        parts.append(f"Not measured: {left_out}.")
    return "\n\n".join([*parts, *_reviews(reviews)]) + "\n"


def _race(race: Race) -> str:
    head = ["", *(cell for name in race.sizes for cell in (name, "×")), f"taking, {race.sizes[1]}"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in race.times:
        cells = [LABELS[name]]
        for each in race.sizes:
            cells += [_time(race.seconds(name, each)), f"{race.ratio(name, each):.2f}"]
        taking = race.taking(name, race.sizes[1])
        lines.append([*cells, "-" if taking is None else _time(taking)])
    return _markdown(lines)


def _counts(counts: Counts) -> str:
    sizes = list(next(iter(counts.values())))
    head = ["", *(cell for name in sizes for cell in (name, "×"))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, each in counts.items():
        cells = [LABELS[name]]
        for one in sizes:
            cells += [f"{each[one] / 1e6:.2f} M", f"{each[one] / counts['hand'][one]:.2f}"]
        lines.append(cells)
    return _markdown(lines)


def _reviews(found: Reviews) -> list[str]:
    alone, mixed, crowd = found.growth
    ours, made = found.expressions, found.generated
    return [
        f"Decoding, 100 policies and encoding of the answer, for an UPDATE of {ours.bytes / 1e3:.1f} KB of which "
        f"`json.loads` alone takes {ours.json_loads:.0f} µs: {ours.whole:.0f} µs (× {ours.ratio:.1f}) with these "
        f"expressions as policies, {ours.violated} of them violated and looked at in `oldObject` too; "
        f"{made.whole:.0f} µs (× {made.ratio:.1f}) with 100 generated policies that share variables, "
        f"{made.violated} violated.",
        f"Loading and compiling 1,000 policies: {found.thousand.seconds:.1f} s, from {found.thousand.before:.0f} MB to "
        f"{found.thousand.after:.0f} MB resident.",
        f"The review costs what matches: {alone.microseconds:.0f} µs with {alone.matching} policies, "
        f"{mixed.microseconds:.0f} µs with {mixed.others} more that are about something else, "
        f"{crowd.microseconds:.0f} µs with {crowd.matching:,} that match.",
    ]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _time(seconds: float) -> str:
    micro = seconds * 1e6
    return f"{micro:.0f} µs" if micro < 1_000 else f"{micro / 1e3:.1f} ms" if micro < 1e6 else f"{seconds:.1f} s"


assert set(COUNTED) <= set(OWN)
