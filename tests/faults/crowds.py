"""Clients on bare sockets who are slow on purpose, and what a process weighs meanwhile."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.faults.people import MINE

AUTH = f"Authorization: {MINE['authorization']}\r\n".encode()
POST = b"POST /api/tasks HTTP/1.1\r\nHost: x\r\n" + AUTH + b"Content-Length: %d\r\n\r\n"
FULL = 1024 * 1024  # the largest body there may be


class Slow(NamedTuple):
    """Says `first`, and then `drip` every so many seconds."""

    first: bytes
    drip: bytes = b""
    pause: float = 5.0


# No two of them may be told apart by their first bytes alone: half of them go on, too slowly.
SLOW = [
    Slow(b""),
    Slow(b"GET /api/tasks HTTP/1.1\r\nHos"),
    Slow(b"GET /api/tasks HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n", 1),
    Slow(POST % 1000 + b'{"title"'),
    Slow(POST % 1000 + b'{"title"', b" "),
]


async def outstay(port: int, slow: Slow) -> tuple[float, bytes]:
    """How many seconds until the other side hangs up, and what it says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    said = b""

    async def speak() -> None:
        writer.write(slow.first)
        while slow.drip:
            await asyncio.sleep(slow.pause)
            writer.write(slow.drip)

    speaking = asyncio.create_task(speak())
    try:
        async with asyncio.timeout(30):
            said = await reader.read()
    except ConnectionError:
        pass
    finally:
        lasted = time.monotonic() - began
        speaking.cancel()
        writer.close()
    return lasted, said


async def read_slowly(port: int, *, pause: float, seconds: float) -> int:
    """Ask for all tasks, and read 64 KiB at a time, pausing in between; after so many seconds all that is left.

    Returns how many bytes there were before the other side hung up.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        if pause > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # or the kernel would take it all
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        ask = b"GET /api/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + AUTH + b"\r\n"
        await loop.sock_sendall(connection, ask)
        size, until = 0, loop.time() + seconds
        while True:
            await asyncio.sleep(min(pause, max(until - loop.time(), 0)))
            piece = await loop.sock_recv(connection, 65536)
            size += len(piece)
            if not piece:
                return size


class Upload:
    """A body of the largest size whose last byte does not come; `said` is what the service says to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.said = b""
        self._writer = writer

    async def listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.said += piece

    def hang_up(self) -> None:
        self._writer.close()
        self.listening.cancel()

    listening: asyncio.Task[None]


async def upload(port: int) -> Upload:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    it = Upload(writer)
    it.listening = asyncio.create_task(it.listen(reader))
    with suppress(ConnectionError):
        writer.write(POST % FULL + b'{"title":"x"' + b" " * (FULL - 13))
        await writer.drain()
    return it


def weight(pids: Sequence[int]) -> list[float]:
    """The memory that processes have, in MB."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", ",".join(map(str, pids))], capture_output=True, check=True)
    return [int(line) / 1024 for line in told.stdout.split()]


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
