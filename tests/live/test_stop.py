"""A service that is told to stop, or to replace its workers: who asks is answered, and it is gone in time."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest

from tests.faults.askers import asking
from tests.faults.people import MINE, at_once, is_shed, timed
from tests.faults.posts import posting
from tests.faults.probes import until
from tests.faults.wire import Wire, wire_to
from tests.live.conftest import Served

STOP_SECONDS = 10

Serve = Callable[..., Served]


async def stopped(service: Served) -> tuple[int, float]:
    """The exit code, and how many seconds it took."""
    began = time.monotonic()
    code = await asyncio.to_thread(service.stop)
    return code, time.monotonic() - began


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with wire_to(database_url) as wire:
        yield wire


class TestStopping:
    @pytest.mark.parametrize("workers", [1, 2])
    async def test_under_load_it_is_gone_soon_and_nobody_who_was_heard_goes_without_an_answer(
        self, serve: Serve, sql: asyncpg.Connection, database_url: str, workers: int
    ) -> None:
        service = await asyncio.to_thread(serve, workers=workers)
        async with posting(service.url, people=8) as posts:
            await posts.go_on()
            code, seconds = await stopped(service)
        assert (code, seconds < STOP_SECONDS / 2) == (0, True)
        assert await posts.missing(database_url) == set()
        assert set(posts.statuses) == {201}

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 2])
    async def test_a_request_that_is_stuck_is_503_at_the_deadline_and_it_is_gone_in_time(
        self, serve: Serve, sql: asyncpg.Connection, workers: int
    ) -> None:
        service = await asyncio.to_thread(serve, env={"DATABASE_TIMEOUT": "60"}, workers=workers)
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client, sql.transaction():
            await sql.execute("LOCK TABLE tasks")
            stuck = asyncio.create_task(at_once(12, client, "GET", "/api/tasks"))
            await asyncio.sleep(0.5)
            code, seconds = await stopped(service)
            answers = await stuck
        assert (code, seconds < STOP_SECONDS) == (0, True)
        assert all(is_shed(answer) for _, answer in answers)
        assert {answer.headers["connection"] for _, answer in answers} == {"close"}

    @pytest.mark.slow
    async def test_it_is_gone_in_time_while_its_database_is_silent(self, serve: Serve, wire: Wire) -> None:
        service = await asyncio.to_thread(serve, env={"DATABASE_URL": wire.url, "DATABASE_TIMEOUT": "60"})
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client:
            await at_once(8, client, "GET", "/api/tasks")
            wire.cut()
            stuck = asyncio.create_task(at_once(4, client, "GET", "/api/tasks"))
            asked = asyncio.create_task(timed(client, "GET", "/health/ready"))
            await asyncio.sleep(0.3)
            code, seconds = await stopped(service)
            answers = [*await stuck, await asked]
        assert (code, seconds < STOP_SECONDS) == (0, True)
        assert all(is_shed(answer) for _, answer in answers)

    @pytest.mark.slow
    async def test_from_the_signal_on_ready_is_503_or_refused_and_live_is_200(
        self, serve: Serve, sql: asyncpg.Connection
    ) -> None:
        service = await asyncio.to_thread(serve)
        paths = ["/health/ready", "/api/health", "/health/live", "/health/live"]
        clients = [httpx.AsyncClient(base_url=service.url) for _ in paths]
        for client, path in zip(clients, paths, strict=True):
            assert (await client.get(path)).status_code == 200  # and their connections are kept
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as ada:
            async with sql.transaction():
                await sql.execute("LOCK TABLE tasks")
                waiting = asyncio.create_task(ada.get("/api/tasks"))
                await asyncio.sleep(0.3)
                service.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.02)
                at_once = [await client.get(path) for client, path in zip(clients[:3], paths, strict=False)]
                await asyncio.sleep(0.4)
                later = await clients[3].get("/health/live")
                async with httpx.AsyncClient(base_url=service.url) as newcomer:
                    with pytest.raises(httpx.ConnectError):
                        await newcomer.get("/health/ready")
            answer = await waiting  # the lock is gone, and it is served
        assert [each.status_code for each in [*at_once, later, answer]] == [503, 503, 200, 200, 200]
        assert {each.headers["connection"] for each in [*at_once, later]} == {"close"}
        assert at_once[0].json()["error"]["message"] == "The service is about to stop. Try again in a moment."
        assert await asyncio.to_thread(service.process.wait, STOP_SECONDS) == 0
        for client in clients:
            await client.aclose()


@pytest.mark.slow
class TestDying:
    async def test_workers_that_die_while_they_are_asked_for_a_sign_of_life_are_replaced_at_once(
        self, serve: Serve
    ) -> None:
        service = await asyncio.to_thread(serve, workers=2)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in service.pids():
                os.kill(pid, number)
            await asyncio.sleep(0.6)  # the supervisor asks each half second
        await until(lambda: sum("Application startup complete" in line for line in service.log()) == 4, 10)
        async with httpx.AsyncClient(base_url=service.url) as client:
            assert (await client.get("/health/ready")).status_code == 200


@pytest.mark.slow
class TestRolling:
    async def test_workers_are_replaced_and_with_one_retry_nobody_notices(self, serve: Serve) -> None:
        service = await asyncio.to_thread(serve, workers=2)
        async with asking(service.url, people=8) as asked:
            await asyncio.sleep(0.5)
            service.process.send_signal(signal.SIGHUP)
            await until(lambda: sum("Finished server process" in line for line in service.log()) == 2, 60)
            await asyncio.sleep(0.5)
        assert len(service.pids()) == 4
        assert asked.answered > 100
        assert asked.failed_twice == 0
        assert asked.failed <= asked.answered / 1000 + 1

    async def test_it_stops_at_once_in_the_middle_of_it(self, serve: Serve, sql: asyncpg.Connection) -> None:
        service = await asyncio.to_thread(serve, env={"DATABASE_TIMEOUT": "60"}, workers=2)
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client, sql.transaction():
            await sql.execute("LOCK TABLE tasks")
            stuck = asyncio.create_task(at_once(12, client, "GET", "/api/tasks"))
            await asyncio.sleep(0.5)
            service.process.send_signal(signal.SIGHUP)
            await until(lambda: any("Shutting down" in line for line in service.log()))
            code, seconds = await stopped(service)
            answers = await stuck
        assert (code, seconds < STOP_SECONDS) == (0, True)
        assert all(is_shed(answer) for _, answer in answers)
