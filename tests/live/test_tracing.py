"""Traces, as a collector of our own receives them: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncpg
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app import __version__
from app.observability.tracing import Tracing
from tests.conftest import token
from tests.live.conftest import Served

pytestmark = pytest.mark.slow

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes what comes."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.paths: set[str] = set()
        received, paths = self.received, self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                paths.add(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def resources(self) -> list[dict[str, Any]]:
        return [attributes(each.resource) for body in self.received for each in parsed(body).resource_spans]

    def spans(self) -> list[Span]:
        return [
            span
            for body in self.received
            for resource in parsed(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def parsed(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


Traced = Callable[..., Served]


@pytest.fixture
def traced(serve: Callable[..., Served], collector: Collector) -> Traced:
    def start(**more: Any) -> Served:
        return serve(env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}, **more)

    return start


@pytest.mark.parametrize("workers", [1, 2])
def test_each_request_is_a_span_with_its_statements_below_it(
    traced: Traced, collector: Collector, workers: int
) -> None:
    service = traced(workers=workers)
    mine = {"authorization": f"Bearer {token('ada')}"}
    made = httpx.post(f"{service.url}/api/tasks", json={"title": "x"}, headers=mine).json()["data"]
    with httpx.Client(base_url=service.url, headers=mine | {"traceparent": f"00-{TRACE}-{PARENT}-01"}) as client:
        client.get(f"/api/tasks/{made['id']}")
        client.head(f"/api/tasks/{made['id']}/")
        client.get("/api/tasks/0")
        client.get("/nowhere")
    assert service.stop() == 0

    assert collector.paths == {"/v1/traces"}
    assert {(each["service.name"], each["service.version"]) for each in collector.resources()} == {
        ("tasks-api", __version__)
    }
    ours = [span for span in collector.spans() if span.trace_id.hex() == TRACE]
    ours.sort(key=lambda each: each.start_time_unix_nano)
    requests = [span for span in ours if span.kind == Span.SPAN_KIND_SERVER]
    route = "/api/tasks/{task_id}"
    assert [(span.name, attributes(span)) for span in requests] == [
        (f"GET {route}", {"http.request.method": "GET", "http.response.status_code": 200, "http.route": route}),
        (f"HEAD {route}", {"http.request.method": "HEAD", "http.response.status_code": 200, "http.route": route}),
        (f"GET {route}", {"http.request.method": "GET", "http.response.status_code": 404, "http.route": route}),
        ("GET", {"http.request.method": "GET", "http.response.status_code": 404}),
    ]
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    statements = [span for span in ours if span.kind == Span.SPAN_KIND_CLIENT]
    assert [span.parent_span_id for span in statements] == [span.span_id for span in requests[:2]]  # no row has id 0
    assert {attributes(span)["db.system.name"] for span in statements} == {"postgresql"}
    assert all("$1" in attributes(span)["db.query.text"] for span in statements)
    assert {span.status.code for span in ours} == {0}
    [first] = [span for span in collector.spans() if span.name == "POST /api/tasks"]
    assert first.parent_span_id == b""


def test_a_message_that_came_behind_another_is_not_its_child(traced: Traced, collector: Collector) -> None:
    service = traced()
    message = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(message * 3)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    service.stop()
    found = [span for span in collector.spans() if span.name == "GET /health/ready"]
    assert len(found) >= 3
    assert {span.parent_span_id for span in found} == {b""}


def test_no_span_and_no_line_quotes_what_a_caller_sent(traced: Traced, collector: Collector) -> None:
    service = traced()
    secret = token("canary-user", email="canary@example.com", name="canary")
    mine = {"authorization": f"Bearer {secret}", "cookie": "a=canary", "user-agent": "canary"}
    account = {"email": "another.canary@example.com", "password": "canary canary canary", "name": "canary"}
    with httpx.Client(base_url=service.url, headers=mine) as client:
        client.post("/api/tasks?q=canary", json={"title": "canary", "description": "canary"})
        client.get("/api/tasks?q=canary", headers={"baggage": "a=canary", "tracestate": "a=canary"})
        client.get("/api/tasks/canary", headers={"traceparent": "canary"})
        client.get("/canary")
        client.get("/admin/canary/?q=canary")
        client.post("/api/tasks", content=b'{"title": "canary\\u0000"}')
        client.post("/api/auth/signup", json=account)
        login = client.post("/api/auth/login", json=account).json()["data"]["token"]
        change = {"current_password": account["password"], "new_password": "another canary canary"}
        theirs = {"authorization": f"Bearer {login}"}
        client.post("/api/auth/me/password", json=change, headers=theirs).raise_for_status()
        client.request("CANARY", "/")
    assert service.stop() == 0
    assert len(collector.spans()) > 8
    assert "UPDATE" in {span.name for span in collector.spans()}  # of a transaction
    assert [span for span in collector.spans() if "canary" in str(span).lower()] == []
    sent = b"".join(collector.received).lower()
    assert b"canary" not in sent
    assert secret.lower().encode() not in sent
    assert not re.search(rb"127\.0\.0\.1|localhost", sent)
    assert "canary" not in "\n".join(service.log()).lower()


async def test_what_is_no_request_is_no_span_and_goes_through() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append((scope, trace.get_current_span().get_span_context().is_valid))

    nothing: Any = None
    await Tracing("http://127.0.0.1:1").traced(app)({"type": "lifespan"}, nothing, nothing)
    assert seen == [({"type": "lifespan"}, False)]


async def test_a_statement_that_fails_says_of_what_kind(
    traced: Traced, collector: Collector, sql: asyncpg.Connection
) -> None:
    service = traced()
    await sql.execute("ALTER TABLE tasks RENAME TO elsewhere")
    try:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {token('ada')}"}) as client:
            assert (await client.get(f"{service.url}/api/tasks")).status_code == 500
    finally:
        await sql.execute("ALTER TABLE elsewhere RENAME TO tasks")
    service.stop()
    [request] = [span for span in collector.spans() if span.name == "GET /api/tasks"]
    [statement] = [span for span in collector.spans() if span.parent_span_id == request.span_id]
    assert (request.status.code, attributes(request)["http.response.status_code"]) == (2, 500)
    assert (statement.status.code, attributes(statement)["error.type"]) == (2, "UndefinedTableError")
    assert [*request.events, *statement.events] == []


@pytest.mark.parametrize("silent", [False, True], ids=("refuses", "says nothing"))
def test_a_collector_that_is_not_there_keeps_nobody_waiting(
    serve: Callable[..., Served], unused_port: int, silent: bool
) -> None:
    with socket.socket() as listener:
        if silent:
            listener.bind(("127.0.0.1", unused_port))
            listener.listen()
        service = serve(env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused_port}"})
        began = time.monotonic()
        for _ in range(50):
            assert httpx.get(f"{service.url}/health/live").status_code == 200
        assert time.monotonic() - began < 5
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 6
        for line in service.log():
            json.loads(line)
