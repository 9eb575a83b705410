"""How connections to PostgreSQL are made: to a server, and through a pooler."""

import asyncio
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import psutil
import pytest
from piccolo.querystring import QueryString

from app.config.settings import ROOT, Settings
from app.db import connect, embedded
from app.db.engine import Database
from app.db.piccolo_engine import PiccoloEngine
from app.db.pool import Pool
from app.db.statements import Statement
from app.db.tables import RateLimit
from tests.conftest import SECRET

WHO_ANSWERS = Statement("SELECT pg_backend_pid()")
ECHO = Statement("SELECT :number::int AS number")
SLEEP = Statement("SELECT pg_sleep(:seconds::float)")

# A process that asks outside the pool, as Piccolo's commands do, and migrates.
COMMAND = """
import asyncio
import math
from app.config import settings
from app.db import connect, migrations

async def main():
    connection = await connect.connect(settings.current())
    for name in ("ada", "bob"):
        print((await connection.fetch("SELECT $1::text", name))[0][0])
    await connection.close()
    assert await migrations.migrate(settings.current()) == ""

asyncio.run(main())
"""


def configured(url: str, **changes: Any) -> Settings:
    return Settings(database_url=url, jwt_secrets=(SECRET,), **changes)


def with_options(url: str, **options: str) -> str:
    """The URL with more behind its question mark."""
    more = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    return f"{url}{'&' if '?' in url else '?'}{more}"


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[Pool]:
    """A pool of connections."""
    it = await connect.open_pool(configured(url, **changes))
    try:
        yield it
    finally:
        await it.close()


@asynccontextmanager
async def opened_database(url: str, **changes: Any) -> AsyncIterator[Database]:
    """A database that uses such a pool."""
    async with opened(url, **changes) as pool:
        database = Database()
        database.use(pool)
        yield database


async def scalar(pool: Pool, sql: str) -> Any:
    """The first value of the first row."""
    return (await pool.run(sql, []))[0][0]


class TestOptionsInTheURL:
    async def test_those_of_other_clients_are_left_out_and_the_rest_is_kept(self, database_url: str) -> None:
        url = with_options(
            database_url,
            channel_binding="require",
            connect_timeout="10",
            connection_limit="1",
            keepalives="1",
            keepalives_idle="30",
            pgbouncer="true",
            pool_timeout="0",
            schema="public",
            socket_timeout="5",
            supa="base-pooler.x",
            uselibpqcompat="true",
            # These are ours, or the server's own.
            application_name="the tests & more",
            sslmode="prefer",
            search_path="pg_catalog",
        )
        async with opened(url) as it:
            [row] = await it.run("SELECT current_setting('application_name'), current_setting('search_path')", [])

        assert tuple(row) == ("the tests & more", "pg_catalog")

    async def test_an_option_that_nobody_knows_is_for_the_server_to_refuse(self, database_url: str) -> None:
        with pytest.raises(asyncpg.UndefinedObjectError):
            await connect.connect(configured(with_options(database_url, no_such_setting="1")))

    @pytest.mark.parametrize(
        ("url", "left"),
        [
            ("postgresql:///tasks?host=/run/postgresql", "postgresql:///tasks?host=%2Frun%2Fpostgresql"),
            ("postgresql://ada@one:1,two/tasks?schema=public", "postgresql://ada@one:1,two/tasks"),
        ],
    )
    def test_what_stands_before_them_stays_as_it_is(self, url: str, left: str) -> None:
        assert connect.without_foreign_options(url) == left

    async def test_postgres_is_another_name_for_postgresql(self, database_url: str) -> None:
        url = database_url.replace("postgresql://", "postgres://")
        async with opened(url) as it:
            assert await scalar(it, "SELECT 1") == 1

    @pytest.mark.parametrize(
        ("mode", "first"), [("require", (80877103, "TLS first")), ("disable", (196608, "immediately"))]
    )
    async def test_sslmode_is_honoured(self, mode: str, first: tuple[int, str]) -> None:
        heard: list[int] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The first message has no type: its length, and what it wants.
            heard.append(int.from_bytes((await reader.readexactly(8))[4:]))
            writer.write(b"N")  # no TLS here
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises((OSError, asyncpg.InterfaceError, asyncpg.PostgresError)):
                await connect.connect(configured(f"postgresql://ada@127.0.0.1:{port}/tasks?sslmode={mode}"))

        assert heard == [first[0]]


