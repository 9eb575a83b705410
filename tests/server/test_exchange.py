"""What becomes of an application that answers badly, or not at all. Over a socket, on the protocol that serves."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from app.web.failures import Unavailable
from app.web.response_budget import answers
from tests.server.conftest import App, Listen, Send

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
async def ask(listen: Listen) -> Ask:
    """Serve an application, send it something, and return all that comes back until the other side hangs up."""

    async def asked(app: App, message: bytes = GET, *, seconds: float = 5.0) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app))
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

    return asked


async def test_what_is_not_taken_counts_until_it_is_or_the_client_is_gone(listen: Listen) -> None:
    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(start((b"content-length", b"20000000")))
        await send(body(b"x" * 20_000_000))

    for takes in (True, False):
        reader, writer = await connected(await listen(app))
        async with asyncio.timeout(5):
            while not answers.size:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert answers.size >= 20_000_000
        if takes:
            await reader.readexactly(20_000_000)
        else:
            writer.transport.abort()
        async with asyncio.timeout(5):
            while answers.size:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        writer.close()


async def test_the_client_that_takes_nothing_for_longest_is_cut(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.response_budget.MAX_UNSENT_BYTES", 30_000_000)
    first, second = [await connected(await listen(saying(start(), body(b"x" * 20_000_000)))) for _ in range(2)]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        async with asyncio.timeout(5):
            await first[0].readexactly(20_000_000)
    async with asyncio.timeout(5):
        await second[0].readexactly(20_000_000)
    for _, writer in (first, second):
        writer.close()


async def test_nobody_makes_the_rest_for_a_client_that_is_gone(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(b"x" * 100_000, more=True))
        finally:
            ended.set()

    _, writer = await connected(await listen(app))
    await asyncio.sleep(0.05)
    writer.transport.abort()
    async with asyncio.timeout(5):
        await ended.wait()
    assert not caplog.records


async def test_where_the_rest_is_unavailable_the_connection_is_cut(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"half", more=True))
        raise Unavailable

    answer = await ask(app)
    assert answer.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    assert not caplog.records


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and read nothing yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(GET)
    return reader, writer


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

    async def waiting(_scope: Any, receive: Any, send: Send) -> None:
        heard.extend([await receive(), await receive()])
        await send(start(LENGTH))
        await send(body())
        done.set()

    with pytest.raises(TimeoutError):
        await ask(waiting, HALF, seconds=0.1)
    await asyncio.wait_for(done.wait(), 5)
    assert heard == [{"type": "http.request", "body": b"ha", "more_body": True}, {"type": "http.disconnect"}]
