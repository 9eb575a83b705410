"""Group commit: which writes share a batch, what each returns, and what becomes of all where one is refused."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from app.db import group_commit, owner_queue
from app.db.engine import Database
from app.db.errors import Overloaded
from app.db.statements import SHORT_LOCK_TIMEOUT, Statement
from tests.db.test_connect import opened_database

WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""
END = WAITING.replace("count(*)", "pg_terminate_backend(pid)")
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def grouped(sql: str) -> Statement:
    """A statement about a name that ends in the list of what it returns, and has a form for batches."""
    statement = Statement(sql)
    statement.group_sql = f"{statement.sql}, $2::int AS place"
    return statement


ADD = grouped("INSERT INTO grouped VALUES (:name) RETURNING name, pg_current_xact_id()::text")
PUT_IN = grouped("INSERT INTO grouped SELECT :name WHERE true RETURNING name")
PUT_IN.group_sql = (PUT_IN.group_sql or "").replace("true", SHORT_LOCK_TIMEOUT)
COUNT = grouped("UPDATE grouped SET count = count + 1 WHERE name = :name RETURNING count")
BEGINNING = grouped("UPDATE grouped SET count = count + 1 WHERE starts_with(name, :name) RETURNING name")
LENGTH = grouped("SELECT octet_length(:name), pg_current_xact_id()::text")
EVERYTHING = grouped("UPDATE grouped SET count = count + 1 WHERE name = :name RETURNING *")


@pytest.fixture
async def table(
    clean: None, sql: asyncpg.Connection, role: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look with, at a table that is empty; and whoever is not alone waits."""
    monkeypatch.setattr(group_commit, "FEW", 1)
    await sql.execute(
        f"""
        CREATE TABLE grouped (name text PRIMARY KEY CHECK (name <> 'nobody'), count int DEFAULT 0);
        GRANT ALL ON grouped TO {role}
        """
    )
    yield sql
    await sql.execute("DROP TABLE grouped")


@asynccontextmanager
async def held(table: asyncpg.Connection, *names: str) -> AsyncIterator[None]:
    """Whoever adds one of these waits meanwhile."""
    transaction = table.transaction()
    await transaction.start()
    await table.executemany("INSERT INTO grouped VALUES ($1)", [(name,) for name in names])
    try:
        yield
    finally:
        await transaction.rollback()


def change(database: Database, statement: Statement, name: str) -> "asyncio.Task[Sequence[Sequence[Any]]]":
    return asyncio.create_task(database.change(statement, owner=name, name=name))


async def concurrently(database: Database, statement: Statement, *names: str) -> list[Any]:
    """What each of them is told. The first goes alone, since nothing is under way."""
    return await asyncio.gather(*(change(database, statement, name) for name in names), return_exceptions=True)


async def until_wait(database: Database, count: int) -> None:
    """Until so many statements wait for a lock."""
    async with asyncio.timeout(3):
        while (await database.pool.run(WAITING, []))[0][0] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def names(table: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await table.fetch("SELECT name FROM grouped ORDER BY name")]


async def test_writes_that_come_while_one_is_in_flight_are_one_transaction(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url, pool_max=3) as it:
        [first], *others = await concurrently(it, ADD, "first", "a", "b", "c", "d")
        told = [tuple(row) for [row] in others]
        assert [name for name, _ in told] == ["a", "b", "c", "d"]
        assert len({transaction for _, transaction in told}) == 1
        assert first[0] == "first"
        assert first[1] != told[0][1]
    assert await names(table) == ["a", "b", "c", "d", "first"]


async def test_few_run_side_by_side_and_many_in_a_batch(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "FEW", 3)
    async with opened_database(database_url) as it:
        few = await concurrently(it, ADD, *"abc")
        assert len({transaction for [[_, transaction]] in few}) == 3
        some = await concurrently(it, ADD, *"defghij")  # from now on it is known that many come concurrently
        assert len({transaction for [[_, transaction]] in some}) == 4
        many = await concurrently(it, ADD, *"klmnop")
        assert len({transaction for [[_, transaction]] in many}) == 2
        fewer = await concurrently(it, ADD, "q", "r"), await concurrently(it, ADD, "s", "t", "u")
        assert [len({transaction for [[_, transaction]] in told}) for told in fewer] == [2, 3]


