"""Traces with OpenTelemetry (extra `otel`): a span for each request, and one for each stage inside. No words of people
are in them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import TYPE_CHECKING

from app.errors import AnswerError
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span


CLOSE_SECONDS = 5.0
"""How long the end of the program waits for the last spans to be taken."""


class TraceSettingError(AnswerError):
    """Traces are asked for, and cannot be made."""


class Traces:
    """Where spans are made; `processor` is what becomes of them."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = Resource.create({"service.name": "onrecord", "service.version": version("onrecord")})
        # One of our own, not the process': libraries that find that one put into it what they like.
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("onrecord")
        self._headers = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str) -> Generator[Span]:
        """A span inside the one that is open. What goes wrong in it is told by the name of its type alone."""
        with self._open(name) as opened:
            yield opened

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str], request_id: str) -> Generator[Span]:
        """The span of a request, part of its caller's trace where the headers name one (W3C Trace Context)."""
        with self._open(method, headers) as opened:
            opened.set_attribute("http.request.method", method)
            opened.set_attribute("onrecord.request_id", request_id)
            yield opened

    @contextmanager
    def _open(self, name: str, headers: Mapping[str, str] | None = None) -> Generator[Span]:
        from opentelemetry.trace import SpanKind, StatusCode

        with self._tracer.start_as_current_span(
            name,
            context=None if headers is None else self._headers.extract(headers),
            kind=SpanKind.INTERNAL if headers is None else SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield opened
            except Exception as error:
                opened.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def headers(self) -> dict[str, str]:
        """What makes another service's spans part of this trace."""
        carrier: dict[str, str] = {}
        self._headers.inject(carrier)
        return carrier

    def close(self) -> None:
        """Sends what is left, for as long as CLOSE_SECONDS; the library itself would try for much longer."""
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def open_traces(settings: Settings) -> Traces | None:
    """What the settings ask for; the rest of OpenTelemetry's variables are read by its own library.

    Raises TraceSettingError where the extra is not installed.
    """
    endpoint = settings.traces_endpoint
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise TraceSettingError("OTEL_EXPORTER_OTLP_ENDPOINT needs the extra: pip install 'onrecord[otel]'") from error
    return Traces(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
