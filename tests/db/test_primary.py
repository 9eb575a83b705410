"""Which of several servers is taken, and how long it takes to find it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from app.db.primary import NoPrimary, Servers

REFUSES = "127.0.0.1:1"


def host_of(url: str) -> str:
    """The server of a URL, as it stands before the path."""
    parts = urlsplit(url)
    sockets = parse_qs(parts.query).get("host")
    return quote(sockets[0], safe="") if sockets else parts.netloc.rpartition("@")[2]


def url_of(*hosts: str, like: str) -> str:
    parts = urlsplit(like)
    return f"postgresql://{parts.netloc.rpartition('@')[0]}@{','.join(hosts)}{parts.path}"


@contextmanager
def drops_packets() -> Iterator[str]:
    """A host that does not even refuse: its queue is full, so that the first packet gets no answer."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@asynccontextmanager
async def says_nothing() -> AsyncIterator[str]:
    done = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    done.set()
    server.close()


@asynccontextmanager
async def hangs_up() -> AsyncIterator[str]:
    """A host that takes the connection and ends it, like a proxy with nothing behind it."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def seconds_to(servers: Servers, limit: float) -> float:
    began = time.monotonic()
    connection = await servers.connect(timeout=limit)
    waited = time.monotonic() - began
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    return waited


class TestServers:
    async def test_those_that_refuse_or_hang_up_are_passed_over(self, database_url: str) -> None:
        async with hangs_up() as gone:
            servers = Servers(url_of(REFUSES, gone, host_of(database_url), like=database_url))
            assert await seconds_to(servers, 5) < 1

    @pytest.mark.slow
    async def test_one_that_drops_packets_gets_its_share_of_the_time_and_is_not_asked_again(
        self, database_url: str
    ) -> None:
        with drops_packets() as dead:
            servers = Servers(url_of(dead, host_of(database_url), like=database_url))
            assert 0.5 <= await seconds_to(servers, 1) < 0.9
            assert await seconds_to(servers, 1) < 0.3

    @pytest.mark.slow
    async def test_so_does_one_that_says_nothing(self, database_url: str) -> None:
        async with says_nothing() as silent:
            servers = Servers(url_of(silent, host_of(database_url), like=database_url))
            assert 0.5 <= await seconds_to(servers, 1) < 0.9
            assert await seconds_to(servers, 1) < 0.3

    async def test_where_there_is_none_the_last_trouble_is_told(self) -> None:
        with pytest.raises(ConnectionRefusedError):
            await Servers(f"postgresql://ada@{REFUSES},{REFUSES}/tasks").connect(timeout=1)

    async def test_a_server_that_takes_no_changes_is_none_where_they_are_asked_for(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        name = urlsplit(database_url).path.removeprefix("/")
        url = url_of(host_of(database_url), like=database_url)
        await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            with pytest.raises(NoPrimary):
                await Servers(f"{url}?target_session_attrs=read-write").connect(timeout=1)
            assert await seconds_to(Servers(url), 1) < 1  # a primary it is, all the same
        finally:
            await sql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
