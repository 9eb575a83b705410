"""A client that gets no answer asks again under its Idempotency-Key, whatever became of the service meanwhile."""

import asyncio
import os
import secrets
import signal
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import token
from tests.faults.copies import REQUESTS, wrong_rounds
from tests.faults.probes import until
from tests.faults.wire import wire_to
from tests.live.conftest import Served
from tests.live.pgbouncer import PgBouncer

pytestmark = pytest.mark.slow

Serve = Callable[..., Served]

SAME = ("location", "etag", "content-type")


@pytest.fixture
def who() -> str:
    """Somebody the database has not seen."""
    return f"retrier-{secrets.token_hex(4)}"


def person(service: Served, who: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token(who)}", "idempotency-key": secrets.token_hex(16)}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)


async def titles(sql: asyncpg.Connection, who: str) -> list[Any]:
    return [row["title"] for row in await sql.fetch("SELECT title FROM tasks WHERE user_id = $1 ORDER BY id", who)]


async def post(client: httpx.AsyncClient, title: str, **headers: str) -> httpx.Response:
    return await client.post("/api/tasks", json={"title": title}, headers=headers)


async def test_of_fifty_at_once_over_two_workers_one_is_done_and_all_are_answered_alike(
    serve: Serve, sql: asyncpg.Connection, who: str
) -> None:
    service = await asyncio.to_thread(serve, workers=2)
    async with person(service, who) as client:
        for number in range(2):
            mine = {"idempotency-key": f"once-{number}"}
            answers = await asyncio.gather(*(post(client, f"once {number}", **mine) for _ in range(50)))

            assert [answer.status_code for answer in answers] == [201] * 50
            assert len({answer.content for answer in answers}) == 1
            assert len({tuple(answer.headers[name] for name in SAME) for answer in answers}) == 1
            assert sum("idempotent-replayed" in answer.headers for answer in answers) == 49
            assert (await titles(sql, who))[number:] == [f"once {number}"]
    assert not [line for line in service.log() if '"level":"ERROR"' in line]


async def test_copies_of_every_kind_of_change_are_one_request(serve: Serve) -> None:
    service = await asyncio.to_thread(serve, workers=2)
    never = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, limits=never, timeout=30) as client:
        assert await wrong_rounds(client, 2 * len(REQUESTS)) == []


async def test_behind_a_pgbouncer_it_is_the_same(
    serve: Serve, sql: asyncpg.Connection, database_url: str, who: str
) -> None:
    pooler = PgBouncer(database_url, "default_pool_size = 2")
    pooler.start()
    try:
        service = await asyncio.to_thread(serve, env={"DATABASE_URL": pooler.url(database_url)}, workers=2)
        async with person(service, who) as client:
            answers = await asyncio.gather(*(post(client, "once") for _ in range(20)))
            changes = [await client.patch(f"{answers[0].headers['location']}/complete") for _ in range(2)]
            toggles = [
                await client.patch(f"{answers[0].headers['location']}/complete", headers={"idempotency-key": "toggle"})
                for _ in range(2)
            ]
        service.stop()
    finally:
        pooler.end()

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.status_code for answer in changes] == [422, 422]
    assert [answer.json()["data"]["completed"] for answer in toggles] == [True, True]
    assert await titles(sql, who) == ["once"]


async def test_killed_between_commit_and_answer_it_is_done_once_for_all_that(
    serve: Serve, sql: asyncpg.Connection, database_url: str, who: str
) -> None:
    async with wire_to(database_url) as wire:
        service = await asyncio.to_thread(serve, env={"DATABASE_URL": wire.url}, workers=2)
        async with person(service, who) as client:
            for number in range(2):
                # Each way takes a while: when the row is there to see, its answer is still on the wire.
                wire.delay = 0.3
                title = f"task {number}"
                mine = {"idempotency-key": f"key-{number}"}
                posting = asyncio.create_task(post(client, title, **mine))

                async def is_committed(title: str = title) -> bool:
                    return title in await titles(sql, who)

                await until(is_committed)
                assert not posting.done()
                for pid in service.pids()[-2:]:
                    os.kill(pid, signal.SIGKILL)
                with pytest.raises(httpx.TransportError):
                    await posting
                wire.delay = 0.0
                started = len(service.pids())

                async def has_come_back(started: int = started) -> bool:
                    return len(service.pids()) >= started + 2

                await until(has_come_back)
                again = await answered(client, title, **mine)

                assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
                read = await client.get(again.headers["location"])
                assert (read.content, read.headers["etag"]) == (again.content, again.headers["etag"])
        assert await titles(sql, who) == [f"task {number}" for number in range(2)]


async def answered(client: httpx.AsyncClient, title: str, **headers: str) -> httpx.Response:
    """What a client gets in the end that asks until there is an answer other than 503."""
    async with asyncio.timeout(20):
        while True:
            try:
                answer = await post(client, title, **headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code != 503:
                return answer
            await asyncio.sleep(0.05)
