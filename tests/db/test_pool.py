"""The pool: statements that are prepared once, and connections that nobody needs, waits for, or hears of."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from app.db import pool as module
from app.db.errors import Overloaded
from app.db.pool import MAX_WAITERS
from app.db.statements import Statement
from app.db.transaction import transaction
from tests.db.test_connect import opened
from tests.faults.wire import wire_to


async def test_a_statement_is_prepared_once_on_each_connection(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        for number in range(3):
            assert [tuple(row) for row in await it.run("SELECT $1::int", [number])] == [(number,)]
        prepared = await it.run("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'", [])
        assert prepared[0][0] == 1


async def test_where_a_table_has_changed_its_statements_are_prepared_anew(
    database_url: str, sql: asyncpg.Connection, role: str
) -> None:
    await sql.execute(
        f"CREATE TABLE changing (a int); INSERT INTO changing VALUES (1); GRANT ALL ON changing TO {role}"
    )
    try:
        async with opened(database_url, pool_max=1) as it:
            assert [tuple(row) for row in await it.run("SELECT * FROM changing", [])] == [(1,)]
            await sql.execute("ALTER TABLE changing ADD COLUMN b int DEFAULT 2")
            assert [tuple(row) for row in await it.run("SELECT * FROM changing", [])] == [(1, 2)]
    finally:
        await sql.execute("DROP TABLE changing")


@pytest.mark.parametrize("least", [0, 1])
async def test_a_connection_that_nobody_needs_is_closed_but_for_the_least_that_there_are(
    database_url: str, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)
    async with opened(database_url, pool_min=least, pool_max=3) as it:
        await asyncio.gather(*(it.run("SELECT pg_sleep(0.02)", []) for _ in range(3)))
        kept = it.get_size()
        async with asyncio.timeout(3):
            while it.get_size() > least:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert (kept, it.get_size(), it.get_idle_size()) == (3, least, least)
        assert (await it.run("SELECT 1", []))[0][0] == 1


async def test_no_connection_is_lost_with_tasks_that_are_cancelled_when_one_comes(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        for _ in range(20):
            first = asyncio.create_task(it.run("SELECT 1", []))
            second = asyncio.create_task(it.run("SELECT 2", []))
            first.add_done_callback(lambda _, second=second: second.cancel())
            with suppress(asyncio.CancelledError):
                await second
            await first
        assert (await it.run("SELECT 3", []))[0][0] == 3
        assert it.get_idle_size() == it.get_size() == 1


async def test_a_connection_that_comes_to_a_task_that_was_cancelled_goes_on_to_the_next(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        held = await it.lease()
        first, second = (asyncio.create_task(it.run("SELECT pg_backend_pid()", [])) for _ in range(2))
        await asyncio.sleep(0)
        it.give_back(held)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second)[0][0] == held.connection.get_server_pid()
        assert it.get_idle_size() == it.get_size() == 1


async def test_a_place_that_comes_to_a_task_that_was_cancelled_goes_on_to_the_next(database_url: str) -> None:
    async with opened(database_url, pool_max=2, database_timeout=3) as it:
        held = [await it.lease(), await it.lease()]
        first, second = (asyncio.create_task(it.run("SELECT 1", [])) for _ in range(2))
        await asyncio.sleep(0)
        held[0].connection.terminate()
        it.give_back(held[0])  # a place is free, and the first is told, which is cancelled then
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second)[0][0] == 1
        it.give_back(held[1])


@pytest.mark.slow
async def test_a_statement_is_cancelled_in_time_also_where_its_server_would_not_end_it(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=1, database_timeout=0.3) as it:
        await it.run("SELECT set_config('statement_timeout', '0', false)", [])
        with pytest.raises(TimeoutError):
            await it.run("SELECT pg_sleep(1)", [])
        assert (await it.run("SELECT 1", []))[0][0] == 1
        async with asyncio.timeout(2):  # and it ends there, too
            while await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(5)'"):
                pass


async def test_a_connection_to_a_server_that_takes_no_changes_any_more_is_let_go(database_url: str) -> None:
    read_only = "SELECT set_config('default_transaction_read_only', 'on', false), pg_backend_pid()"
    change = "INSERT INTO rate_limits (email) VALUES ('nobody@example.com')"

    async with opened(database_url, pool_max=1) as it:

        async def piccolo() -> None:
            async with it.acquired() as connection:
                await connection.fetch(change)

        async def in_a_transaction() -> None:
            async with transaction(it) as ours:
                await ours.fetch(Statement(change))

        for ask in (lambda: it.run(change, []), in_a_transaction, piccolo):
            [[_, pid]] = await it.run(read_only, [])
            with pytest.raises((asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError)):
                await ask()
            [[after]] = await it.run("SELECT pg_backend_pid()", [])
            assert after != pid
            assert it.get_size() == 1


@pytest.mark.slow
async def test_a_task_that_has_waited_has_less_time_for_its_statement(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=1, database_timeout=1) as it:
        first = asyncio.create_task(it.run("SELECT pg_sleep(0.5)", []))
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await it.run("SELECT pg_sleep(0.9), 'the second'", [])
        waited = asyncio.get_running_loop().time() - began

        await first
        assert 0.7 < waited < 1
        assert (await it.run("SELECT 1", []))[0][0] == 1
        ended = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%''the second%'"
        assert await sql.fetchval(f"{ended} AND pid <> pg_backend_pid()") == 0


@pytest.mark.slow
async def test_with_one_that_falls_silent_those_are_closed_that_were_not_heard_of_since(database_url: str) -> None:
    async with wire_to(database_url) as wire, opened(wire.url, pool_max=3, database_timeout=1) as it:
        await asyncio.gather(*(it.run("SELECT pg_sleep(0.05)", []) for _ in range(2)))
        wire.cut()
        with pytest.raises(TimeoutError):
            await it.run("SELECT 1", [])
        wire.heal()
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(it.run("SELECT 1", []) for _ in range(2)))
        assert [rows[0][0] for rows in answers] == [1, 1]
        assert asyncio.get_running_loop().time() - began < 0.9


async def test_a_connection_that_ends_while_its_statement_is_cancelled_is_replaced(database_url: str) -> None:
    async with wire_to(database_url) as wire, opened(wire.url, pool_max=1) as it:
        [[before]] = await it.run("SELECT pg_backend_pid()", [])
        asked = asyncio.create_task(it.run("SELECT pg_sleep(5)", []))
        await asyncio.sleep(0.05)
        wire.hold()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        wire.hang_up()
        wire.heal()
        [[after]] = await it.run("SELECT pg_backend_pid()", [])
        assert after != before
        assert it.get_size() == 1


async def test_a_task_that_comes_when_too_many_wait_is_refused_immediately(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        async with it.acquired():
            waiting = [asyncio.create_task(it.run("SELECT 1", [])) for _ in range(MAX_WAITERS)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await it.run("SELECT 2", [])
        assert [rows[0][0] for rows in await asyncio.gather(*waiting)] == [1] * MAX_WAITERS
        assert (await it.run("SELECT 2", []))[0][0] == 2


@pytest.mark.slow
async def test_tasks_that_wait_no_more_are_not_counted(database_url: str) -> None:
    async with opened(database_url, pool_max=1, database_timeout=0.2) as it:
        async with it.acquired():
            gone = await asyncio.gather(*(it.run("SELECT 1", []) for _ in range(MAX_WAITERS)), return_exceptions=True)
            with pytest.raises(TimeoutError):
                await it.run("SELECT 2", [])
        assert {type(each) for each in gone} == {TimeoutError}