class TestPool:
    async def test_a_connection_is_handed_back_as_it_is(self, database_url: str, sql: asyncpg.Connection) -> None:
        async with opened(database_url, pool_max=1) as it:
            async with it.acquired() as connection:
                pid = connection.get_server_pid()
                await connection.execute("SET application_name = 'kept'")
                await connection.fetch("SELECT 'the last word'")

            last = await sql.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
            assert last == "SELECT 'the last word'"
            assert await scalar(it, "SHOW application_name") == "kept"

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("statement_timeout", "700ms"),
            ("lock_timeout", "630ms"),
            ("idle_in_transaction_session_timeout", "700ms"),
        ],
    )
    async def test_the_server_ends_what_takes_too_long_even_if_we_do_not(
        self, database_url: str, setting: str, value: str
    ) -> None:
        async with opened(database_url, database_timeout=0.7) as it:
            assert await scalar(it, f"SHOW {setting}") == value

    async def test_defaults_of_the_database_that_would_refuse_what_we_ask_are_not_ours(
        self, new_database: Callable[[], str]
    ) -> None:
        url = new_database()
        connection = await asyncpg.connect(url)
        name = await connection.fetchval("SELECT current_database()")
        for default in ("default_transaction_isolation = 'serializable'", "row_security = off"):
            await connection.execute(f"ALTER DATABASE {name} SET {default}")
        await connection.close()
        async with opened(url) as it:
            shown = [await scalar(it, f"SHOW {name}") for name in ("transaction_isolation", "row_security")]
            assert shown == ["read committed", "on"]

    async def test_it_has_as_many_connections_as_configured(self, database_url: str) -> None:
        async with opened(database_url, pool_min=2, pool_max=3) as it:
            assert (it.get_size(), it.max_size) == (2, 3)
        async with opened(database_url, pool_min=0, pool_max=1) as it:
            assert it.get_size() == 0

    @pytest.mark.parametrize(("asked", "seconds"), [(None, 0.3), (0.1, 0.1)], ids=["no limit", "a limit"])
    async def test_nobody_waits_for_a_connection_without_a_limit(
        self, database_url: str, asked: float | None, seconds: float
    ) -> None:
        async with opened(database_url, pool_max=1, database_timeout=0.3) as it:
            async with it.acquired():
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    await it.lease(asyncio.get_running_loop().time() + (asked or math.inf))
                waited = time.monotonic() - began

            assert seconds - 0.04 < waited < seconds + 0.15  # nearly so long, and not longer but for a busy machine
            assert await scalar(it, "SELECT 1") == 1

    async def test_a_statement_that_is_cancelled_at_any_moment_leaves_no_transaction_open(
        self, database_url: str, sql: asyncpg.Connection
    ) -> None:
        async with opened(database_url, pool_max=1) as it:
            await cancel_at_every_moment(it, sql)
            assert await scalar(it, "SELECT 1") == 1

    @pytest.mark.parametrize("way", [connect.connect, connect.open_pool])
    async def test_a_host_that_says_nothing_is_a_timeout(self, way: Callable[..., Any]) -> None:
        done = asyncio.Event()

        async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await done.wait()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await way(configured(f"postgresql://ada@127.0.0.1:{port}/tasks", database_timeout=0.2))
        assert time.monotonic() - began < 1
        done.set()
        server.close()


async def cancel_at_every_moment(it: Pool, sql: asyncpg.Connection) -> None:
    """Cancel new statements after each number of the event loop's rounds, until the server is done with them.

    In one round in fifty it has heard what to prepare, and has not been told yet to go on.
    """
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    for n in range(300):
        asked = asyncio.create_task(it.run(f"SELECT $1::int AS number_{n}", [n]))
        for _ in range(n % 12):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(2):
            while await sql.fetchval(busy):
                pass


@pytest.fixture
async def behind_pgbouncer(pgbouncer: Callable[[str], str], database_url: str) -> AsyncIterator[Database]:
    """The database as the service sees it, through the pooler."""
    database = Database()
    await database.open(configured(pgbouncer(database_url), pool_max=10, database_timeout=10))
    async with asyncio.timeout(20):
        while not database.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield database
    await database.close()


