"""OpenTelemetry at the edge: metrics read from the cells when asked, spans when switched on.

The SDK is imported on first use, in a thread, never on the hot path: an instrument of it costs 15 µs an event, a cell
0.2. So the instruments are observable ones, and the histogram, which cannot be, is added to the collected data with the
SDK's own data-point class. Knows neither HTTP nor settings.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from webhook.errors import UserError
from webhook.serve import metrics
from webhook.serve.metrics import Cells

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

SCOPE = "wouldblock"


class Bridge:
    """The cells as OpenTelemetry metrics."""

    def __init__(self, cells: Cells, *, version: str, wall: Callable[[], float] = time.time) -> None:
        """Imports the SDK: about 0.1 s."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        self._cells = cells
        self._version = version
        self._wall = wall
        self._reader = InMemoryMetricReader()
        meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter(SCOPE, version)
        for instrument in metrics.INSTRUMENTS:
            make = meter.create_observable_counter if instrument.kind == "counter" else meter.create_observable_gauge
            make(instrument.name, [self._callback(instrument.name)], description=instrument.help)

    def _callback(self, name: str) -> Callable[[Any], Iterable[Any]]:
        from opentelemetry.metrics import Observation

        def observe(options: object) -> Iterable[Any]:
            return [
                Observation(value, dict(labels))
                for labels, value in metrics.read(self._cells, name, version=self._version, now=self._wall())
            ]

        return observe

    def collect(self) -> MetricsData:
        """All metrics as the SDK's data, the latency histogram among them."""
        from opentelemetry.sdk.metrics import export

        data = self._reader.get_metrics_data()
        now = int(self._wall() * 1e9)
        counts = list(self._cells.latency.counts)
        point = export.HistogramDataPoint(
            attributes={},
            start_time_unix_nano=int(self._cells.started_at * 1e9),
            time_unix_nano=now,
            count=sum(counts),
            sum=self._cells.latency.sum,
            bucket_counts=counts,
            explicit_bounds=metrics.BOUNDS,
            min=0.0,
            max=0.0,
        )
        histogram = export.Metric(
            metrics.LATENCY,
            metrics.LATENCY_HELP,
            "s",
            export.Histogram([point], export.AggregationTemporality.CUMULATIVE),
        )
        if data is None or not data.resource_metrics:  # the SDK is switched off by its own environment
            return export.MetricsData([])
        resource = data.resource_metrics[0]
        scope = resource.scope_metrics[0]
        return export.MetricsData(
            [
                export.ResourceMetrics(
                    resource.resource,
                    [export.ScopeMetrics(scope.scope, [*scope.metrics, histogram], scope.schema_url)],
                    resource.schema_url,
                )
            ]
        )

    def text(self) -> str:
        """The Prometheus exposition format, version 0.0.4."""
        from opentelemetry.sdk.metrics.export import Histogram, Sum

        lines: list[str] = []
        for resource in self.collect().resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    counter = isinstance(metric.data, Sum)
                    name = metric.name + ("_total" if counter else "")
                    kind = "histogram" if isinstance(metric.data, Histogram) else "counter" if counter else "gauge"
                    lines += [f"# HELP {name} {metric.description}", f"# TYPE {name} {kind}"]
                    for point in metric.data.data_points:
                        lines += _histogram(name, point) if kind == "histogram" else [_sample(name, point)]
        return "\n".join(lines) + "\n"


class Scraper:
    """`await scraper()` is the text of `/metrics`. One at a time, in a thread: the loop keeps answering reviews."""

    def __init__(self, cells: Cells, *, version: str) -> None:
        self._cells = cells
        self._version = version
        self._bridge: Bridge | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> str:
        async with self._lock:
            return await asyncio.to_thread(self._text)

    def _text(self) -> str:
        if self._bridge is None:
            self._bridge = Bridge(self._cells, version=self._version)
        return self._bridge.text()


def _sample(name: str, point: Any) -> str:
    return f"{name}{_labels(point.attributes)} {_number(point.value)}"


def _histogram(name: str, point: Any) -> list[str]:
    lines: list[str] = []
    total = 0
    for bound, count in zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}')
    return [*lines, f"{name}_sum {point.sum!r}", f"{name}_count {point.count}"]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")


def _labels(attributes: Any) -> str:
    if not attributes:
        return ""
    pairs = []
    for key, value in attributes.items():
        text = _CONTROL.sub("?", str(value)[:128])
        pairs.append(f'{key}="{"".join(_ESCAPES.get(char, char) for char in text)}"')
    return "{" + ",".join(pairs) + "}"


TRACEPARENT_BYTES = 128
"""A valid one has 55; the rest is hostile. `tracestate` and `baggage` are never read: any client may set them."""


@contextmanager
def _no_span() -> Iterator[Callable[[str, Any], None]]:
    yield lambda key, value: None


class Tracing:
    """Opens one span a review: the `tracer` of `admit.Admission`. What goes wrong with a span stays with it."""

    def __init__(self, exporter: Any, *, version: str, batch: bool = True) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter) if batch else SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SCOPE, version)
        self._extract = TraceContextTextMapPropagator().extract

    def __call__(self, headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[Callable[[str, Any], None]]:
        try:
            parent = next((value for name, value in headers if name == b"traceparent"), b"")
            carrier = {"traceparent": parent.decode("latin-1")} if 0 < len(parent) <= TRACEPARENT_BYTES else {}
            return self._span(self._extract(carrier))
        except Exception:
            return _no_span()

    @contextmanager
    def _span(self, parent: Any) -> Iterator[Callable[[str, Any], None]]:
        span = self._tracer.start_span("review", parent)
        try:
            yield span.set_attribute
        finally:
            span.end()

    def close(self) -> None:
        """Exports what is left."""
        self._provider.shutdown()


def tracing(kind: str, *, version: str, log: Callable[..., None]) -> Tracing:
    """Spans as log lines (`log`) or exported by OTLP (`otlp`). Raises `UserError` when the exporter is missing."""
    if kind == "log":
        return Tracing(_log_exporter(log), version=version)
    try:
        import importlib

        exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter").OTLPSpanExporter()
    except ImportError:
        raise UserError("--traces otlp: the exporter is not installed; pip install 'wouldblock[otlp]'") from None
    return Tracing(exporter, version=version)


def _log_exporter(log: Callable[..., None]) -> Any:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class LogExporter(SpanExporter):
        def export(self, spans: Iterable[ReadableSpan]) -> SpanExportResult:
            for span in spans:
                context = span.context
                log(
                    "span",
                    name=span.name,
                    trace=f"{context.trace_id:032x}" if context else "",
                    span=f"{context.span_id:016x}" if context else "",
                    microseconds=((span.end_time or 0) - (span.start_time or 0)) // 1000,
                    **{key.replace(".", "_"): value for key, value in (span.attributes or {}).items()},
                )
            return SpanExportResult.SUCCESS

    return LogExporter()
