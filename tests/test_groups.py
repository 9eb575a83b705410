"""Changes that travel together: who goes with whom, what each is told, and what becomes of all where one is refused."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from piccolo.querystring import QueryString

from app import groups, owner_queue
from app.database import Database
from app.groups import GroupingPool
from app.lanes import Crowded
from app.statements import Param, Statement
from app.tasks.once import SOON_GIVES_UP
from tests.test_pool import opened

WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""
END = WAITING.replace("count(*)", "pg_terminate_backend(pid)")
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def travelling(sql: str) -> Statement:
    """A statement about a name that ends in the list of what it returns, and may travel."""
    statement = Statement(QueryString(sql, Param("name")))
    statement.together = f"{statement.sql}, $2::int AS place"
    return statement


ADD = travelling("INSERT INTO travelled VALUES ({}) RETURNING name, pg_current_xact_id()::text")
PUT_IN = travelling("INSERT INTO travelled SELECT {} WHERE true RETURNING name")
PUT_IN.together = (PUT_IN.together or "").replace("true", SOON_GIVES_UP)
COUNT = travelling("UPDATE travelled SET count = count + 1 WHERE name = {} RETURNING count")
BEGINNING = travelling("UPDATE travelled SET count = count + 1 WHERE starts_with(name, {}) RETURNING name")
LENGTH = travelling("SELECT octet_length({}), pg_current_xact_id()::text")
EVERYTHING = travelling("UPDATE travelled SET count = count + 1 WHERE name = {} RETURNING *")


@pytest.fixture
async def table(
    clean: None, sql: asyncpg.Connection, role: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look with, at a table that is empty; and whoever is not alone waits."""
    monkeypatch.setattr(groups, "FEW", 1)
    await sql.execute(
        f"""
        CREATE TABLE travelled (name text PRIMARY KEY CHECK (name <> 'nobody'), count int DEFAULT 0);
        GRANT ALL ON travelled TO {role}
        """
    )
    yield sql
    await sql.execute("DROP TABLE travelled")


@asynccontextmanager
async def held(table: asyncpg.Connection, *names: str) -> AsyncIterator[None]:
    """Whoever adds one of these waits meanwhile."""
    transaction = table.transaction()
    await transaction.start()
    await table.executemany("INSERT INTO travelled VALUES ($1)", [(name,) for name in names])
    try:
        yield
    finally:
        await transaction.rollback()


def change(pool: GroupingPool, statement: Statement, name: str) -> "asyncio.Task[Sequence[Sequence[Any]]]":
    service = Database()
    service.pool, service.ready = pool, True
    return asyncio.create_task(service.change(statement, owner=name, name=name))


async def at_once(pool: GroupingPool, statement: Statement, *names: str) -> list[Any]:
    """What each of them is told. The first goes alone, since nothing is under way."""
    return await asyncio.gather(*(change(pool, statement, name) for name in names), return_exceptions=True)


async def until_wait(pool: GroupingPool, count: int) -> None:
    """Until so many statements wait for a lock."""
    async with asyncio.timeout(3):
        while (await pool.run(WAITING, []))[0][0] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def names(table: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await table.fetch("SELECT name FROM travelled ORDER BY name")]


async def test_those_who_come_while_one_is_under_way_go_in_one_transaction(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=3) as it:
        [first], *others = await at_once(it, ADD, "first", "a", "b", "c", "d")
        told = [tuple(row) for [row] in others]
        assert [name for name, _ in told] == ["a", "b", "c", "d"]
        assert len({transaction for _, transaction in told}) == 1
        assert first[0] == "first"
        assert first[1] != told[0][1]
    assert await names(table) == ["a", "b", "c", "d", "first"]


async def test_few_go_side_by_side_and_many_together(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "FEW", 3)
    async with opened(database_url) as it:
        few = await at_once(it, ADD, *"abc")
        assert len({transaction for [[_, transaction]] in few}) == 3
        some = await at_once(it, ADD, *"defghij")  # from now on it is known that many come at once
        assert len({transaction for [[_, transaction]] in some}) == 4
        many = await at_once(it, ADD, *"klmnop")
        assert len({transaction for [[_, transaction]] in many}) == 2
        fewer = await at_once(it, ADD, "q", "r"), await at_once(it, ADD, "s", "t", "u")
        assert [len({transaction for [[_, transaction]] in told}) for told in fewer] == [2, 3]


