"""More than there is time or memory for, and clients who are slow on purpose: they are told, and in nobody's way."""

import asyncio
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from app.db.pool import MAX_WAITERS
from tests.faults.crowds import FULL, SLOW, outstay, read_slowly, upload, weight
from tests.faults.people import MINE, at_once, is_shed, timed
from tests.live.conftest import Served

pytestmark = pytest.mark.slow

NOISE = 1.0  # seconds that a machine with other work may add; tests/soak allows for none

Serve = Callable[..., Served]


async def test_who_comes_when_too_many_wait_is_told_at_once_and_nobody_else(
    serve: Serve, clean: None, sql: asyncpg.Connection
) -> None:
    service = await asyncio.to_thread(serve, env={"DATABASE_POOL_MAX": "1", "DATABASE_TIMEOUT": "20"})
    async with (
        httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client,
        httpx.AsyncClient(base_url=service.url) as stranger,
    ):
        await timed(client, "GET", "/api/tasks/1")
        async with sql.transaction():
            await sql.execute("LOCK TABLE tasks")
            waiting = asyncio.create_task(at_once(1 + MAX_WAITERS, client, "GET", "/api/tasks/1"))
            await asyncio.sleep(0.5)
            shed = await at_once(40, client, "GET", "/api/tasks/1")
            free = [
                (await stranger.get(path)).status_code
                for path in ("/api/tasks", "/health/live", "/health/ready", "/docs")
            ]
        served = await waiting

    assert all(is_shed(answer) for _, answer in shed)
    assert {answer.json()["error"]["message"] for _, answer in shed} == {
        "The service has more to do than there is time for. Try again in a moment."
    }
    assert max(seconds for seconds, _ in shed) < 0.1 + NOISE
    assert free == [401, 200, 200, 200]
    assert {answer.status_code for _, answer in served} == {404}


async def test_slow_clients_are_let_go_in_time_and_are_in_nobodys_way(
    serve: Serve, clean: None, sql: asyncpg.Connection
) -> None:
    service = await asyncio.to_thread(serve)
    async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client:
        for _ in range(8):  # more than the buffers of a socket hold
            await client.post("/api/tasks", json={"title": "x"})
        await sql.execute("UPDATE tasks SET description = repeat('y', $1)", FULL - 100)
        size = len((await client.get("/api/tasks")).content)
        crowd = asyncio.gather(*(outstay(service.port, slow) for slow in SLOW * 20))
        readers = asyncio.gather(
            read_slowly(service.port, pause=13, seconds=13), read_slowly(service.port, pause=0.1, seconds=60)
        )
        statuses = set()
        while not crowd.done():
            statuses |= {answer.status_code for _, answer in await at_once(4, client, "GET", "/api/tasks/1")}
            await asyncio.sleep(0.05)
        stuck, steady = await readers

    told = await crowd
    assert max(seconds for seconds, _ in told) < 10 + 2 * NOISE  # and the refusal lingers
    assert {said[9:12] for _, said in told} == {b"", b"408"}
    assert statuses == {404}
    assert stuck < size < steady  # whole, and a head


async def test_unfinished_bodies_have_a_limit_together_and_small_ones_are_not_refused(serve: Serve) -> None:
    service = await asyncio.to_thread(serve)
    whole = {"title": "x", "ignored": "y" * (FULL - 100)}
    async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client:
        await client.post("/api/tasks", json=whole)
        [idle] = weight([service.process.pid])
        uploads = await asyncio.gather(*(upload(service.port) for _ in range(100)))
        small = await at_once(20, client, "POST", "/api/tasks", json={"title": "y" * 400, "description": "z" * 32_000})
        [full] = weight([service.process.pid])
        said = [each.said for each in uploads]
        for each in uploads:
            each.hang_up()
        await asyncio.sleep(0.2)
        after = await client.post("/api/tasks", json=whole)

    refused = [each for each in said if each]
    assert {each[9:12] for each in refused} == {b"503"}
    assert all(b"retry-after: 1\r\n" in each for each in refused)
    assert 60 <= len(refused) < 75
    assert {answer.status_code for _, answer in small} == {201}
    assert full - idle < 64
    assert after.status_code == 201
