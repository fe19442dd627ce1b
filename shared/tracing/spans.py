"""Spans of OpenTelemetry, sent to a collector as OTLP over HTTP. Imported where traces are wanted, and nowhere else."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from structlog.contextvars import bind_contextvars

from shared.tracing import Traces

MOST_BEGUN_A_SECOND: Final = 50  # traces, whoever asks for them: a caller may say of each request that it is sampled
EXPORT_S: Final = 3.0  # for a try to send spans; a service that ends waits as long for its last ones
QUEUED_SPANS: Final = 4_096  # that wait to be sent; more are dropped
ATTRIBUTE_CHARACTERS: Final = 100


class Spans:
    """`chance` gives a number from 0 to 1, `monotonic` seconds."""

    def __init__(self, provider: TracerProvider, ratio: float, chance: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("customer360")
        self._ratio = ratio
        self._chance = chance
        self._monotonic = monotonic
        self._second = 0
        self._begun = 0  # in that second

    def at_door(self, name: str, given: str, sampled: bool | None) -> Span | None:
        """None of what isn't sampled: it doesn't come as far as OpenTelemetry."""
        if sampled is False or (sampled is None and self._chance() >= self._ratio) or not self._has_room():
            return None
        parent = set_span_in_context(_remote(given)) if sampled else None
        return self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER)

    def behind(self, name: str, traceparent: str, counts: Mapping[str, int]) -> Span:
        attributes = {f"c360.{key}": count for key, count in counts.items()}
        parent = set_span_in_context(_remote(traceparent))
        return self._tracer.start_span(name, context=parent, kind=SpanKind.CONSUMER, attributes=attributes)

    def within(self, span: Span) -> Traces:
        """Log lines of the task tell the trace from here on."""
        bind_contextvars(trace_id=format_trace_id(span.get_span_context().trace_id))
        return (self.traceparent(span),)

    def traceparent(self, span: Span) -> str:
        context = span.get_span_context()
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"

    def end(self, span: Span, failure: str) -> None:
        """No text of an error: it may quote what somebody sent."""
        if failure:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", failure[:ATTRIBUTE_CHARACTERS])
        span.end()

    def close(self) -> None:
        self._provider.shutdown()

    def _has_room(self) -> bool:
        if (second := int(self._monotonic())) != self._second:
            self._second, self._begun = second, 0
        self._begun += 1
        return self._begun <= MOST_BEGUN_A_SECOND


def to_collector(endpoint: str, service: str, ratio: float, chance: Callable[[], float], monotonic: Callable[[], float]) -> Spans:
    """`endpoint` is the collector's base URL. What else OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_HEADERS) holds too."""
    exporter: SpanExporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
    resource = Resource.create({"service.name": f"c360-{service}", "service.version": version("customer360")})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS))
    return Spans(provider, ratio, chance, monotonic)


def _remote(traceparent: str) -> Any:
    _, trace, span, _ = traceparent.split("-")
    return NonRecordingSpan(SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
