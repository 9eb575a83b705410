"""Traces of requests and statements, sent to a collector by OTLP over HTTP (OpenTelemetry).

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set: the packages are an extra. What a span holds is listed here
and nothing else gets in: no path, no query string, no header, no value of a statement. The ready-made middleware
for ASGI writes all of the URL, the caller's address and more, before anybody knows the route; and the one for asyncpg
sees nothing of the pool's lanes.
"""

import asyncio
import os
import threading
from typing import Any

import asyncpg
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
from app.edge.headers import singles
from app.edge.served import METHODS
from app.groups import GroupingPool, Rows
from app.lane import Lane
from app.statements import Statement

SECONDS = 2  # for the last spans to leave, and for each batch to be taken
UNSAID: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}  # a message may quote anything

resource = Resource.create(
    {"service.name": os.environ.get("OTEL_SERVICE_NAME", "tasks-api"), "service.version": __version__}
)
# Never the global one: the FastAPI under the admin would find it, and write whole URLs.
provider = TracerProvider(resource=resource, shutdown_on_exit=False)
tracer = provider.get_tracer("tasks-api", __version__)
parents = TraceContextTextMapPropagator()


class Tracing:
    """The way to the collector, from when it is made until it is closed. It never keeps a request waiting."""

    def __init__(self, endpoint: str) -> None:
        """Send to `endpoint`; the SDK reads its other variables itself."""
        self._batches = BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=SECONDS))
        provider.add_span_processor(self._batches)

    async def close(self) -> None:
        """Send what is left, if that can be done in time."""
        ending = threading.Thread(target=self._batches.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, SECONDS)


class Traced:
    """A span around each request, below the caller's where it names one (W3C Trace Context, traceparent)."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the ring, which tells `served` what became of the request."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = (singles(scope).get(b"traceparent") or b"").decode("latin-1")
        # Always said whose child it is: a message that came behind another is begun while that one's span is current.
        parent = parents.extract({"traceparent": sent}, Context())
        with tracer.start_as_current_span("HTTP", parent, SpanKind.SERVER, **UNSAID):
            await self.app(scope, receive, send)


def served(method: str, route: str | None, status: int, _seconds: float) -> None:
    """Write on the request's span what became of it."""
    span = trace.get_current_span()
    span.update_name(" ".join(filter(None, (method if method in METHODS else "HTTP", route))))
    span.set_attributes({"http.request.method": method, "http.response.status_code": status})
    if route:
        span.set_attribute("http.route", route)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


class TracedPool(GroupingPool):
    """A span around each statement, with its text; its values are never in it."""

    async def run(self, sql: str, arguments: list[Any], **how: Any) -> list[asyncpg.Record]:
        """Run one statement, as `GroupingPool` does."""
        about = {"db.system.name": "postgresql", "db.query.text": sql}
        with tracer.start_as_current_span(sql.split(None, 1)[0], None, SpanKind.CLIENT, about, **UNSAID) as span:
            return await _observed(span, super().run(sql, arguments, **how))

    async def change(self, statement: Statement, owner: str, arguments: list[Any]) -> Rows:
        """Run a change, as `GroupingPool` does: from when it is asked for, by itself or with others."""
        about = {"db.system.name": "postgresql", "db.query.text": statement.sql}
        name = statement.sql.split(None, 1)[0]
        with tracer.start_as_current_span(name, None, SpanKind.CLIENT, about, **UNSAID) as span:
            return await _observed(span, super().change(statement, owner, arguments))

    async def step(self, lane: Lane, sql: str, arguments: list[Any]) -> list[asyncpg.Record]:
        """Run one statement of a transaction, as `GroupingPool` does."""
        about = {"db.system.name": "postgresql", "db.query.text": sql}
        with tracer.start_as_current_span(sql.split(None, 1)[0], None, SpanKind.CLIENT, about, **UNSAID) as span:
            return await _observed(span, super().step(lane, sql, arguments))


async def _observed(span: trace.Span, running: Any) -> Any:
    """Wait, and write on the span what kind of failure it came to."""
    try:
        return await running
    except Exception as error:
        span.set_status(StatusCode.ERROR)
        span.set_attribute("error.type", type(error).__qualname__)
        raise
