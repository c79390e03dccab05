"""Cells, and what is published of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from webhook.serve import metrics
from webhook.serve.metrics import BOUNDS, INSTRUMENTS, SERIES_MAX, Cells, Histogram
from webhook.serve.telemetry import Bridge, Scraper, Tracing, _log_exporter, tracing


def filled() -> Cells:
    cells = Cells()
    cells.count_review("CREATE", "pods", "pass")
    cells.count_review("CREATE", 'evil"\\\n\x00\ud800', "pass")
    cells.findings["p.example.com"] = 3
    cells.policy_errors["p.example.com"] = 1
    cells.internal_errors["q.example.com"] = 2
    cells.incomplete["shed"] = 5
    cells.latency.add(0.0004)
    cells.latency.add(9.0)
    cells.certificate_not_after = 2e9
    cells.snapshot_taken_at = 1_000.0
    cells.started_at = 500.0
    return cells


def test_histogram_bounds_are_inclusive() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.add(seconds)
    assert histogram.counts[:2] == [2, 1]
    assert histogram.counts[-2:] == [1, 1]
    assert sum(histogram.counts) == 5


def test_series_are_bounded() -> None:
    cells = Cells()
    for number in range(SERIES_MAX * 3):
        cells.count_review("CREATE", f"resource-{number}", "pass")
    assert len(cells.reviews) <= SERIES_MAX + 20
    assert cells.reviews["CREATE", "other", "pass"] == SERIES_MAX * 2
    assert sum(cells.reviews.values()) == SERIES_MAX * 3


def test_long_names_are_not_kept() -> None:
    cells = Cells()
    cells.count_review("CREATE", "x" * 64, "pass")
    cells.count_review("CREATE", "y" * 63, "pass")
    assert cells.reviews == {("CREATE", "other", "pass"): 1, ("CREATE", "y" * 63, "pass"): 1}


def test_every_instrument_can_be_read_and_every_cell_is_published() -> None:
    cells = filled()
    read = {each.name: list(metrics.read(cells, each.name, version="1", now=1_060.0)) for each in INSTRUMENTS}
    for instrument in INSTRUMENTS:
        for labels, _ in read[instrument.name]:
            assert tuple(labels) == instrument.labels
    assert read["wouldblock_snapshot_age_seconds"] == [({}, 60.0)]
    tables = {"reviews", "findings", "policy_errors", "internal_errors", "incomplete", "latency", "snapshot_taken_at"}
    tables.add("record_dropped")
    assert set(Cells.__slots__) == tables | set(metrics._SCALARS.values())
    with pytest.raises(KeyError):
        list(metrics.read(cells, "wouldblock_unknown", version="1", now=0))


def test_prometheus_text() -> None:
    bridge = Bridge(filled(), version="1.2.3", wall=lambda: 1_060.0)
    text = bridge.text()
    line = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.e+-]+')
    for each in text.splitlines():
        assert each.startswith(("# HELP ", "# TYPE ")) or line.fullmatch(each), each
    assert 'wouldblock_reviews_total{operation="CREATE",resource="pods",outcome="pass"} 1' in text
    assert r'resource="evil\"\\\n??"' in text
    assert 'wouldblock_findings_total{policy="p.example.com"} 3' in text
    assert 'wouldblock_build_info{version="1.2.3"} 1' in text
    assert 'wouldblock_review_duration_seconds_bucket{le="0.0005"} 1' in text
    assert 'wouldblock_review_duration_seconds_bucket{le="+Inf"} 2' in text
    assert "wouldblock_review_duration_seconds_sum 9.0004" in text
    assert "wouldblock_review_duration_seconds_count 2" in text
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(types) == len({name for name, _ in types}) == len(INSTRUMENTS) + 1


def test_counters_do_not_double_when_scraped_twice() -> None:
    cells = filled()
    bridge = Bridge(cells, version="1")
    bridge.text()
    cells.findings["p.example.com"] += 1
    assert 'wouldblock_findings_total{policy="p.example.com"} 4' in bridge.text()


def test_scrapes_at_once() -> None:
    import asyncio

    async def both() -> tuple[str, str]:
        cells = filled()
        cells.snapshot_taken_at = 0.0
        scraper = Scraper(cells, version="1")
        return await asyncio.gather(scraper(), scraper())

    first, second = asyncio.run(both())
    assert first == second


def spans(*headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    tracer = Tracing(_log_exporter(lambda event, **fields: lines.append(fields)), version="1", batch=False)
    with tracer(headers) as set_attribute:
        set_attribute("wouldblock.operation", "CREATE")
    tracer.close()
    return lines


def test_a_span_continues_the_callers_trace() -> None:
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    (span,) = spans((b"traceparent", parent), (b"baggage", b"password=hunter2"))
    assert span["trace"] == "0af7651916cd43dd8448eb211c80319c"
    assert span["wouldblock_operation"] == "CREATE"
    assert "hunter2" not in str(span)


def test_a_span_of_a_hostile_trace_starts_its_own() -> None:
    (span,) = spans((b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"))
    assert int(span["trace"], 16) != 0


def test_traces_by_otlp_need_the_extra() -> None:
    import importlib.util

    from webhook.errors import UserError

    if importlib.util.find_spec("opentelemetry.exporter") is None:
        with pytest.raises(UserError, match=r"wouldblock\[otlp\]"):
            tracing("otlp", version="1", log=lambda *_, **__: None)