async def test_each_is_told_its_own_rows_however_many(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO travelled SELECT unnest('{aa,ab,ba,ca,cb,cc}'::text[])")
    async with opened(database_url) as it:
        told = await at_once(it, BEGINNING, "x", "c", "y", "a", "b", "z", "a")
    assert [sorted(name for (name,) in rows) for rows in told] == [
        *([], ["ca", "cb", "cc"], [], ["aa", "ab"]),
        *(["ba"], [], ["aa", "ab"]),
    ]


async def test_what_one_has_done_the_next_finds(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO travelled VALUES ('a')")
    async with opened(database_url) as it:
        told = await at_once(it, COUNT, *"aaaaaa")
    assert sorted(count for [[count]] in told) == [1, 2, 3, 4, 5, 6]


async def test_nobody_waits_for_one_that_is_late(database_url: str, table: asyncpg.Connection) -> None:
    async with opened(database_url) as it, held(table, "late"):
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


async def test_as_many_as_a_group_may_have_leave_at_once(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST", 3)
    monkeypatch.setattr(groups, "PATIENCE_SECONDS", 60)
    async with opened(database_url) as it, held(table, "late"):
        late = change(it, ADD, "late")
        await until_wait(it, 1)
        told = await at_once(it, ADD, "a", "b", "c")
        assert len({transaction for [[_, transaction]] in told}) == 1
        late.cancel()


async def test_where_one_is_refused_the_others_are_done(database_url: str, table: asyncpg.Connection) -> None:
    async with opened(database_url) as it:
        told = await at_once(it, ADD, "first", "a", "nobody", "first", "b")
    assert [type(each) for each in told] == [
        *(list, list, asyncpg.CheckViolationError),
        *(asyncpg.UniqueViolationError, list),
    ]
    assert await names(table) == ["a", "b", "first"]


async def test_where_a_trigger_refuses_one_the_others_are_done(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute(
        """
        CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'enough'; END $$;
        CREATE TRIGGER refused BEFORE INSERT ON travelled FOR EACH ROW WHEN (NEW.name = 'b') EXECUTE FUNCTION refused()
        """
    )
    try:
        async with opened(database_url) as it:
            told = await at_once(it, ADD, "first", "a", "b", "c")
    finally:
        await table.execute("DROP FUNCTION refused CASCADE")
    assert [type(each) for each in told] == [list, list, asyncpg.RaiseError, list]
    assert await names(table) == ["a", "c", "first"]


async def test_a_group_is_sent_in_one_piece_and_what_is_large_by_itself(
    database_url: str, table: asyncpg.Connection
) -> None:
    some = [f"{number:02}{'x' * 2000}" for number in range(60)]
    others = [f"{number:02}" + "\u20ac" * 1000 for number in range(60, 90)]  # which may have four bytes each
    large = ["ninety" + "x" * 16_000, "ninety-one" + "\u20ac" * 4_000]
    async with opened(database_url) as it:
        told = await at_once(it, LENGTH, "first", *some, *others, *large)
    sizes = Counter[str]()
    for [[length, transaction]] in told[1:]:
        sizes[transaction] += length
    assert max(sizes.values()) <= 100_000
    assert len(sizes) == 3 + len(large)
    assert sum(sizes.values()) == sum(len(each.encode()) for each in [*some, *others, *large])


async def test_what_cannot_be_sent_is_refused_by_itself(database_url: str, table: asyncpg.Connection) -> None:
    async with opened(database_url) as it:
        told = await at_once(it, ADD, "first", "a", "\0", "\ud800", "b")
    assert [isinstance(each, Exception) for each in told] == [False, False, True, True, False]
    assert await names(table) == ["a", "b", "first"]


async def test_they_go_in_the_order_of_their_owners_so_no_two_groups_wait_for_each_other(
    database_url: str, table: asyncpg.Connection
) -> None:
    people = [f"{number:02}" for number in range(30)]
    await table.executemany("INSERT INTO travelled VALUES ($1)", [(name,) for name in people])
    async with opened(database_url) as one, opened(database_url) as other:
        for _ in range(30):
            told = await asyncio.gather(at_once(one, COUNT, *people), at_once(other, COUNT, *reversed(people)))
            assert all(isinstance(each, list) for each in [*told[0], *told[1]])
    assert {row["count"] for row in await table.fetch("SELECT count FROM travelled")} == {60}
    assert await table.fetchval(DEADLOCKS) == 0


async def test_whoever_has_gone_while_they_wait_is_not_sent(database_url: str, table: asyncpg.Connection) -> None:
    async with opened(database_url) as it:
        first, gone, other = (change(it, ADD, name) for name in ("first", "gone", "other"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, other)
        alone, nobody = change(it, ADD, "alone"), change(it, ADD, "nobody else")
        await asyncio.sleep(0)
        nobody.cancel()
        await alone
        assert (await it.run("SELECT 1", []))[0][0] == 1
    assert await names(table) == ["alone", "first", "other"]


async def test_whoever_has_gone_while_they_are_under_way_takes_nobody_along(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened(database_url, pool_max=3) as it:
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


async def test_where_the_connection_breaks_all_are_told_and_nothing_is_tried_again(
    database_url: str, table: asyncpg.Connection
) -> None:
    """The server may have committed what it could not tell any more."""
    async with opened(database_url) as it, held(table, "b"):
        first, *group = (change(it, ADD, name) for name in ("first", "a", "b", "c"))
        await first
        await until_wait(it, 1)
        await table.execute(END)
        told = await asyncio.gather(*group, return_exceptions=True)
        assert all(isinstance(each, asyncpg.PostgresConnectionError | asyncpg.AdminShutdownError) for each in told)
        assert (await it.run(WAITING, []))[0][0] == 0
    assert await names(table) == ["first"]


async def test_where_somebody_cancels_it_each_is_sent_by_itself(database_url: str, table: asyncpg.Connection) -> None:
    async with opened(database_url) as it:
        async with held(table, "b"):
            first, *group = (change(it, ADD, name) for name in ("first", "a", "b", "c"))
            await first
            await until_wait(it, 1)
            await table.execute(END.replace("terminate", "cancel"))
            await asyncio.gather(group[0], group[2])
            assert not group[1].done()
        await group[1]
    assert await names(table) == ["a", "b", "c", "first"]


async def test_what_waits_for_a_lock_too_long_costs_the_others_no_more_than_that(
    database_url: str, table: asyncpg.Connection
) -> None:
    async with opened(database_url, database_timeout=2) as it, held(table, "b"):
        told = await at_once(it, PUT_IN, "first", "a", "b", "c")
        assert [isinstance(each, list) for each in told] == [True, True, False, True]
        assert isinstance(told[2], TimeoutError | asyncpg.LockNotAvailableError)
    assert await names(table) == ["a", "c", "first"]


async def test_whoever_is_cancelled_when_it_fails_leaves_no_complaint_behind() -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, about: complaints.append(about))
    try:
        member = groups._Member("ada", [], 0, 0, loop.create_future())
        member.fail(ValueError())
        del member
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert complaints == []


async def test_nobody_has_more_time_for_having_been_in_a_group(database_url: str, table: asyncpg.Connection) -> None:
    """A lock of the whole table is waited for before the statement itself begins."""
    async with opened(database_url, pool_max=3, database_timeout=1) as it:
        warm = ([[f"w{number}", 0]] for number in range(3))  # to prepare it would wait as well
        await asyncio.gather(*(it.run(ADD.together or "", each, are_many=True) for each in warm))
        loop = asyncio.get_running_loop()
        async with table.transaction():
            await table.execute("LOCK TABLE travelled")
            began = loop.time()
            told = await at_once(it, ADD, *"abcdef")
            lasted = loop.time() - began
        assert [each for each in told if not isinstance(each, TimeoutError | asyncpg.LockNotAvailableError)] == []
        assert lasted < 1.5
        assert [type(each) for each in await at_once(it, ADD, *"ghi")] == [list] * 3
    assert await names(table) == ["g", "h", "i", "w0", "w1", "w2"]


async def test_no_more_wait_than_there_is_time_for(
    database_url: str, table: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_queue, "CROWD", 1)
    monkeypatch.setattr(owner_queue, "FEW", 0)
    async with opened(database_url, pool_max=1) as it:
        told = await at_once(it, ADD, "first", "a", "b", "c")
        assert [type(each) for each in told] == [list, list, list, Crowded]
        assert [type(each) for each in await at_once(it, ADD, "d", "e", "f")] == [list] * 3
    assert await names(table) == ["a", "b", "d", "e", "f", "first"]


async def test_where_a_table_has_changed_they_are_prepared_anew(database_url: str, table: asyncpg.Connection) -> None:
    await table.execute("INSERT INTO travelled SELECT unnest('{a,b,c}'::text[])")
    async with opened(database_url, pool_max=1) as it:
        assert [tuple(row) for [row] in await at_once(it, EVERYTHING, *"abc")] == [(name, 1) for name in "abc"]
        await table.execute("ALTER TABLE travelled ADD COLUMN more int DEFAULT 7")
        assert [tuple(row) for [row] in await at_once(it, EVERYTHING, *"abc")] == [(name, 2, 7) for name in "abc"]


async def test_through_a_pooler_each_goes_alone(
    pgbouncer: Callable[[str], str], database_url: str, table: asyncpg.Connection
) -> None:
    async with opened(pgbouncer(database_url)) as it:
        told = await at_once(it, ADD, *"abcdef")
        assert len({transaction for [[_, transaction]] in told}) == 6
    assert await names(table) == [*"abcdef"]
