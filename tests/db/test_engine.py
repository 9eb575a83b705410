"""The database as the rest of the service uses it: asked with a limit, whatever happens to it."""

import asyncio
import gc
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from litestar import Litestar
from piccolo.querystring import QueryString

from app.config import settings
from app.db import engine as module
from app.db import migrations, user_table
from app.db.embedded import EmbeddedPostgres
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable, just
from app.db.piccolo_engine import PiccoloEngine
from app.db.statements import Statement
from app.db.tables import RateLimit
from app.web.errors import failure_of
from tests.conftest import SECRET
from tests.faults.wire import wire_to

ECHO = Statement("SELECT :number::int AS number")
SLEEP = Statement("SELECT pg_sleep(:seconds::float)")
COUNT = Statement("SELECT count(*) FROM rate_limits")

TIMEOUT = 0.4  # seconds: long enough for a busy machine, short enough for us


@pytest.fixture(autouse=True)
def calm(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test leaves a task, a connection or a complaint of asyncio's behind."""
    caplog.set_level("INFO", "app")
    yield
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


Open = Callable[..., Awaitable[Database]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """A function that opens a database of the test's own at a URL. It says who it is by the name `ours`."""
    made: list[Database] = []

    async def open_(url: str, *, wait: bool = True, **changes: Any) -> Database:
        database = Database()
        made.append(database)
        await database.open(configured(named(url), **changes))
        if wait:
            await until(lambda: database.ready)
        return database

    yield open_
    for database in made:
        await database.close()


def configured(url: str, **changes: Any) -> settings.Settings:
    chosen = {"pool_max": 2, "database_timeout": TIMEOUT, **changes}
    return settings.Settings(database_url=url, jwt_secrets=(SECRET,), **chosen)


names = itertools.count(1)


def named(url: str) -> str:
    """The URL with a name for the connections that are made by it."""
    return f"{url}{'&' if '?' in url else '?'}application_name=ours-{next(names)}"


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if await met if isinstance(met, Awaitable) else met:
                return
            await asyncio.sleep(0.005)


def whole(database: Database) -> bool:
    """Every connection of the pool is back in it."""
    return database.pool.get_idle_size() == database.pool.get_size()


async def number(database: Database) -> int:
    """Ask on all connections of the pool concurrently."""
    answers = await asyncio.gather(*(database.fetch(ECHO, number=5) for _ in range(10)))
    return sum(rows[0]["number"] for rows in answers)


async def refused(question: Awaitable[Any]) -> float:
    """How long it took until a question was refused as a client would be told: 503."""
    began = time.monotonic()
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await question
    assert failure_of(raised.value).status == 503, repr(raised.value)
    return time.monotonic() - began


class TestOpening:
    async def test_nothing_is_asked_before_it_is_open(self) -> None:
        database = Database()

        assert await refused(database.fetch(COUNT)) < 0.1
        assert await refused(database.fetch_long(COUNT)) < 0.1
        assert await refused(database.fetch_beside(COUNT)) < 0.1
        assert await database.is_ready() is False

    async def test_it_opens_behind_the_backs_of_those_who_open_it(self, opened: Open, database_url: str) -> None:
        database = await opened(database_url, wait=False)
        assert database.ready is False
        with pytest.raises(DatabaseUnavailable):
            await database.fetch(COUNT)

        await until(lambda: database.ready)
        assert await database.is_ready() is True
        assert await number(database) == 50

    async def test_an_engine_of_piccolos_connects_to_nothing_when_it_is_made(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "current", None)  # what it would have to ask

        engine = PiccoloEngine(Database())

        await engine.check_version()
        await engine.prep_database()

    @pytest.mark.slow
    async def test_where_there_is_no_server_it_says_so_once_and_is_ready_when_one_comes(
        self, opened: Open, elsewhere: "Elsewhere", caplog: pytest.LogCaptureFixture
    ) -> None:
        elsewhere.server.stop()
        began = time.monotonic()
        database = await opened(elsewhere.url, wait=False)
        assert time.monotonic() - began < 0.1
        await asyncio.sleep(0.5)  # three attempts
        assert database.ready is False
        assert [line.partition(" as user ")[2] for line in told(caplog)] == [
            '"postgres": nothing listens there. Start PostgreSQL, or correct the host in DATABASE_URL. Trying on.'
        ]

        await asyncio.to_thread(elsewhere.server.start)
        await until(lambda: database.ready)

        assert await number(database) == 50
        assert told(caplog)[1:] == [user_table.told(None, ours=False), "The database is ready."]

    @pytest.mark.slow
    async def test_where_migrations_are_missing_it_says_so_once_and_is_ready_when_they_are_not(
        self, opened: Open, new_database: Callable[[], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        url = new_database()
        database = await opened(url, wait=False)
        await until(lambda: told(caplog))
        await asyncio.sleep(0.6)  # it looked again in between
        assert database.ready is False
        assert await refused(database.fetch(ECHO, number=1)) < 0.1
        lacking = f"The database lacks {len(migrations.known())} migrations. Apply them: {just('migrate')}"
        assert told(caplog) == [lacking]

        await pretend_to_migrate(url)
        await until(lambda: database.ready)

        assert await database.is_ready() is True
        assert told(caplog) == [lacking, user_table.told(None, ours=False), "The database is ready."]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "end",
        [
            "?host=127.0.0.1&sslmode=nonsense",
            "?host=127.0.0.1&port=nonsense",
            "?host=127.0.0.1&sslrootcert=/nowhere&sslmode=verify-full",
        ],
    )
    async def test_a_url_that_cannot_work_does_not_end_the_attempts(
        self, opened: Open, caplog: pytest.LogCaptureFixture, end: str
    ) -> None:
        database = await opened(f"postgresql://ada:hers@/tasks{end}", wait=False)
        await until(lambda: told(caplog))
        await asyncio.sleep(0.15)

        assert [line.startswith('Cannot use the database "tasks" on 127.0.0.1:') for line in told(caplog)] == [True]
        await database.close()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("app.")]


class TestTrouble:
    @pytest.mark.slow
    async def test_a_locked_table_is_503_in_time_and_nothing_is_lost(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url)
        assert await number(database) == 50
        async with sql.transaction():
            await sql.execute("LOCK TABLE rate_limits")
            waited = await asyncio.gather(*(refused(database.fetch(COUNT)) for _ in range(2)))

        assert all(TIMEOUT * 0.9 <= each < TIMEOUT * 2 for each in waited)
        await until(lambda: whole(database))
        assert database.pool.get_size() == 2
        assert len(await database.fetch(COUNT)) == 1
        assert await number(database) == 50

    @pytest.mark.slow
    async def test_whoever_gets_no_connection_is_told_so_in_time(self, opened: Open, database_url: str) -> None:
        database = await opened(database_url)
        async with database.pool.acquired(), database.pool.acquired():
            waited = await asyncio.gather(*(refused(database.fetch(COUNT)) for _ in range(20)))

        assert all(TIMEOUT * 0.9 <= each < TIMEOUT * 2 for each in waited)
        assert await number(database) == 50
        assert whole(database)

    @pytest.mark.slow
    async def test_a_connection_that_the_server_ends_is_503_now_and_replaced(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url, database_timeout=5)
        asked = [asyncio.create_task(refused(database.fetch(SLEEP, seconds=4))) for _ in range(2)]
        sleeping = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        await until(lambda: is_so(sql, f"SELECT count(*) = 2 FROM ({sleeping}) AS them"))
        await sql.execute(f"SELECT pg_terminate_backend(pid) FROM ({sleeping}) AS them")

        assert max(await asyncio.gather(*asked)) < 2
        assert await number(database) == 50
        assert database.pool.get_size() == 2

    @pytest.mark.slow
    async def test_connections_that_end_while_nobody_uses_them_are_not_noticed(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url)
        assert await number(database) == 50
        ours = "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name LIKE 'ours-%'"
        pids = await sql.fetchval(ours)
        await sql.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
        await until(lambda: is_so(sql, f"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY(ARRAY{pids})"))
        await asyncio.sleep(0.05)  # until the client has heard of it

        assert await number(database) == 50

    async def test_a_server_that_stops_is_503_immediately_and_when_it_is_back_all_is_well(
        self, opened: Open, elsewhere: "Elsewhere"
    ) -> None:
        database = await opened(elsewhere.url)
        assert await number(database) == 50

        await asyncio.to_thread(elsewhere.server.stop)
        assert await refused(database.fetch(COUNT)) < TIMEOUT * 2
        assert await refused(database.fetch_all((COUNT, {}), (COUNT, {}))) < TIMEOUT * 2
        assert await database.is_ready() is False

        await asyncio.to_thread(elsewhere.server.start)
        await until(database.is_ready, 3)
        assert await number(database) == 50

    @pytest.mark.slow
    async def test_a_peer_that_falls_silent_is_503_in_time_and_its_connections_are_closed(
        self, opened: Open, database_url: str
    ) -> None:
        async with wire_to(database_url) as wire:
            database = await opened(wire.url)
            assert await number(database) == 50

            wire.cut()
            async with asyncio.timeout(TIMEOUT * 8):  # Piccolo's own statements have the driver's timeout
                assert await refused(PiccoloEngine(database).run_querystring(QueryString("SELECT 1"))) < TIMEOUT * 4
            for _ in range(2):
                waited = await asyncio.gather(*(refused(database.fetch(ECHO, number=1)) for _ in range(5)))
                assert max(waited) < TIMEOUT * 2
            assert await database.is_ready() is False

            # New ones get through again; those from before stay silent for ever.
            wire.heal()
            await until(database.is_ready, 5 * TIMEOUT)
            assert await number(database) == 50
            assert database.pool.get_size() == 2
            assert whole(database)

    @pytest.mark.slow
    async def test_whether_it_answers_is_told_immediately_also_where_no_connection_is_free(
        self, opened: Open, database_url: str
    ) -> None:
        database = await opened(database_url)
        async with database.pool.acquired(), database.pool.acquired():
            began = time.monotonic()
            answers = await asyncio.gather(*(database.is_ready() for _ in range(20)))
            assert time.monotonic() - began < TIMEOUT / 2

        assert answers == [True] * 20

    @pytest.mark.slow
    async def test_of_a_silent_one_it_is_told_in_a_second_that_it_does_not_answer_and_soon_that_it_does(
        self, opened: Open, database_url: str
    ) -> None:
        async with wire_to(database_url) as wire:
            database = await opened(wire.url, database_timeout=20)
            assert await database.is_ready() is True

            wire.cut()
            for _ in range(2):  # on a connection that is there, and on one that does not come about
                began = time.monotonic()
                assert await database.is_ready() is False
                assert time.monotonic() - began < 1.5

            wire.heal()
            await until(database.is_ready, 2)

    @pytest.mark.slow
    async def test_a_question_that_is_still_asked_when_it_closes_is_cancelled(
        self, opened: Open, database_url: str
    ) -> None:
        async with wire_to(database_url) as wire:
            database = await opened(wire.url)
            assert await database.is_ready() is True
            wire.cut()
            asked = asyncio.create_task(database.is_ready())
            await asyncio.sleep(0.05)
            wire.heal()

            began = time.monotonic()
            await database.close()
            assert time.monotonic() - began < 2
            assert await asked is False

    @pytest.mark.slow
    async def test_an_error_of_the_statement_itself_is_passed_on(self, opened: Open, database_url: str) -> None:
        database = await opened(database_url)
        divide = Statement("SELECT 1 / :number::int")

        with pytest.raises(asyncpg.DivisionByZeroError):
            await database.fetch(divide, number=0)


async def is_so(sql: asyncpg.Connection, question: str) -> bool:
    return await sql.fetchval(question)


class TestCancelling:
    @pytest.mark.slow
    async def test_a_hundred_at_random_moments_cost_no_connection_and_leave_no_transaction(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        moments = random.Random(1)
        # Without TLS, as on a wire.
        database = await opened(f"{named(database_url)}&sslmode=disable", pool_max=5, database_timeout=5)

        async def was_cancelled(statement: Statement, **values: Any) -> bool:
            asked = asyncio.create_task(database.fetch(statement, **values))
            await asyncio.sleep(moments.uniform(0, 0.02))
            asked.cancel()
            return isinstance((await asyncio.gather(asked, return_exceptions=True))[0], BaseException)

        cancelled = await asyncio.gather(*(was_cancelled(SLEEP, seconds=0.004) for _ in range(100)))

        assert sum(cancelled) > 50  # it was tried
        await until(lambda: whole(database))
        assert await number(database) == 50
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ours-%' AND state <> 'idle'"
        await until(lambda: is_so(sql, f"SELECT ({left}) = 0"))
        assert database.pool.get_size() <= 5

    @pytest.mark.slow
    async def test_the_statement_itself_ends_too(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url, database_timeout=5)
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        await until(lambda: is_so(sql, f"SELECT ({sleeping}) = 0"))  # what a test before this one has left behind
        asked = asyncio.create_task(database.fetch(SLEEP, seconds=4.5))
        await until(lambda: is_so(sql, f"SELECT ({sleeping}) = 1"))

        asked.cancel()

        await until(lambda: is_so(sql, f"SELECT ({sleeping}) = 0"), 2)
        with pytest.raises(asyncio.CancelledError):
            await asked


class TestClosing:
    async def test_all_connections_are_given_back(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url)
        assert await number(database) == 50
        await database.close()

        ours = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'ours-%'"
        await until(lambda: is_so(sql, ours))
        assert await refused(database.fetch(COUNT)) < 0.1
        assert await refused(database.fetch_all((COUNT, {}))) < 0.1

    @pytest.mark.slow
    async def test_one_that_is_busy_is_waited_for(self, opened: Open, database_url: str) -> None:
        database = await opened(database_url, database_timeout=5)
        asked = asyncio.create_task(database.fetch(SLEEP, seconds=0.2))
        await asyncio.sleep(0.05)
        await database.close()

        assert asked.done()
        assert len(await asked) == 1

    @pytest.mark.slow
    async def test_one_that_stays_busy_is_cut_in_time(
        self, opened: Open, database_url: str, sql: asyncpg.Connection
    ) -> None:
        database = await opened(database_url)
        async with database.pool.acquired() as held:
            its_pid = held.get_server_pid()
            began = time.monotonic()
            await database.close()

        assert TIMEOUT * 0.9 <= time.monotonic() - began < TIMEOUT * 2
        await until(lambda: is_so(sql, f"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {its_pid}"))

    @pytest.mark.slow
    async def test_it_can_be_closed_before_it_has_opened(self, opened: Open) -> None:
        database = await opened("postgresql://ada@127.0.0.1:1/nobody-listens", wait=False)
        await asyncio.sleep(0.05)
        await database.close()
        await Database().close()

        assert database.ready is False

    @pytest.mark.slow
    async def test_it_can_be_opened_again(self, opened: Open, database_url: str) -> None:
        database = await opened(database_url)
        await database.close()
        await database.open(configured(database_url))
        await until(lambda: database.ready)

        assert await number(database) == 50


class TestPiccolo:
    @pytest.mark.slow
    async def test_its_queries_use_the_pool(self, running: Litestar, clean: None) -> None:
        async def mine() -> set[int]:
            return {row["pid"] for row in await RateLimit.raw("SELECT pg_backend_pid() AS pid")}

        await RateLimit.insert(RateLimit(email="ada@example.com", failed_attempts=1))
        pids = set.union(*[await mine() for _ in range(50)])

        assert await RateLimit.select(RateLimit.email, RateLimit.failed_attempts) == [
            {"email": "ada@example.com", "failed_attempts": 1}
        ]
        assert len(pids) <= module.database.pool.max_size
        assert whole(module.database)

    async def test_without_a_pool_each_has_a_connection_of_its_own(self, database_url: str) -> None:
        engine = PiccoloEngine(Database())
        pid = QueryString("SELECT pg_backend_pid() AS pid, current_database() AS name")

        rows = [(await engine.run_querystring(pid))[0] for _ in range(2)]
        connection = await engine.get_new_connection()  # as Piccolo's `batch` has one
        rows += await connection.fetch(pid.compile_string()[0])
        await connection.close()

        assert len({row["pid"] for row in rows}) == 3
        assert {row["name"] for row in rows} == {urlsplit(database_url).path[1:]}

    @pytest.mark.slow
    async def test_a_transaction_is_one_with_a_pool_and_without(self, opened: Open, database_url: str) -> None:
        insert = QueryString("INSERT INTO rate_limits (email) VALUES ({})", "bob@example.com")
        for engine in (PiccoloEngine(await opened(database_url)), PiccoloEngine(Database())):
            async with engine.transaction() as transaction:
                before = (await engine.run_querystring(QueryString(COUNT.sql)))[0]["count"]
                await engine.run_querystring(insert)
                after = (await engine.run_querystring(QueryString(COUNT.sql)))[0]["count"]
                await transaction.rollback()

            assert after == before + 1
            assert (await engine.run_querystring(QueryString(COUNT.sql)))[0]["count"] == before

    async def test_a_connection_to_a_server_that_takes_no_changes_any_more_ends_with_its_transaction(
        self, opened: Open, database_url: str
    ) -> None:
        database = await opened(database_url, pool_max=1)
        engine, pid = PiccoloEngine(database), Statement("SELECT pg_backend_pid() AS pid")
        [[before]] = await database.fetch(pid)

        async def change() -> None:
            async with engine.transaction():
                await engine.run_ddl("SET TRANSACTION READ ONLY")
                await engine.run_querystring(QueryString("INSERT INTO rate_limits (email) VALUES ('bob')"))

        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await change()
        [[after]] = await database.fetch(pid)
        assert after != before


class Elsewhere:
    """A server that a test may stop and start, with a database that says that it is migrated."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres(folder)
        self.url = f"postgresql://postgres@/postgres?host={quote(self.server.start()['host'], safe='')}"


async def pretend_to_migrate(url: str) -> None:
    """Make the list of migrations say what it says after all of them. They themselves take seconds."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE migration (app_name text, name text)")
    await connection.executemany("INSERT INTO migration VALUES ($1, $2)", list(migrations.known()))
    await connection.execute(
        "CREATE TABLE rate_limits (); CREATE TABLE task_settings (history_versions integer, max_labels integer)"
    )
    await connection.close()


@pytest.fixture(scope="module")
async def elsewhere() -> AsyncIterator[Elsewhere]:
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        it = Elsewhere(Path(folder))
        await pretend_to_migrate(it.url)
        yield it
        it.server.stop()
