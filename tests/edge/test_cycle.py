"""What becomes of an application that answers badly, or not at all. Over a socket, on the protocol that serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.edge.protocol import Protocol

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Callable[[], Awaitable[Any]], Send], Awaitable[None]]
Ask = Callable[..., Awaitable[bytes]]

GET = b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha"
LENGTH = (b"content-length", b"2")


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(data: bytes = b"ok", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def saying(*messages: dict[str, Any]) -> App:
    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.fixture
async def state() -> ServerState:
    return ServerState()


@pytest.fixture
async def ask(state: ServerState) -> AsyncIterator[Ask]:
    """Serve an application, send it something, and return all that comes back until the other side hangs up."""
    servers: list[asyncio.Server] = []

    async def asked(app: App, message: bytes = GET, *, seconds: float = 5.0) -> bytes:
        config = uvicorn.Config(app, interface="asgi3", proxy_headers=False, ws="none", log_config=None)
        config.load()
        loop = asyncio.get_running_loop()
        servers.append(await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(*servers[-1].sockets[0].getsockname())
        writer.write(message)
        answer = b""
        try:
            while not answer.endswith((b"ok", b"0\r\n\r\n")):
                piece = await asyncio.wait_for(reader.read(65536), seconds)
                if not piece:
                    break
                answer += piece
        finally:
            writer.close()
            await writer.wait_closed()
        return answer

    yield asked
    for server in servers:
        server.close()


def failed(answer: bytes, status: int, code: str) -> bool:
    """Whether it is a whole failure in the envelope, with its headers, and the last on its connection."""
    head, _, content = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 %d " % status)
    assert {b"x-request-id: mine", b"cache-control: no-store", b"x-content-type-options: nosniff"} <= {*lines}
    assert b"connection: close" in lines
    return json.loads(content)["error"]["code"] == code


async def test_an_answer_is_one_head_and_one_body(ask: Ask) -> None:
    assert await ask(saying(start(LENGTH), body())) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_a_body_of_unknown_length_comes_in_chunks(ask: Ask) -> None:
    app = saying(start(), body(b"o", more=True), body(b"", more=True), body(b"k"))
    head, _, content = (await ask(app)).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert content == b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"


async def test_one_that_says_more_than_is_read_waits(ask: Ask) -> None:
    piece = b"x" * 1_000_000
    app = saying(start(), *[body(piece, more=True)] * 8, body(b""))
    content = (await ask(app)).partition(b"\r\n\r\n")[2]
    assert content == b"f4240\r\n%b\r\n" % piece * 8 + b"0\r\n\r\n"


async def test_to_http_1_0_it_ends_with_the_connection(ask: Ask) -> None:
    answer = await ask(saying(start(), body(b"o", more=True), body(b"k")), GET.replace(b"1.1", b"1.0"))
    assert answer == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"


async def crash(_scope: Any, _receive: Any, _send: Send) -> None:
    raise RuntimeError("a secret")


@pytest.mark.parametrize(
    "app",
    [
        crash,
        saying(),
        saying(start(LENGTH)),
        saying(body()),
        saying(start(LENGTH), start(LENGTH)),
        saying(start(LENGTH), body(b"three")),
        saying(start(LENGTH), body(b"o")),
        saying(start(LENGTH, (b"x-a", b"b\r\nx-c: d")), body()),
        saying(start(LENGTH, (b"x-a\0", b"b")), body()),
    ],
)
async def test_one_that_fails_before_anything_is_out_is_a_500_in_the_envelope(ask: Ask, app: App) -> None:
    assert failed(await ask(app), 500, "INTERNAL_ERROR")


@pytest.mark.parametrize("rest", [(), (body(b"k!"),), (body(b"k"), body())])
async def test_one_that_fails_later_ends_the_connection(ask: Ask, rest: tuple[dict[str, Any], ...]) -> None:
    app = saying(start(LENGTH), body(b"o", more=True), *rest)
    content = (await ask(app, GET)).partition(b"\r\n\r\n")[2]
    assert content in (b"o", b"ok")  # and no other answer behind it


async def test_one_that_is_cancelled_is_a_503_in_the_envelope(ask: Ask, state: ServerState) -> None:
    async def wait(_scope: Any, _receive: Any, _send: Send) -> None:
        asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in state.tasks])
        await asyncio.sleep(60)

    assert failed(await ask(wait), 503, "SERVICE_UNAVAILABLE")
    assert state.tasks == set()


async def test_a_client_that_has_gone_is_told_nothing_more(ask: Ask) -> None:
    heard: list[Any] = []
    done = asyncio.Event()

    async def patient(_scope: Any, receive: Any, send: Send) -> None:
        heard.extend([await receive(), await receive()])
        await send(start(LENGTH))
        await send(body())
        done.set()

    with pytest.raises(TimeoutError):
        await ask(patient, HALF, seconds=0.1)
    await asyncio.wait_for(done.wait(), 5)
    assert heard == [{"type": "http.request", "body": b"ha", "more_body": True}, {"type": "http.disconnect"}]