async def test_each_returns_its_own_rows_however_many(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO grouped SELECT unnest('{aa,ab,ba,ca,cb,cc}'::text[])")
    async with opened_database(database_url) as it:
        told = await concurrently(it, BEGINNING, "x", "c", "y", "a", "b", "z", "a")
    assert [sorted(name for (name,) in rows) for rows in told] == [
        *([], ["ca", "cb", "cc"], [], ["aa", "ab"]),
        *(["ba"], [], ["aa", "ab"]),
    ]


async def test_what_one_has_done_the_next_finds(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO grouped VALUES ('a')")
    async with opened_database(database_url) as it:
        told = await concurrently(it, COUNT, *"aaaaaa")
    assert sorted(count for [[count]] in told) == [1, 2, 3, 4, 5, 6]


async def test_none_waits_for_one_that_is_late(database_url: str, table: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it, held(table, "late"):
        late = change(it, ADD, "late")
        await until_wait(it, 1)
        others = [change(it, ADD, name) for name in "abc"]
        assert it.get_waiting_size() == 0
        await asyncio.sleep(0)
        assert it.get_waiting_size() == 3
        await asyncio.gather(*others)
        assert not late.done()
        later = [change(it, ADD, name) for name in "def"]  # nor the next ones
        await asyncio.gather(*later)
        assert not late.done()
        late.cancel()


async def test_a_full_batch_is_sent_immediately(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP", 3)
    monkeypatch.setattr(group_commit, "MAX_DELAY_SECONDS", 60)
    async with opened_database(database_url) as it, held(table, "late"):
        late = change(it, ADD, "late")
        await until_wait(it, 1)
        told = await concurrently(it, ADD, "a", "b", "c")
        assert len({transaction for [[_, transaction]] in told}) == 1
        late.cancel()


async def test_where_one_is_refused_the_others_are_done(database_url: str, table: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it:
        told = await concurrently(it, ADD, "first", "a", "nobody", "first", "b")
    assert [type(each) for each in told] == [
        *(list, list, asyncpg.CheckViolationError),
        *(asyncpg.UniqueViolationError, list),
    ]
    assert await names(table) == ["a", "b", "first"]


async def test_where_a_trigger_refuses_one_the_others_are_done(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute(
        """
        CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'enough'; END $$;
        CREATE TRIGGER refused BEFORE INSERT ON grouped FOR EACH ROW WHEN (NEW.name = 'b') EXECUTE FUNCTION refused()
        """
    )
    try:
        async with opened_database(database_url) as it:
            told = await concurrently(it, ADD, "first", "a", "b", "c")
    finally:
        await table.execute("DROP FUNCTION refused CASCADE")
    assert [type(each) for each in told] == [list, list, asyncpg.RaiseError, list]
    assert await names(table) == ["a", "c", "first"]


async def test_a_batch_is_sent_in_one_piece_and_a_large_write_by_itself(
    database_url: str, table: asyncpg.Connection
) -> None:
    some = [f"{number:02}{'x' * 2000}" for number in range(60)]
    others = [f"{number:02}" + "\u20ac" * 1000 for number in range(60, 90)]  # which may have four bytes each
    large = ["ninety" + "x" * 16_000, "ninety-one" + "\u20ac" * 4_000]
    async with opened_database(database_url) as it:
        told = await concurrently(it, LENGTH, "first", *some, *others, *large)
    sizes = Counter[str]()
    for [[length, transaction]] in told[1:]:
        sizes[transaction] += length
    assert max(sizes.values()) <= 100_000
    assert len(sizes) == 3 + len(large)
    assert sum(sizes.values()) == sum(len(each.encode()) for each in [*some, *others, *large])


async def test_what_cannot_be_sent_is_refused_by_itself(database_url: str, table: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it:
        told = await concurrently(it, ADD, "first", "a", "\0", "\ud800", "b")
    assert [isinstance(each, Exception) for each in told] == [False, False, True, True, False]
    assert await names(table) == ["a", "b", "first"]


async def test_batches_are_in_the_order_of_owners_so_no_two_wait_for_each_other(
    database_url: str, table: asyncpg.Connection
) -> None:
    people = [f"{number:02}" for number in range(30)]
    await table.executemany("INSERT INTO grouped VALUES ($1)", [(name,) for name in people])
    async with opened_database(database_url) as one, opened_database(database_url) as other:
        for _ in range(30):
            told = await asyncio.gather(
                concurrently(one, COUNT, *people), concurrently(other, COUNT, *reversed(people))
            )
            assert all(isinstance(each, list) for each in [*told[0], *told[1]])
    assert {row["count"] for row in await table.fetch("SELECT count FROM grouped")} == {60}
    assert await table.fetchval(DEADLOCKS) == 0


async def test_a_write_that_is_cancelled_while_it_waits_is_not_sent(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url) as it:
        first, gone, other = (change(it, ADD, name) for name in ("first", "gone", "other"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, other)
        alone, nobody = change(it, ADD, "alone"), change(it, ADD, "nobody else")
        await asyncio.sleep(0)
        nobody.cancel()
        await alone
        assert (await it.pool.run("SELECT 1", []))[0][0] == 1
    assert await names(table) == ["alone", "first", "other"]


async def test_a_write_that_is_cancelled_in_flight_cancels_no_other(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url, pool_max=3) as it:
        async with held(table, "a"):
            first, *group = (change(it, ADD, name) for name in ("first", "a", "gone", "b"))
            await first
            await until_wait(it, 1)
            group[1].cancel()
        told = await asyncio.gather(*group, return_exceptions=True)
        assert [type(each) for each in told] == [list, asyncio.CancelledError, list]
        async with held(table, "c"):
            first, *group = (change(it, ADD, name) for name in ("second", "c", "nobody", "gone too"))
            await first
            await until_wait(it, 1)
            group[2].cancel()
        told = await asyncio.gather(*group, return_exceptions=True)
        assert [type(each) for each in told] == [list, asyncpg.CheckViolationError, asyncio.CancelledError]
    assert await names(table) == ["a", "b", "c", "first", "gone", "second"]


async def test_where_the_connection_breaks_all_fail_and_nothing_is_tried_again(
    database_url: str, table: asyncpg.Connection
) -> None:
    """The server may have committed what it could not tell any more."""
    async with opened_database(database_url) as it, held(table, "b"):
        first, *group = (change(it, ADD, name) for name in ("first", "a", "b", "c"))
        await first
        await until_wait(it, 1)
        await table.execute(END)
        told = await asyncio.gather(*group, return_exceptions=True)
        assert all(isinstance(each, asyncpg.PostgresConnectionError | asyncpg.AdminShutdownError) for each in told)
        assert (await it.pool.run(WAITING, []))[0][0] == 0
    assert await names(table) == ["first"]


async def test_where_the_statement_is_cancelled_elsewhere_each_is_sent_by_itself(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url) as it:
        async with held(table, "b"):
            first, *group = (change(it, ADD, name) for name in ("first", "a", "b", "c"))
            await first
            await until_wait(it, 1)
            await table.execute(END.replace("terminate", "cancel"))
            await asyncio.gather(group[0], group[2])
            assert not group[1].done()
        await group[1]
    assert await names(table) == ["a", "b", "c", "first"]


@pytest.mark.slow
async def test_what_waits_for_a_lock_too_long_costs_the_others_no_more_than_that(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(database_url, database_timeout=2) as it, held(table, "b"):
        told = await concurrently(it, PUT_IN, "first", "a", "b", "c")
        assert [isinstance(each, list) for each in told] == [True, True, False, True]
        assert isinstance(told[2], TimeoutError | asyncpg.LockNotAvailableError)
    assert await names(table) == ["a", "c", "first"]


@pytest.mark.slow
async def test_a_write_that_is_cancelled_when_it_fails_leaves_no_complaint_behind() -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, about: complaints.append(about))
    try:
        write = group_commit.PendingWrite("ada", [], 0, 0, loop.create_future())
        write.fail(ValueError())
        del write
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert complaints == []


@pytest.mark.slow
async def test_a_write_has_no_more_time_for_having_been_in_a_batch(
    database_url: str, table: asyncpg.Connection
) -> None:
    """A lock of the whole table is waited for before the statement itself begins."""
    async with opened_database(database_url, pool_max=3, database_timeout=1) as it:
        warm = ([[f"w{number}", 0]] for number in range(3))  # to prepare it would wait as well
        await asyncio.gather(*(it.pool.run(ADD.group_sql or "", each, are_many=True) for each in warm))
        loop = asyncio.get_running_loop()
        async with table.transaction():
            await table.execute("LOCK TABLE grouped")
            began = loop.time()
            told = await concurrently(it, ADD, *"abcdef")
            lasted = loop.time() - began
        assert [each for each in told if not isinstance(each, TimeoutError | asyncpg.LockNotAvailableError)] == []
        assert lasted < 1.5
        assert [type(each) for each in await concurrently(it, ADD, *"ghi")] == [list] * 3
    assert await names(table) == ["g", "h", "i", "w0", "w1", "w2"]


async def test_no_more_wait_than_there_is_time_for(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_queue, "MAX_WAITERS", 1)
    monkeypatch.setattr(owner_queue, "FEW", 0)
    async with opened_database(database_url, pool_max=1) as it:
        told = await concurrently(it, ADD, "first", "a", "b", "c")
        assert [type(each) for each in told] == [list, list, list, Overloaded]
        assert [type(each) for each in await concurrently(it, ADD, "d", "e", "f")] == [list] * 3
    assert await names(table) == ["a", "b", "d", "e", "f", "first"]


async def test_where_a_table_has_changed_they_are_prepared_anew(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO grouped SELECT unnest('{a,b,c}'::text[])")
    async with opened_database(database_url, pool_max=1) as it:
        assert [tuple(row) for [row] in await concurrently(it, EVERYTHING, *"abc")] == [(name, 1) for name in "abc"]
        await table.execute("ALTER TABLE grouped ADD COLUMN more int DEFAULT 7")
        assert [tuple(row) for [row] in await concurrently(it, EVERYTHING, *"abc")] == [(name, 2, 7) for name in "abc"]


async def test_through_a_pooler_each_is_sent_by_itself(
    pgbouncer: Callable[[str], str], database_url: str, table: asyncpg.Connection
) -> None:
    async with opened_database(pgbouncer(database_url)) as it:
        told = await concurrently(it, ADD, *"abcdef")
        assert len({transaction for [[_, transaction]] in told}) == 6
    assert await names(table) == [*"abcdef"]


async def test_it_can_be_switched_off(database_url: str, table: asyncpg.Connection) -> None:
    async with opened_database(database_url) as it:
        it.use(it.pool, group_commit=False)
        told = await concurrently(it, ADD, *"abcdef")
        assert len({transaction for [[_, transaction]] in told}) == 6
    assert await names(table) == [*"abcdef"]
