"""Figures as SVG, drawn here: no script, no library, no network. Colours come from the style sheet by class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from webhook.audit.report.figures import Coverage, Day
from webhook.audit.report.page.markup import Html, tag

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 220, 40, 12, 26
_SPARK = 24
"""Columns of a small trend, four pixels each."""
_FEW = 0.9
"""Coverage below which a day says little."""


def sparkline(values: Sequence[int]) -> Html:
    """A small trend; the numbers stand beside it, so it is hidden from readers of text."""
    if not any(values):
        return Html("")
    last = len(values) - 1
    points = [values[round(n * last / (_SPARK - 1))] for n in range(_SPARK)] if last >= _SPARK else list(values)
    top, wide = max(points), 96 // len(points)
    heights = [18 - round(16 * each / top) for each in points]
    path, before = f"M0 {heights[0]}", heights[0]
    for height, run in groupby(heights):
        path += f"v{height - before}" if height != before else ""
        path += f"h{wide * len(list(run))}"
        before = height
    return Html(f'<svg class=k aria-hidden=true><path d="{path}"/></svg>')


def open_per_day(days: Sequence[Day], *, label: str) -> Html:
    """Columns: what was open at each day's end, with what was new that day on top; a mark where little was seen."""
    top = _nice(max((day.open for day in days), default=0))
    wide = (_WIDTH - _LEFT) / max(len(days), 1)
    scale = (_HEIGHT - _TOP - _BOTTOM) / top
    base = _HEIGHT - _BOTTOM
    parts = []
    for step in range(5):
        value = top * step / 4
        y = base - value * scale
        parts.append(f"<line class={'grid' if step else 'base'} x1={_LEFT} x2={_WIDTH} y1={y:.1f} y2={y:.1f} />")
        if value == int(value):
            parts.append(f"<text x={_LEFT - 6} y={y + 4:.1f} text-anchor=end>{int(value):,}</text>")
    gap = wide * (0.18 if len(days) < 120 else 0)
    every = max(1, -(-len(days) // 8))
    for number, day in enumerate(days):
        x = _LEFT + number * wide + gap / 2
        fresh = min(day.new, day.open)
        parts += [
            f"<rect class={kind} x={x:.1f} y={base - upper * scale:.1f} width={wide - gap:.1f} "
            f"height={(upper - lower) * scale:.1f} />"
            for kind, lower, upper in (("old", 0, day.open - fresh), ("new", day.open - fresh, day.open))
            if upper > lower
        ]
        if day.writes and day.reviewed < _FEW * day.writes:
            parts.append(f"<rect class=blind x={x:.1f} y={base + 2} width={wide - gap:.1f} height=4 />")
        if number % every == 0 and number * wide < _WIDTH - _LEFT - 36:
            parts.append(f"<text x={x:.1f} y={_HEIGHT - 4}>{day.day.day} {day.day.strftime('%b')}</text>")
    drawn = Html("".join(parts))
    return tag("svg", drawn, class_="big", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)


def coverage_bar(coverage: Coverage, *, label: str) -> Html:
    """What was reviewed, and what was not, of one."""
    seen = 100 * coverage.reviewed / coverage.writes if coverage.writes else 0.0
    drawn = Html(
        f'<rect class=seen width="{seen:.2f}" height=1 />'
        f'<rect class=gap x="{seen:.2f}" width="{100 - seen if coverage.writes else 0:.2f}" height=1 />'
    )
    return tag(
        "svg", drawn, class_="bar", viewBox="0 0 100 1", preserveAspectRatio="none", role="img", aria_label=label
    )


def _nice(value: int) -> int:
    """The next number that four lines divide well."""
    size = 4
    while True:
        for step in (1, 2, 3, 5):
            if size * step >= value:
                return size * step
        size *= 10
