"""Clients that are slow, or send more than one request at a time, on connections with short deadlines.

`tests/live/test_protocol.py` and `tests/live/test_overload.py` wait for those of a service that is served.
"""

import asyncio
import re
import time
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

from app.server.http1.limits import DEFAULTS, Limits
from tests.server.conftest import Listen

HEAD, BODY, KEEP_ALIVE, RESPONSE, LINGER, NOISE = 0.3, 0.6, 0.3, 0.5, 0.1, 1.5  # seconds
SHORT = Limits(
    head_seconds=HEAD,
    body_seconds=BODY,
    keep_alive_seconds=KEEP_ALIVE,
    response_seconds=RESPONSE,
    linger_seconds=LINGER,
)
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
EARLY = b"POST /early HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
go_on = asyncio.Event()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, and respond: 201 to a POST, 401 without reading to /early, later to /waiting, never to /never."""
    is_early, is_post = scope["path"] == "/early", scope["method"] == "POST"
    while is_post and not is_early:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            break
    if scope["path"] == "/waiting":
        await go_on.wait()
    if scope["path"] == "/never":
        await asyncio.sleep(60)
    status = 401 if is_early else 201 if is_post else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Slow(NamedTuple):
    """What a client sends, and after how long it gets what."""

    parts: tuple[bytes, ...]
    seconds: float
    statuses: list[bytes]
    drip: bytes = b""


SLOW = {
    "nothing": Slow((), HEAD, []),
    "an empty line": Slow((b"\r\n",), HEAD, []),
    "empty lines": Slow((), HEAD, [], b"\r\n"),
    "an empty line behind a request": Slow((GET, b"\r\n"), KEEP_ALIVE, [b"200"]),
    "half a head": Slow((b"GET / HTTP/1.1\r\nHos",), HEAD, [b"408"]),
    "a head that drips": Slow((b"GET / HTTP/1.1\r\nHost: x\r\n",), HEAD, [b"408"], b"X: y\r\n"),
    "half a head behind a request": Slow((GET, b"GET / HT"), HEAD, [b"200", b"408"]),
    "half a head in the end of another": Slow((GET[:8], GET[8:] + GET[:8]), HEAD, [b"200", b"408"]),
    "half a body": Slow((POST + b"Content-Length: 100\r\n\r\n{",), BODY, [b"408"]),
    "a body that drips": Slow((POST + b"Content-Length: 100\r\n\r\n{",), BODY, [b"408"], b" "),
    "half a chunk": Slow((POST + CHUNKED + b"5\r\n{",), BODY, [b"408"]),
    "a trailer that drips": Slow((POST + CHUNKED + b"0\r\n",), BODY, [b"408"], b"X: y\r\n"),
    "half a body that nobody reads": Slow((EARLY + b"Content-Length: 100\r\n\r\n{",), KEEP_ALIVE, [b"401"]),
    "a request that is never answered": Slow((GET.replace(b"/ ", b"/never "),), RESPONSE, [b"503"]),
    "one, and half a head": Slow((b"GET /never HT", b"TP/1.1\r\nHost: x\r\n\r\nGET"), HEAD + RESPONSE, [b"503"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
async def test_each_part_has_its_time_and_no_more(listen: Listen, slow: Slow) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, SHORT))

    async def speak() -> None:
        for part in slow.parts:
            writer.write(part)
            await asyncio.sleep(0.05)
        while slow.drip:
            writer.write(slow.drip)
            await asyncio.sleep(0.1)

    began = time.monotonic()
    speaking = asyncio.create_task(speak())
    said = b""
    async with asyncio.timeout(10):
        with suppress(ConnectionResetError):  # where the next drop comes too late
            while piece := await reader.read(65536):
                said += piece
    lasted = time.monotonic() - began
    speaking.cancel()
    writer.close()
    assert STATUS.findall(said) == slow.statuses
    assert slow.seconds * 0.9 < lasted < slow.seconds + LINGER + NOISE
    if slow.statuses[-1:] == [b"408"]:
        assert b'"code":"REQUEST_TIMEOUT"' in said
        assert b"connection: close\r\n" in said


def test_the_deadlines_and_sizes_of_the_service_are_those_of_the_contract() -> None:
    assert (DEFAULTS.head_seconds, DEFAULTS.head_bytes) == (5, 32 * 1024)
    assert (DEFAULTS.body_seconds, DEFAULTS.body_step_bytes) == (10, 16 * 1024)
    assert (DEFAULTS.sending_seconds, DEFAULTS.sending_step_bytes) == (10, 16 * 1024)
    assert (DEFAULTS.response_seconds, DEFAULTS.keep_alive_seconds, DEFAULTS.last_request_seconds) == (60, 5, 1)


@pytest.mark.slow
async def test_a_body_that_goes_on_has_all_the_time_that_it_takes(listen: Listen) -> None:
    limits = Limits(body_seconds=0.3, body_step_bytes=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, limits))
    writer.write(POST + b"Content-Length: 20000\r\n\r\n")
    for _ in range(20):
        writer.write(b" " * 1000)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.slow
async def test_a_body_that_the_service_does_not_read_is_not_late(listen: Listen) -> None:
    go_on.clear()
    limits = Limits(body_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, limits))
    head = POST + b"Connection: close\r\nContent-Length: 13\r\n\r\n"
    writer.write(GET.replace(b"/ ", b"/waiting ") + head + b'{"title"')
    await asyncio.sleep(0.5)
    go_on.set()
    writer.write(b':"x"}')
    async with asyncio.timeout(5):
        assert STATUS.findall(await reader.read()) == [b"200", b"201"]
    writer.close()


@pytest.mark.parametrize("first", [0, 8])
async def test_many_small_heads_concurrently_are_no_large_one(listen: Listen, first: int) -> None:
    many = 200
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, Limits(head_bytes=1000)))
    data = GET * many + GET.replace(b"Host", b"Connection: close\r\nHost")
    writer.write(data[:first])
    await asyncio.sleep(0.05)
    writer.write(data[first:])
    async with asyncio.timeout(10):
        assert STATUS.findall(await reader.read()) == [b"200"] * (many + 1)
    writer.close()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 900 + b"\r\n\r\n",), b"200"),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000 + b"\r\n\r\n",), b"431"),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 600, b"y" * 600), b"431"),
        ((POST + CHUNKED + b"0\r\nX: ", b"y" * 1100), b"431"),
        ((POST + CHUNKED + b"1;", b"y" * 1100), b"431"),
    ],
)
async def test_a_head_has_a_size_and_so_has_the_framing_of_a_body(
    listen: Listen, parts: tuple[bytes, ...], status: bytes
) -> None:
    limits = Limits(head_bytes=1000, keep_alive_seconds=0.1, linger_seconds=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, limits))
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        assert STATUS.findall(await reader.read()) == [status]
    writer.close()


async def test_a_body_whose_response_is_out_is_discarded_up_to_a_limit(listen: Listen) -> None:
    limits = Limits(discarded_bytes=100_000, linger_seconds=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listen(app, limits))
    writer.write(EARLY + b"Content-Length: 1000000\r\n\r\n")
    await asyncio.sleep(0.05)
    for _ in range(30):
        writer.write(b" " * 10_000)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(2):
        assert STATUS.findall(await reader.read()) == [b"401"]
    writer.close()