async def test_a_pool_that_cannot_open_leaves_no_connection_open(database_url: str, sql: asyncpg.Connection) -> None:
    await sql.execute("CREATE ROLE one_connection LOGIN CONNECTION LIMIT 1")
    try:
        to = urlsplit(database_url)
        url = to._replace(netloc=f"one_connection@{to.netloc.rpartition('@')[2]}")
        with pytest.raises(asyncpg.PostgresError):
            await connect.open_pool(configured(url.geturl(), pool_min=3, pool_max=3))
        async with asyncio.timeout(10):
            while await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'one_connection'"):
                pass
    finally:
        await sql.execute("DROP ROLE one_connection")


async def test_an_embedded_server_that_was_killed_is_started_again_for_a_pool() -> None:
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        ours = Settings(database_url=None, jwt_secrets=(SECRET,), data_dir=Path(folder))
        try:
            pool = await connect.open_pool(ours)
            postmaster = psutil.Process(int((Path(folder) / "postgres" / "postmaster.pid").read_text().split()[0]))
            postmaster.kill()
            await asyncio.to_thread(postmaster.wait, 20)
            refused = await asyncio.gather(*(pool.run("SELECT 1", []) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(error, Exception) for error in refused)
            async with asyncio.timeout(20):
                while not await works(pool) or connect.REVIVING:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await pool.close()
        finally:
            embedded.server(ours.data_dir).stop()


async def works(pool: Pool) -> bool:
    try:
        return await scalar(pool, "SELECT true")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


class TestPgBouncer:
    async def test_two_hundred_concurrent_statements_on_its_two_connections_are_all_right(
        self, behind_pgbouncer: Database
    ) -> None:
        answers = await asyncio.gather(*(behind_pgbouncer.fetch(ECHO, number=n) for n in range(200)))

        assert [[tuple(row) for row in rows] for rows in answers] == [[(n,)] for n in range(200)]
        assert behind_pgbouncer.pool.get_size() > 2
        servers = await asyncio.gather(*(behind_pgbouncer.fetch(WHO_ANSWERS) for _ in range(50)))
        assert len({rows[0][0] for rows in servers}) <= 2

    async def test_two_services_with_the_same_statements_do_not_mind_each_other(
        self, behind_pgbouncer: Database, pgbouncer: Callable[[str], str], database_url: str
    ) -> None:
        async with opened(pgbouncer(database_url), pool_max=4) as other:
            answers = await asyncio.gather(
                *(behind_pgbouncer.fetch(ECHO, number=n) for n in range(50)),
                *(other.run("SELECT $1::text", [f"{n}"]) for n in range(50)),
            )

        assert [rows[0][0] for rows in answers] == [*range(50), *(f"{n}" for n in range(50))]

    async def test_piccolo_queries_and_transactions_work_too(self, behind_pgbouncer: Database) -> None:
        engine = PiccoloEngine(behind_pgbouncer)

        async def count() -> int:
            rows = await engine.run_querystring(RateLimit.count().querystrings[0])
            return rows[0]["count"]

        insert = QueryString("INSERT INTO rate_limits (email) VALUES ({})", "pooled@example.com")
        before = await count()
        async with engine.transaction() as transaction:
            await engine.run_querystring(insert)
            assert await count() == before + 1
            await transaction.rollback()

        assert await asyncio.gather(*(count() for _ in range(20))) == [before] * 20

    async def test_a_statement_that_is_cancelled_at_any_moment_keeps_no_server_to_itself(
        self, pgbouncer: Callable[[str], str], database_url: str, sql: asyncpg.Connection
    ) -> None:
        async with opened(pgbouncer(database_url), pool_max=1) as it:
            await cancel_at_every_moment(it, sql)

    async def test_after_many_that_were_cancelled_all_is_well(
        self, behind_pgbouncer: Database, sql: asyncpg.Connection
    ) -> None:
        moments = random.Random(6432)
        for _ in range(5):
            asked = [asyncio.create_task(behind_pgbouncer.fetch(SLEEP, seconds=0.002)) for _ in range(10)]
            await asyncio.sleep(moments.uniform(0, 0.02))
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

        answers = await asyncio.gather(*(behind_pgbouncer.fetch(ECHO, number=n) for n in range(50)))
        assert [rows[0][0] for rows in answers] == [*range(50)]
        open_ones = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert await sql.fetchval(open_ones) == 0

    @pytest.mark.slow
    def test_commands_that_run_one_after_the_other_do_not_meet_what_the_last_one_left(
        self, pgbouncer: Callable[[str], str], database_url: str
    ) -> None:
        environment = {**os.environ, "DATABASE_URL": pgbouncer(database_url)}
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", COMMAND],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.stdout, done.stderr, done.returncode) == ("ada\nbob\n", "", 0)
