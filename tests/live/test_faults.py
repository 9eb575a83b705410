"""The promises of docs/reliability.md, each in a few seconds: a real service, and a database in every kind of trouble.

tests/soak has the same at full length.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import httpx
import pytest

from tests.faults.people import MINE, at_once, cancelled, guess, is_ok, is_shed, timed
from tests.faults.posts import posting
from tests.faults.probes import probing, until
from tests.faults.server import Postgres, postgres_of_our_own
from tests.faults.wire import Wire, wire_to
from tests.live.conftest import Served

TIMEOUT = 1.0  # DATABASE_TIMEOUT
NOISE = 1.0  # seconds that a machine with other work may add; tests/soak allows for none

Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def postgres_alone() -> Iterator[Postgres]:
    """A server of this module's own, migrated."""
    with postgres_of_our_own() as postgres:
        yield postgres


def patient(url: str, seconds: float = TIMEOUT, **more: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "DATABASE_TIMEOUT": f"{seconds}", **more}


@pytest.mark.slow
class TestRestarts:
    async def test_nothing_acknowledged_is_lost_and_nobody_is_told_500(
        self, serve: Serve, postgres_alone: Postgres
    ) -> None:
        service = await asyncio.to_thread(serve, env=patient(postgres_alone.url, 5), workers=2)
        async with posting(service.url, people=8) as posts:
            await posts.go_on()
            await postgres_alone.restart("fast")
            await posts.go_on()
            await postgres_alone.restart("immediate", seconds_down=0.5)
            await posts.go_on()
            os.kill(service.pids()[-1], signal.SIGKILL)
            await posts.go_on()

        assert await posts.missing(postgres_alone.url) == set()
        assert set(posts.statuses) == {201, 503}
        assert posts.unfriendly == 0

    async def test_a_database_that_is_down_is_told_at_once_and_ready_follows(
        self, serve: Serve, postgres_alone: Postgres
    ) -> None:
        service = await asyncio.to_thread(serve, env=patient(postgres_alone.url, 5))
        async with (
            httpx.AsyncClient(base_url=service.url, headers=MINE) as client,
            probing(service.url) as probes,
        ):
            await timed(client, "POST", "/api/tasks", json={"title": "x"})
            went = time.monotonic()
            await asyncio.to_thread(postgres_alone.stop)
            answers = [await timed(client, "GET", "/api/tasks") for _ in range(20)]
            await probes.follow(503, went)
            await asyncio.to_thread(postgres_alone.start)
            came = time.monotonic()
            await probes.follow(200, came)
            assert (await client.get("/api/tasks")).status_code == 200

        assert all(is_shed(answer) for _, answer in answers)
        assert max(seconds for seconds, _ in answers) < 0.3 + NOISE
        assert probes.seconds_until(503, went) < 2 + NOISE
        assert probes.seconds_until(200, came) < 2 + NOISE
        assert probes.always_alive()

    async def test_it_serves_without_its_database_and_is_ready_soon_after_it_comes(
        self, serve: Serve, postgres_alone: Postgres
    ) -> None:
        postgres_alone.stop()
        env = patient(postgres_alone.url, 5)
        service = await asyncio.to_thread(serve, env=env, wait="live", arguments=["--migrate"])
        async with probing(service.url) as probes:
            await asyncio.sleep(1.5)
            await asyncio.to_thread(postgres_alone.start)
            came = time.monotonic()
            await probes.follow(200, came)

        assert probes.seconds_until(200, came) < 2 + NOISE
        assert {probe.status for probe in probes.ready if probe.asked < came - 1} == {503}
        assert probes.always_alive()


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with wire_to(database_url) as wire:
        yield wire


