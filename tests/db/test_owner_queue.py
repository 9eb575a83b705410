"""Each owner has two statements in flight: the rest of theirs wait in order, and nobody else for them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from app.db import group_commit, owner_queue
from app.db.engine import Database
from app.db.errors import Overloaded
from app.db.statements import Statement
from tests.db.test_connect import opened_database

SLOW = "SELECT pg_advisory_xact_lock_shared(7), :owner::text"
QUICK = "SELECT :owner::text"
SLEEP = "SELECT pg_sleep(0.7), :owner::text"
BUSY = """
    SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
# Fails where it is in a group and the row is held, as a change of tasks does.
ADD = Statement("INSERT INTO owned SELECT :owner, :number RETURNING number")
IN_A_GROUP = "INSERT INTO owned SELECT $1, $2 WHERE (SELECT set_config('lock_timeout', '50ms', true)) IS NOT NULL"
ADD.group_sql = f"{IN_A_GROUP} RETURNING number, $3::int AS place"


@pytest.fixture
async def table(clean: None, sql: asyncpg.Connection, role: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look with, at a table that is empty."""
    await sql.execute(f"CREATE TABLE owned (owner text, number text PRIMARY KEY); GRANT ALL ON owned TO {role}")
    yield sql
    await sql.execute("DROP TABLE owned")


@asynccontextmanager
async def held(table: asyncpg.Connection, *numbers: str) -> AsyncGenerator[None]:
    """Whoever adds one of these waits meanwhile."""
    transaction = table.transaction()
    await transaction.start()
    await table.executemany("INSERT INTO owned VALUES ('nobody', $1)", [(number,) for number in numbers])
    try:
        yield
    finally:
        await transaction.rollback()


@asynccontextmanager
async def held_up(sql: asyncpg.Connection) -> AsyncGenerator[None]:
    """Whatever is slow takes until the end of this."""
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock(7)")
        yield


def ask(database: Database, owner: str, sql: str = SLOW) -> "asyncio.Task[list[Any]]":
    return asyncio.create_task(database.fetch(Statement(sql), owner=owner))


def add(database: Database, owner: str, number: str) -> "asyncio.Task[Sequence[Any]]":
    return asyncio.create_task(database.change(ADD, owner=owner, number=number))


def is_idle(database: Database) -> bool:
    """Whether nobody waits, and nothing is kept of anybody."""
    queues = database.owners, database.long_reads._of_owner
    kept = [each for queue in queues for each in vars(queue).values() if isinstance(each, dict) and each]
    return not kept and not database.get_waiting_size()


async def test_an_owner_has_two_statements_in_flight_and_everybody_else_is_served(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with opened_database(database_url) as it:
        async with held_up(sql):
            mine = [ask(it, "ada") for _ in range(6)]
            async with asyncio.timeout(5):
                while await sql.fetchval(BUSY) != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (await ask(it, "bob", QUICK))[0][0] == "bob"
            assert await sql.fetchval(BUSY) == 2
            assert it.get_waiting_size() == 4
        await asyncio.gather(*mine)
        assert is_idle(it)


async def test_no_owner_has_all_connections(database_url: str, sql: asyncpg.Connection) -> None:
    async with opened_database(database_url, pool_max=2) as it:
        async with held_up(sql):
            mine = [ask(it, "ada") for _ in range(3)]
            assert (await ask(it, "bob", QUICK))[0][0] == "bob"
        await asyncio.gather(*mine)


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    queue = owner_queue.OwnerQueue(owner_queue.LIMIT, 10, 5, 0.5)
    until = asyncio.get_running_loop().time() + 5
    served: list[int] = []

    async def one(number: int) -> None:
        await queue.acquire("ada", until)
        served.append(number)

    waiting = [asyncio.create_task(one(number)) for number in range(6)]
    for count in range(2, 7):
        await asyncio.sleep(0.01)
        assert served == [*range(count)]
        queue.release("ada")
    await asyncio.gather(*waiting)


async def test_a_transaction_counts_for_its_whole_length(database_url: str) -> None:
    async with opened_database(database_url) as it:
        async with it.begin("ada") as one, it.begin("ada"):
            third, other = ask(it, "ada", QUICK), ask(it, "bob", QUICK)
            await other
            await one.fetch(Statement("SELECT 1"))
            assert not third.done()
        await third
        with pytest.raises(ZeroDivisionError):
            async with it.begin("ada", keep=False):
                raise ZeroDivisionError
        assert is_idle(it)


@pytest.mark.slow
async def test_whoever_waits_has_no_more_time_than_anybody(database_url: str, sql: asyncpg.Connection) -> None:
    async with opened_database(database_url, database_timeout=1) as it:
        first = [ask(it, "ada", SLEEP) for _ in range(2)]
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        began = loop.time()
        second = [ask(it, "ada", SLEEP) for _ in range(4)]
        told = await asyncio.gather(*second, return_exceptions=True)
        assert {type(each) for each in told} == {TimeoutError}
        assert loop.time() - began < 1.2
        await asyncio.gather(*first)
        assert is_idle(it)


async def test_whoever_has_gone_waits_no_longer(database_url: str, sql: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it:
        async with held_up(sql):
            first = [ask(it, "ada") for _ in range(2)]
            await asyncio.sleep(0)
            gone, last = ask(it, "ada"), ask(it, "ada", QUICK)
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
            assert it.get_waiting_size() == 1
        await last
        await asyncio.gather(*first)
        assert is_idle(it)


async def test_a_place_that_comes_in_the_moment_of_going_is_the_next_ones() -> None:
    queue = owner_queue.OwnerQueue(owner_queue.LIMIT, 10, 5, 0.5)
    for _ in range(owner_queue.LIMIT):
        await queue.acquire("ada", 0)
    until = asyncio.get_running_loop().time() + 5
    gone, waits = (asyncio.create_task(queue.acquire("ada", until)) for _ in range(2))
    await asyncio.sleep(0)
    queue.release("ada")
    gone.cancel()
    await waits
    assert gone.cancelled()
    for _ in range(owner_queue.LIMIT):
        queue.release("ada")
    assert queue.get_waiting_size() == 0
    assert all(queue.try_acquire("ada") for _ in range(owner_queue.LIMIT))


async def test_more_than_may_wait_are_told_immediately_and_somebody_else_is_not(
    database_url: str, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_queue, "MAX_WAITERS", 1)
    async with opened_database(database_url, pool_max=5) as it:
        async with held_up(sql):
            waiting = [ask(it, "ada") for _ in range(10)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await ask(it, "ada")
            others = [ask(it, "bob") for _ in range(10)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                async with it.begin("bob"):
                    pass
            # She has nobody waiting yet: two users do not fill the place of all others.
            hers = await asyncio.gather(*[ask(it, "eve", QUICK) for _ in range(owner_queue.LIMIT + owner_queue.FEW)])
            assert {rows[0][0] for rows in hers} == {"eve"}
        await asyncio.gather(*waiting, *others)
        assert is_idle(it)


async def test_while_many_wait_only_those_with_few_waiting_are_let_in() -> None:
    queue = owner_queue.OwnerQueue(owner_queue.LIMIT, 20, 5, 0.5)

    def join(owner: str) -> int:
        """How many of the owner's are let in."""
        for count in range(30):
            try:
                queue.join(owner)
            except Overloaded:
                return count
        return 30

    assert [join(name) for name in ("ada", "bob", "eve", "dan")] == [20, 20, owner_queue.FEW, owner_queue.FEW]
    for _ in range(owner_queue.FEW + 1):
        queue.quit("ada")
        queue.quit("bob")
    assert join("eve") == 2
    for name, count in (("ada", 11), ("bob", 11), ("eve", 10), ("dan", 8)):
        for _ in range(count):
            queue.quit(name)
    assert join("joan") == 20


def read_much(database: Database, owner: str, sql: str = SLOW) -> "asyncio.Task[list[Any]]":
    return asyncio.create_task(database.fetch_long(Statement(sql), owner=owner))


async def test_whoever_waits_for_a_turn_keeps_nobody_from_reading_much(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with opened_database(database_url) as it:
        async with held_up(sql):
            mine = [ask(it, "ada") for _ in range(owner_queue.LIMIT)]
            await asyncio.sleep(0)
            waiting = [read_much(it, "ada", QUICK) for _ in range(5)]
            await asyncio.sleep(0)
            assert (await read_much(it, "bob", QUICK))[0][0] == "bob"
            assert it.get_waiting_size() == 5
        await asyncio.gather(*mine, *waiting)
        assert is_idle(it)


async def test_three_read_much_at_a_time_and_one_of_each_owner(database_url: str, sql: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it:
        async with held_up(sql):
            mine = [read_much(it, "ada") for _ in range(3)]
            others = [read_much(it, name) for name in ("bob", "eve", "dan")]
            async with asyncio.timeout(5):
                while await sql.fetchval(BUSY) != 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert it.get_waiting_size() == 3
            assert (await ask(it, "ada", QUICK))[0][0] == "ada"  # her other turn is free
            assert await sql.fetchval(BUSY) == 3
        assert {rows[0][1] for rows in await asyncio.gather(*mine, *others)} == {"ada", "bob", "eve", "dan"}
        assert is_idle(it)


@pytest.mark.slow
async def test_whoever_waits_to_read_much_has_no_more_time_than_anybody(
    database_url: str, sql: asyncpg.Connection
) -> None:
    async with opened_database(database_url, database_timeout=1) as it:
        for _ in range(owner_queue.LONG_READS):
            assert it.long_reads._of_all.try_acquire("")
        waiting = [read_much(it, name, QUICK) for name in ("ada", "ada", "bob")]
        async with asyncio.timeout(3):
            told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in told] == [TimeoutError] * 3
        it.long_reads._of_all.release("")
        assert (await read_much(it, "ada", QUICK))[0][0] == "ada"
        assert is_idle(it)


async def test_the_changes_of_one_owner_are_one_batch_and_count_as_one(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url) as it:
        await asyncio.gather(*(add(it, "ada", f"{number}") for number in range(64)))
        transactions = await table.fetchval("SELECT count(DISTINCT xmin::text) FROM owned")
        assert is_idle(it)
    assert transactions == 3  # two went by themselves


async def test_an_owner_whose_rows_are_held_keeps_nobody_elses_changes_waiting(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "FEW", 1)
    async with opened_database(database_url) as it:
        async with held(table, "x"):
            mine = [add(it, "ada", f"{number}") for number in ("x", "y", "z", "x", *range(10))]
            others = [add(it, "bob", f"b{number}") for number in range(10)]
            await asyncio.wait_for(asyncio.gather(*others), 3)
            assert not mine[0].done()
            late = [add(it, "ada", f"late {number}") for number in range(100)]  # more than go in a group
            await asyncio.sleep(0.05)
            late[0].cancel()
        told = await asyncio.gather(*mine, *late, return_exceptions=True)
        assert [type(each) for each in told if isinstance(each, BaseException)] == [
            asyncpg.UniqueViolationError,
            asyncio.CancelledError,
        ]
        assert is_idle(it)
    assert await table.fetchval("SELECT count(*) FROM owned WHERE owner = 'ada'") == 13 + 99


@pytest.mark.slow
async def test_changes_that_wait_for_their_owners_turn_have_no_more_time_than_others(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url, database_timeout=1) as it:
        loop = asyncio.get_running_loop()
        for _ in range(owner_queue.LIMIT):
            await it.owners.turn("ada")
        began = loop.time()
        mine = [add(it, "ada", f"{number}") for number in range(3)]
        large = add(it, "ada", "x" * 20_000)
        await asyncio.sleep(0.1)
        assert it.get_waiting_size() >= 4
        await add(it, "bob", "his")
        told = await asyncio.gather(*mine, large, return_exceptions=True)
        assert {type(each) for each in told} == {TimeoutError}
        assert 0.8 < loop.time() - began < 1.2
        for _ in range(owner_queue.LIMIT):
            it.owners.release("ada")
        await asyncio.sleep(0)
        assert await add(it, "ada", "after") == [("after",)]
        assert is_idle(it)
    assert await table.fetchval("SELECT count(*) FROM owned") == 2


@pytest.mark.slow
async def test_changes_of_a_batch_that_was_refused_wait_for_their_owners_turn_too(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "FEW", 1)
    async with opened_database(database_url, database_timeout=1) as it:
        async with held(table, "x"):
            await asyncio.gather(add(it, "ada", "a"), add(it, "ada", "b"))
            mine = [add(it, "ada", number) for number in ("c", "x", "y")]
            await mine[0]  # now the others are under way together, and wait for the row
            await it.owners.turn("ada")
            taken = it.owners.queue("ada")  # what the group gives back is somebody else's
            told = await asyncio.gather(*mine[1:], return_exceptions=True)
            assert taken.done()
        assert [type(each) for each in told] == [TimeoutError, TimeoutError]
        for _ in range(owner_queue.LIMIT):
            it.owners.release("ada")
        assert is_idle(it)
    assert [row["number"] for row in await table.fetch("SELECT number FROM owned ORDER BY 1")] == ["a", "b", "c"]
