"""Statements of which the later depend on what the earlier found: committed or rolled back together, and in time."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import asyncpg
import pytest

from app.db.engine import Database
from app.db.statements import Statement
from app.db.transaction import transaction
from app.web.errors import DATABASE_TROUBLE
from tests.db.test_connect import configured, opened

ADD = Statement("INSERT INTO rate_limits (email) VALUES (:email) RETURNING email")
SLEEP = Statement("SELECT pg_sleep(:seconds::float)")
NONSENSE = Statement("SELECT 1 / 0")
EVERYTHING = Statement("SELECT * FROM stepped")
COUNT = "SELECT count(*) FROM rate_limits"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"


class Changed(Exception):
    """Something that whoever is in a transaction thinks better of."""


@pytest.fixture
async def nothing(clean: None, sql: asyncpg.Connection) -> asyncpg.Connection:
    """A connection to look with, and nothing to be seen."""
    return sql


async def settled(sql: asyncpg.Connection) -> None:
    """Wait until no transaction is open."""
    async with asyncio.timeout(3):
        while await sql.fetchval(OPEN):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_done_in_it_is_kept_together(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:
        async with transaction(it) as ours:
            await ours.fetch(ADD, email="a")
            assert [row["email"] for row in await ours.fetch(ADD, email="b")] == ["b"]
            assert await nothing.fetchval(COUNT) == 0

        assert await nothing.fetchval(COUNT) == 2
        assert it.get_idle_size() == it.get_size() == 1


async def test_where_it_is_not_to_be_kept_nothing_is(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:
        async with transaction(it, keep=False) as ours:
            await ours.fetch(ADD, email="a")

        assert await nothing.fetchval(COUNT) == 0
        await it.run("SELECT 1", [])


async def test_a_server_that_takes_no_changes_any_more_is_left(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:
        [[_, pid]] = await it.run(
            "SELECT set_config('default_transaction_read_only', 'on', false), pg_backend_pid()", []
        )
        with pytest.raises((asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError)):
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
        async with transaction(it) as ours:
            await ours.fetch(ADD, email="b")

        [[other]] = await it.run("SELECT pg_backend_pid()", [])
        assert other != pid
        assert await nothing.fetchval(COUNT) == 1


@pytest.mark.parametrize("database_fails", [True, False])
async def test_what_is_raised_inside_takes_it_back_and_the_connection_stays(
    database_url: str, nothing: asyncpg.Connection, database_fails: bool
) -> None:
    async with opened(database_url, pool_max=1) as it:
        [[pid]] = await it.run("SELECT pg_backend_pid()", [])
        for _ in range(3):

            async def change() -> None:
                async with transaction(it) as ours:
                    await ours.fetch(ADD, email="a")
                    if database_fails:
                        await ours.fetch(NONSENSE)
                    raise Changed

            with pytest.raises((Changed, asyncpg.DivisionByZeroError)):
                await change()

        assert await it.run("SELECT pg_backend_pid()", []) == [(pid,)]
        assert await nothing.fetchval(COUNT) == 0


@pytest.mark.slow
async def test_all_of_it_together_has_as_long_as_one_statement(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1, database_timeout=0.5) as it:
        began = time.monotonic()

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                for _ in range(20):
                    await ours.fetch(SLEEP, seconds=0.1)

        with pytest.raises(DATABASE_TROUBLE):
            await change()

        assert 0.3 < time.monotonic() - began < 1
        await settled(nothing)
        assert await nothing.fetchval(COUNT) == 0
        assert (await it.run("SELECT 1", []))[0][0] == 1


async def test_what_expires_between_two_statements_is_not_kept(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                ours.pooled.expire()
                await asyncio.sleep(0.05)

        with pytest.raises(TimeoutError):
            await change()

        await settled(nothing)
        assert await nothing.fetchval(COUNT) == 0
        assert (await it.run("SELECT 1", []))[0][0] == 1


async def test_what_takes_its_expiry_for_its_own_is_not_kept_either(
    database_url: str, nothing: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=1) as it:

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                ours.pooled.expire()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.05)

        with pytest.raises(TimeoutError):
            await change()

        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await settled(nothing)
        assert await nothing.fetchval(COUNT) == 0


async def test_a_task_that_is_cancelled_when_its_transaction_expires_is_cancelled(
    database_url: str, nothing: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=1) as it:

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                ours.pooled.expire()
                running.cancel()
                await asyncio.sleep(0.05)

        running = asyncio.create_task(change())
        await asyncio.wait({running})
        assert running.cancelled()
        await settled(nothing)
        assert await nothing.fetchval(COUNT) == 0


async def test_a_commit_that_expires_may_not_be_believed(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                asyncio.get_running_loop().call_soon(ours.pooled.expire)  # the next that is waited for is the commit

        with pytest.raises(TimeoutError):
            await change()
        await settled(nothing)
        assert (await it.run("SELECT 1", []))[0][0] == 1


async def test_a_connection_that_is_cut_meanwhile_is_replaced(database_url: str, nothing: asyncpg.Connection) -> None:
    async with opened(database_url, pool_max=1) as it:

        async def change() -> None:
            async with transaction(it) as ours:
                await ours.fetch(ADD, email="a")
                await nothing.execute(f"SELECT pg_terminate_backend({ours.pooled.connection.get_server_pid()})")
                await asyncio.sleep(0.05)
                await ours.fetch(ADD, email="b")

        with pytest.raises(DATABASE_TROUBLE):
            await change()

        assert (await it.run("SELECT 1", []))[0][0] == 1
        assert await nothing.fetchval(COUNT) == 0


async def test_a_table_that_has_changed_since_is_found_out_by_the_next(
    database_url: str, nothing: asyncpg.Connection
) -> None:
    await nothing.execute("CREATE TABLE stepped (a int); GRANT SELECT ON stepped TO public")
    try:
        async with opened(database_url, pool_max=1) as it:
            async with transaction(it) as ours:
                await ours.fetch(EVERYTHING)
            await nothing.execute("ALTER TABLE stepped ADD b int")

            async def change() -> None:
                async with transaction(it) as ours:
                    await ours.fetch(EVERYTHING)

            with pytest.raises(asyncpg.InterfaceError):
                await change()
            async with transaction(it) as ours:
                assert await ours.fetch(EVERYTHING) == []
    finally:
        await nothing.execute("DROP TABLE stepped")


@pytest.fixture(params=["a server", "a pooler"])
async def behind(
    request: pytest.FixtureRequest, pgbouncer: Callable[[str], str], database_url: str
) -> AsyncIterator[Database]:
    """The database as the service sees it, either way."""
    database = Database()
    url = database_url if request.param == "a server" else pgbouncer(database_url)
    await database.open(configured(url, pool_max=10, database_timeout=10))
    async with asyncio.timeout(20):
        while not database.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield database
    await database.close()


@pytest.mark.slow
async def test_those_that_are_cancelled_at_any_moment_leave_nothing_open_and_no_connection_out(
    behind: Database, nothing: asyncpg.Connection
) -> None:
    kept = 0

    async def change(name: str) -> None:
        nonlocal kept
        async with behind.begin() as ours:
            await ours.fetch(ADD, email=name)
            await ours.fetch(SLEEP, seconds=0.001)
            await ours.fetch(ADD, email=f"{name} again")
        kept += 1

    moments = random.Random(6432)
    for number in range(20):
        asked = [asyncio.create_task(change(f"{number} {n}")) for n in range(10)]
        await asyncio.sleep(moments.uniform(0, 0.03))
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    await change("the last")
    await settled(nothing)
    async with asyncio.timeout(3):
        while behind.pool.get_idle_size() < behind.pool.get_size():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = await nothing.fetchval(COUNT)
    assert found % 2 == 0
    assert found >= 2 * kept  # what was cancelled in the middle of its commit may be there