@pytest.mark.slow
class TestSilence:
    @pytest.mark.parametrize("fault", [Wire.hold, Wire.cut], ids=["what is sent arrives later", "it is lost"])
    async def test_a_silent_database_is_told_in_time_and_forgotten_soon(
        self, serve: Serve, wire: Wire, fault: Callable[[Wire], None]
    ) -> None:
        service = await asyncio.to_thread(serve, env=patient(wire.url))
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=20) as client:
            await at_once(8, client, "GET", "/api/tasks")
            async with probing(service.url) as probes:
                fault(wire)
                fell = time.monotonic()
                answers = await at_once(8, client, "GET", "/api/tasks")
                await probes.follow(503, fell)
                wire.heal()
                healed = time.monotonic()
                await until(lambda: is_ok(client, "/api/tasks"))
                back = time.monotonic() - healed
                await probes.follow(200, healed)
                after = await at_once(20, client, "GET", "/api/tasks")

        assert all(is_shed(answer) for _, answer in answers)
        assert max(seconds for seconds, _ in answers) < 2 * TIMEOUT + 1
        assert {answer.status_code for _, answer in after} == {200}
        assert back < 3 + NOISE
        assert probes.always_alive()
        assert probes.slowest_sign_of_life() < 0.2 + NOISE
        assert probes.seconds_until(503, fell) < 2 + NOISE
        assert probes.seconds_until(200, healed) < 2 + NOISE


class TestExhaustedPool:
    async def test_those_who_wait_are_told_in_time_and_those_who_need_no_connection_at_once(
        self, serve: Serve, database_url: str, sql: asyncpg.Connection
    ) -> None:
        service = await asyncio.to_thread(serve, env=patient(database_url, 2, DATABASE_POOL_MAX="2"))
        async with (
            httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=20) as client,
            httpx.AsyncClient(base_url=service.url) as stranger,
        ):
            await client.post("/api/tasks", json={"title": "x"})
            async with sql.transaction():
                await sql.execute("LOCK TABLE tasks")
                waiting = asyncio.create_task(at_once(8, client, "GET", "/api/tasks"))
                await asyncio.sleep(0.3)
                free = [
                    (401, await timed(stranger, "GET", "/api/tasks")),
                    (404, await timed(client, "GET", "/api/nothing")),
                    (422, await timed(client, "GET", "/api/tasks/abc")),
                    (422, await timed(client, "POST", "/api/tasks", json={"title": ""})),
                    (200, await timed(stranger, "GET", "/health/live")),
                    (200, await timed(stranger, "GET", "/health/ready")),
                    (200, await timed(stranger, "GET", "/api/health")),
                ]
                answers = await waiting

        assert [answer.status_code for _, (_, answer) in free] == [status for status, _ in free]
        assert max(seconds for _, (seconds, _) in free) < NOISE
        assert all(is_shed(answer) for _, answer in answers)

        assert max(seconds for seconds, _ in answers) < 2 + NOISE  # who gets what others give back included


@pytest.mark.slow
class TestCancelling:
    async def test_requests_that_are_cancelled_at_any_moment_cost_no_connection(
        self, serve: Serve, wire: Wire, sql: asyncpg.Connection
    ) -> None:
        wire.delay = 0.01
        env = patient(f"{wire.url}&application_name=cancelled")
        service = await asyncio.to_thread(serve, env=env, module=("tests.faults.observed", "serve"))
        statuses, pool = await cancelled(service.url, 200, random.Random(20))

        open_ones = "application_name = 'cancelled' AND state LIKE 'idle in transaction%'"
        assert statuses[499] > 50
        assert set(statuses) <= {200, 201, 204, 404, 499}
        assert pool["idle"] == pool["size"]
        assert await sql.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {open_ones}") == 0


@pytest.mark.slow
class TestLoop:
    async def test_nothing_keeps_the_event_loop_from_its_work(self, serve: Serve, wire: Wire) -> None:
        service = await asyncio.to_thread(serve, env=patient(wire.url), module=("tests.faults.observed", "serve"))
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=20) as client:
            await client.get("/observed")
            async with posting(service.url, people=2):
                assert await guess(client, 4) == {401}
                wire.cut()
                await at_once(8, client, "GET", "/api/tasks")
                wire.heal()
                await until(lambda: is_ok(client, "/health/ready"))
            seen = (await client.get("/observed")).json()

        # To hash one password here would take longer. It is tests/soak that says 50 ms.
        assert seen["busy"] < 0.2
        assert seen["late"] < NOISE
