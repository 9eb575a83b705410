"""The pool's lanes: statements that are prepared once, and what becomes of a lane that nobody needs or waits for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from piccolo.querystring import QueryString

from app import lanes, pool
from app.settings import Settings
from app.statements import Statement
from tests.conftest import SECRET
from tests.faults.wire import wire_to


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[pool.GroupingPool]:
    it = await pool.open_pool(Settings(database_url=url, jwt_secrets=(SECRET,), **changes))
    try:
        yield it
    finally:
        await it.close()


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


async def test_a_lane_that_nobody_needs_is_handed_back(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SECONDS_KEPT", 0.1)
    async with opened(database_url, pool_max=3) as it:
        await asyncio.gather(*(it.run("SELECT pg_sleep(0.02)", []) for _ in range(3)))
        kept = asyncpg.Pool.get_idle_size(it)
        async with asyncio.timeout(3):
            while asyncpg.Pool.get_idle_size(it) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (kept, it.get_idle_size()) == (0, 3)
        assert (await it.run("SELECT 1", []))[0][0] == 1


async def test_no_lane_is_lost_with_those_who_are_cancelled_when_their_turn_comes(database_url: str) -> None:
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


async def test_a_turn_that_comes_to_somebody_who_was_cancelled_goes_on_to_the_next(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        held = await it.acquire(timeout=1)
        waiting = asyncio.create_task(it.run("SELECT 1", []))
        await asyncio.sleep(0)
        [(turn, _)] = it._waiting
        lane = lanes.Lane(held)
        turn.set_result(lane)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert it._idle == [lane]
        it._idle.clear()
        await it.release(held)


async def test_a_place_that_comes_to_somebody_who_was_cancelled_goes_on_to_the_next(database_url: str) -> None:
    async with opened(database_url, pool_max=2, database_timeout=3) as it:
        held = [await it.acquire(timeout=1), await it.acquire(timeout=1)]
        first, second = (asyncio.create_task(it.run("SELECT 1", [])) for _ in range(2))
        await asyncio.sleep(0)
        turns = [*it._waiting]
        it._waiting.clear()
        await it.release(held[0])  # a place is free, and the first is told, who is cancelled then
        it._waiting.append(turns[1])
        turns[0][0].set_result(None)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second)[0][0] == 1
        await it.release(held[1])


async def test_a_statement_is_given_up_in_time_also_where_its_server_would_not_end_it(
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
            async with it.acquire() as connection:
                await connection.fetch(change)

        async def in_steps() -> None:
            async with it.transaction() as steps:
                await steps.fetch(Statement(QueryString(change)))

        for ask in (lambda: it.run(change, []), in_steps, piccolo):
            [[_, pid]] = await it.run(read_only, [])
            with pytest.raises((asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError)):
                await ask()
            [[after]] = await it.run("SELECT pg_backend_pid()", [])
            assert after != pid
            assert it.get_size() == 1


async def test_who_has_waited_for_a_lane_has_less_time_on_it(database_url: str, sql: asyncpg.Connection) -> None:
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


async def test_with_a_lane_that_falls_silent_those_are_given_up_that_were_not_heard_of_since(database_url: str) -> None:
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


async def test_whoever_comes_when_too_many_wait_is_told_at_once(database_url: str) -> None:
    async with opened(database_url, pool_max=1) as it:
        held = await it.acquire(timeout=1)
        waiting = [asyncio.create_task(it.run("SELECT 1", [])) for _ in range(lanes.CROWD)]
        await asyncio.sleep(0)
        with pytest.raises(lanes.Crowded):
            await it.run("SELECT 2", [])
        await it.release(held)
        assert [rows[0][0] for rows in await asyncio.gather(*waiting)] == [1] * lanes.CROWD
        assert (await it.run("SELECT 2", []))[0][0] == 2


async def test_those_who_gave_up_waiting_are_no_crowd(database_url: str) -> None:
    async with opened(database_url, pool_max=1, database_timeout=0.2) as it:
        held = await it.acquire(timeout=1)
        gone = await asyncio.gather(*(it.run("SELECT 1", []) for _ in range(lanes.CROWD)), return_exceptions=True)
        with pytest.raises(TimeoutError):
            await it.run("SELECT 2", [])
        await it.release(held)
        assert {type(each) for each in gone} == {TimeoutError}
