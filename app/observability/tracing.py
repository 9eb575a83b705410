"""Traces of requests and statements, sent to a collector by OTLP over HTTP (OpenTelemetry).

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set: the packages are an extra. What a span holds is listed here
and nothing else gets in: no path, no query string, no header, no value of a statement. The ready-made middleware
for ASGI writes all of the URL, the caller's address and more, before anybody knows the route; and the one for asyncpg
knows nothing of group commits.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from litestar.types import ASGIApp, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app import __version__
from app.observability import request_events
from app.observability.request_events import METHODS

T = TypeVar("T")
EXPORT_SECONDS = 2  # for the last spans to leave, and for each batch to be taken
UNSAID: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}  # a message may quote anything


class Tracing:
    """Makes spans, and sends them from `listening` on. It never keeps a request waiting."""

    def __init__(self, endpoint: str) -> None:
        """Send to `endpoint`; the SDK reads its other variables itself."""
        self._endpoint = f"{endpoint}/v1/traces"
        name = os.environ.get("OTEL_SERVICE_NAME", "tasks-api")
        resource = Resource.create({"service.name": name, "service.version": __version__})
        # Never the global one: the FastAPI under the admin would find it, and write whole URLs.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("tasks-api", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Send spans until the context ends; then what is left, if that can be done in time."""
        batches = BatchSpanProcessor(OTLPSpanExporter(self._endpoint, timeout=EXPORT_SECONDS))
        self._provider.add_span_processor(batches)
        request_events.listeners.append(describe)
        try:
            yield
        finally:
            request_events.listeners.remove(describe)
            last = threading.Thread(target=batches.shutdown, daemon=True)
            last.start()
            await asyncio.to_thread(last.join, EXPORT_SECONDS)

    def traced(self, app: ASGIApp) -> ASGIApp:
        """Put a span around each request, below the caller's where it names one (W3C Trace Context, traceparent)."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            # One that came more often counts as none.
            sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
            # Always said whose child it is: a pipelined request begins while the span before it is current.
            parent = self._propagator.extract({"traceparent": sent[0] if len(sent) == 1 else ""}, Context())
            with self._tracer.start_as_current_span("HTTP", parent, SpanKind.SERVER, **UNSAID):
                await app(scope, receive, send)

        return serve

    async def observe(self, sql: str, running: Awaitable[T]) -> T:
        """Await a statement in a span with its text, and the kind of its failure; its values are never in it."""
        about = {"db.system.name": "postgresql", "db.query.text": sql}
        with self._tracer.start_as_current_span(sql.split(None, 1)[0], None, SpanKind.CLIENT, about, **UNSAID) as span:
            try:
                return await running
            except Exception as error:
                span.set_status(StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def describe(method: str, route: str | None, status: int, _seconds: float) -> None:
    """Write on the request's span what became of it."""
    span = trace.get_current_span()
    span.update_name(" ".join(filter(None, (method if method in METHODS else "HTTP", route))))
    span.set_attributes({"http.request.method": method, "http.response.status_code": status})
    if route:
        span.set_attribute("http.route", route)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
