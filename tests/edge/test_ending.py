"""How a connection ends, on a server of uvicorn's in this process, whose deadlines are short."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from tests.live.conftest import free_port

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def never(scope: Any, receive: Any, send: Any) -> None:
    """An application that does not answer."""
    await asyncio.sleep(60)


async def half(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers half, and fails."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await asyncio.sleep(60)


@pytest.fixture
async def hurried(monkeypatch: pytest.MonkeyPatch, app: Any, request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a server of `request.param` that gives it a fifth of a second."""
    monkeypatch.setattr("app.edge.protocol.ANSWER_SECONDS", 0.2)
    port = free_port()
    config = uvicorn.Config(
        request.param, port=port, http="app.edge.protocol:Protocol", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield port
    await server.shutdown()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()
    return said


@pytest.mark.parametrize("hurried", [never], indirect=True)
async def test_an_answer_that_is_not_made_in_time_is_503(hurried: int) -> None:
    said = await ask(hurried)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in said
    assert b'"code":"SERVICE_UNAVAILABLE"' in said


@pytest.mark.parametrize("hurried", [half], indirect=True)
async def test_an_answer_that_stops_half_way_is_cut(hurried: int) -> None:
    said = await ask(hurried)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"\r\n\r\nhalf")  # of the ten bytes that it promised


MUCH = b"x" * 40_000_000  # more than the buffers of two sockets hold


async def much(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers much."""
    headers = [(b"content-length", b"%d" % len(MUCH))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": MUCH, "more_body": False})


@pytest.mark.parametrize("hurried", [much], indirect=True)
@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_is_let_go_on_as_long_as_it_takes_some(
    hurried: int, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr("app.edge.ending.SENDING_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", hurried, limit=4_000_000)
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
