"""Expired rows are removed in the background, little by little, and no request waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from app.tasks import cleanup, removal
from tests.tasks.test_controller import created

Count = Callable[[], Awaitable[int]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cleanup looks all the time, and removes fewer rows by a statement."""
    monkeypatch.setattr(cleanup, "FIRST_SECONDS", (0.0, 0.01))
    monkeypatch.setattr(cleanup, "SECONDS_BETWEEN", (0.01, 0.02))
    monkeypatch.setattr(removal, "LEAST_PAUSE", 0.001)
    monkeypatch.setattr(removal, "PAUSE", 0)


@asynccontextmanager
async def looking_after(trash_days: int = 30, workers: int = 1) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(cleanup.run(trash_days)) for _ in range(workers)]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(count: Count, expected: int) -> None:
    async with asyncio.timeout(10):
        while await count() != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def add_keys(sql: asyncpg.Connection, count: int, age: str) -> None:
    await sql.execute(
        f"""
        INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at)
        SELECT 'ada', gen_random_uuid(), '', '{{}}', now() - interval '{age}' FROM generate_series(1, {count})
        """
    )


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What it has logged itself."""
    return [record.message for record in caplog.records if record.name == "app.tasks.cleanup"]


@pytest.fixture
def keys(sql: asyncpg.Connection) -> Count:
    return lambda: sql.fetchval("SELECT count(*) FROM idempotency_keys")


async def test_keys_go_after_a_day_and_not_before(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, keys: Count, caplog: pytest.LogCaptureFixture
) -> None:
    await created(ada)
    await add_keys(sql, 2500, "24 hours")
    await add_keys(sql, 3, "23 hours 59 minutes")

    with caplog.at_level(logging.INFO, "app.tasks.cleanup"):
        async with looking_after():
            await until(keys, 3)
            await asyncio.sleep(0.1)

    assert await keys() == 3
    assert told(caplog) == ["Removed 2500 keys of requests."]


async def test_little_is_taken_at_a_time(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await created(ada)
    await add_keys(sql, 2500, "25 hours")
    taken: list[int] = []
    while found := await database.fetch(removal.FIND_KEYS, skipped="{}"):
        keys = removal.array(row[0] for row in found)
        taken.append((await database.fetch(removal.REMOVE_KEYS, keys=keys))[0][0])
    assert taken == [1000, 1000, 500]


async def test_after_the_first_look_it_lets_the_database_sleep(
    ada: httpx.AsyncClient,
    sql: asyncpg.Connection,
    keys: Count,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cleanup, "SECONDS_BETWEEN", (60, 60))
    await created(ada)
    await add_keys(sql, 1, "25 hours")
    with caplog.at_level(logging.INFO, "app.tasks.cleanup"):
        async with looking_after():
            async with asyncio.timeout(10):
                while not told(caplog):  # noqa: ASYNC110 # then it has looked for keys once more, and found none
                    await asyncio.sleep(0.01)
            await add_keys(sql, 1, "25 hours")
            await asyncio.sleep(0.1)
            assert await keys() == 1


@pytest.mark.slow
async def test_of_several_workers_each_takes_what_the_others_do_not_hold(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, keys: Count, caplog: pytest.LogCaptureFixture
) -> None:
    await created(ada)
    await add_keys(sql, 9000, "2 days")

    with caplog.at_level(logging.INFO, "app.tasks.cleanup"):
        async with looking_after(workers=4):
            await until(keys, 0)
            async with asyncio.timeout(10):
                while sum(int(line.split()[1]) for line in told(caplog)) < 9000:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    assert sum(int(line.split()[1]) for line in told(caplog)) == 9000


async def test_it_passes_over_what_somebody_holds(ada: httpx.AsyncClient, sql: asyncpg.Connection, keys: Count) -> None:
    await created(ada)
    await add_keys(sql, 5, "25 hours")
    async with AsyncExitStack() as holding:
        await holding.enter_async_context(sql.transaction())
        await sql.execute("SELECT FROM idempotency_keys ORDER BY key LIMIT 2 FOR UPDATE")
        async with looking_after():
            await until(keys, 2)
            await holding.aclose()
            await until(keys, 0)


@pytest.mark.parametrize(("days", "left"), [(30, 3), (29, 2), (1, 2), (0, 1)])
async def test_tasks_stay_in_the_trash_for_as_long_as_they_may(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, days: int, left: int
) -> None:
    kept, *deleted = [
        await created(ada, title=title) for title in ("kept", "now", "29 days 1 hour", "30 days 1 second")
    ]
    for task in deleted:
        await ada.delete(f"/api/tasks/{task['id']}")
        if task["title"] != "now":
            await sql.execute(
                f"UPDATE tasks SET deleted_at = now() - interval '{task['title']}' WHERE id = $1", task["id"]
            )
    ids = "SELECT array_agg(id ORDER BY id) FROM tasks"
    history = "SELECT array_agg(DISTINCT task_id ORDER BY task_id) FROM task_versions"
    revision = await sql.fetchval("SELECT revision FROM revisions")
    tag = (await ada.get("/api/tasks")).headers.get("etag")

    async with looking_after(days):
        await until(lambda: sql.fetchval("SELECT count(*) FROM tasks"), left)
        await asyncio.sleep(0.05)

    remaining = [kept["id"], *[task["id"] for task in deleted]][:left]
    assert await sql.fetchval(ids) == remaining
    assert await sql.fetchval(history) == (remaining[1:] or None)
    assert await sql.fetchval("SELECT revision FROM revisions") == revision
    assert (await ada.get("/api/tasks")).headers.get("etag") == tag


async def test_trouble_is_told_in_a_line_and_it_goes_on(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, keys: Count, caplog: pytest.LogCaptureFixture
) -> None:
    await created(ada)
    await add_keys(sql, 1, "25 hours")
    await sql.execute("ALTER TABLE idempotency_keys RENAME TO elsewhere")
    try:
        async with looking_after():
            async with asyncio.timeout(10):
                while not told(caplog):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert {*told(caplog)} == {"Could not remove expired rows (UndefinedTableError); trying again later."}
            await sql.execute("ALTER TABLE elsewhere RENAME TO idempotency_keys")
            await until(keys, 0)
    finally:
        await sql.execute("ALTER TABLE IF EXISTS elsewhere RENAME TO idempotency_keys")


async def test_a_database_that_is_not_there_is_somebody_elses_news(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, keys: Count, caplog: pytest.LogCaptureFixture
) -> None:
    await created(ada)
    await add_keys(sql, 1, "25 hours")
    try:
        database.ready = False
        async with looking_after():
            await asyncio.sleep(0.05)
            database.ready = True
            await until(keys, 0)
    finally:
        database.ready = True

    assert not [record for record in caplog.records if record.levelname == "WARNING"]


async def test_it_stops_immediately_in_whatever_it_is_and_leaves_the_pool_whole(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, running: Any
) -> None:
    await created(ada)
    await add_keys(sql, 5000, "2 days")
    pool: Any = database.pool
    for moment in (0, 0.005, 0.01, 0.02, 0.04):
        looking = asyncio.create_task(cleanup.run(30))
        await asyncio.sleep(moment)
        looking.cancel()
        async with asyncio.timeout(0.5):
            with suppress(asyncio.CancelledError):
                await looking

    async with asyncio.timeout(5):
        while pool.get_idle_size() != pool.get_size():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    assert await sql.fetchval(busy) == 0
