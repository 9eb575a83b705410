"""How a connection ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import uvicorn

from app.server.http1.connection import Connection
from app.server.http1.limits import Limits
from tests.live.conftest import free_port
from tests.server.conftest import App, Listen

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = Limits(response_seconds=0.2, sending_seconds=0.3, last_request_seconds=0.3)


async def never(scope: Any, receive: Any, send: Any) -> None:
    """An application that does not respond."""
    await asyncio.sleep(60)


async def half(scope: Any, receive: Any, send: Any) -> None:
    """An application that sends half a response, and no more."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await asyncio.sleep(60)


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes a tenth of a second."""
    await asyncio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()
    return said


async def test_a_response_that_is_not_made_in_time_is_503(listen: Listen) -> None:
    said = await ask(await listen(never, SHORT))
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in said
    assert b'"code":"SERVICE_UNAVAILABLE"' in said


async def test_a_response_that_stops_half_way_is_cut(listen: Listen) -> None:
    said = await ask(await listen(half, SHORT))
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"\r\n\r\nhalf")  # of the ten bytes that it promised


MUCH = b"x" * 40_000_000  # more than the buffers of two sockets hold


async def much(scope: Any, receive: Any, send: Any) -> None:
    """An application that responds with much."""
    headers = [(b"content-length", b"%d" % len(MUCH))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": MUCH, "more_body": False})


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_is_waited_for_as_long_as_it_reads_on(listen: Listen, reads: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(much, SHORT), limit=4_000_000)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    said = 0
    with suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            await asyncio.sleep(0.1 if reads else 2)
            while piece := await reader.read(8_000_000):
                said += len(piece)
                await asyncio.sleep(0.15 if reads else 0)
    writer.close()
    assert (said > len(MUCH)) is reads


@pytest.fixture
async def server() -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """uvicorn's server of an application, on a port, as `serve` makes it."""
    port = free_port()
    http: Any = partial(Connection, limits=SHORT)
    app: App = answering
    config = uvicorn.Config(app, port=port, http=http, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server, port
    await server.shutdown()


@pytest.mark.slow
async def test_at_shutdown_what_was_asked_and_what_is_on_its_way_is_answered(
    server: tuple[uvicorn.Server, int],
) -> None:
    uvicorns, port = server
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    (asked, asking), (kept, keeping), (idle, idling) = clients
    for reader, writer in ((kept, keeping), (idle, idling)):
        writer.write(GET)
        await reader.readuntil(b"ok")
    asking.write(GET)
    await asyncio.sleep(0.02)
    began = time.monotonic()
    stopping = asyncio.create_task(uvicorns.shutdown())
    await asyncio.sleep(0.05)
    keeping.write(GET)
    async with asyncio.timeout(5):
        said = [await reader.read() for reader in (asked, kept, idle)]
        await stopping
    assert [each.count(b"HTTP/1.1 200 ") for each in said] == [1, 1, 0]
    assert b"connection: close\r\n" in said[0]
    assert SHORT.last_request_seconds <= time.monotonic() - began < 2
    assert not uvicorns.server_state.connections
    assert not uvicorns.server_state.tasks
    for _, writer in clients:
        writer.close()
