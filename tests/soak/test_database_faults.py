"""The database's faults at full length: restarts, absence, silence, locks, and requests that are cancelled."""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.faults.people import MINE, at_once, cancelled, guess, is_ok, is_shed, timed
from tests.faults.posts import Posts, posting
from tests.faults.probes import probing, until
from tests.faults.server import Postgres, postgres_of_our_own
from tests.faults.wire import Wire, wire_to
from tests.live.conftest import Served
from tests.soak.conftest import Figure

POSTS = 20_000
TIMEOUT = 5.0  # DATABASE_TIMEOUT, as it is by default

Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def postgres_alone() -> Iterator[Postgres]:
    """A server of this module's own, migrated."""
    with postgres_of_our_own() as postgres:
        yield postgres


@pytest.fixture
async def wire(postgres_alone: Postgres) -> AsyncIterator[Wire]:
    async with wire_to(postgres_alone.url) as wire:
        yield wire


async def test_nothing_acknowledged_is_lost(
    figure: Figure, serve: Serve, postgres_alone: Postgres, unused_port: int
) -> None:
    env = {"DATABASE_URL": postgres_alone.url, "PORT": f"{unused_port}"}
    services = [await asyncio.to_thread(serve, env=env, workers=2)]

    async def kill_a_worker() -> None:
        os.kill(services[0].pids()[-1], signal.SIGKILL)

    async def roll() -> None:
        begun = len(services[0].pids())
        services[0].process.send_signal(signal.SIGHUP)
        await until(lambda: len(services[0].pids()) == begun + 2, 60)

    async def stop_and_start() -> None:
        assert await asyncio.to_thread(services[0].stop) == 0
        services.append(await asyncio.to_thread(serve, env=env, workers=2))

    faults: list[Callable[[], Awaitable[None]]] = [
        lambda: postgres_alone.restart("fast"),
        lambda: postgres_alone.restart("immediate"),
        lambda: postgres_alone.restart("fast", seconds_down=4),
        kill_a_worker,
        roll,
        stop_and_start,
    ]
    async with posting(services[0].url) as posts:
        for fault in faults:
            await posts.go_on(POSTS // len(faults), seconds=300)
            await fault()
        await posts.reach(POSTS, seconds=300)

    missing = await posts.missing(postgres_alone.url)
    figure("nothing acknowledged is lost", f"{len(missing)} of {len(posts.acknowledged):,}")
    figure("database trouble is 503 with Retry-After", told(posts))
    assert missing == set()
    assert set(posts.statuses) == {201, 503}
    assert posts.unfriendly == 0


def told(posts: Posts) -> str:
    failures = sum(count for status, count in posts.statuses.items() if status not in (201, 503))
    return f"{posts.statuses[500]} times 500, {failures} others, {posts.statuses[503]:,} times 503"


async def test_live_and_ready_are_honest(figure: Figure, serve: Serve, postgres_alone: Postgres) -> None:
    service = await asyncio.to_thread(serve, env={"DATABASE_URL": postgres_alone.url})
    delays: list[float] = []
    async with (
        posting(service.url, people=4),
        probing(service.url) as probes,
        httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client,
    ):
        for mode in ("fast", "immediate"):
            await asyncio.sleep(3)
            went = time.monotonic()
            await asyncio.to_thread(postgres_alone.stop, mode)
            refused = [await timed(client, "GET", "/api/tasks") for _ in range(100)]
            await probes.follow(503, went)
            await asyncio.sleep(4)
            await asyncio.to_thread(postgres_alone.start)
            came = time.monotonic()
            await probes.follow(200, came)
            delays += [probes.seconds_until(503, went), probes.seconds_until(200, came)]
        await asyncio.sleep(3)

    slowest = max(seconds for seconds, _ in refused)
    figure("a refused connection is told at once", f"{slowest * 1000:.0f} ms at most, of {len(refused)}")
    figure("live stays 200", f"{sum(probe.status == 200 for probe in probes.live)} of {len(probes.live)}")
    figure("ready follows the database", f"within {max(delays):.2f} s")
    assert all(is_shed(answer) for _, answer in refused)
    assert slowest < 0.3
    assert probes.always_alive()
    assert max(delays) < 2


async def test_it_starts_without_its_database(figure: Figure, serve: Serve, postgres_alone: Postgres) -> None:
    postgres_alone.stop()
    env = {"DATABASE_URL": postgres_alone.url}
    began = time.monotonic()
    service = serve(env=env, arguments=["--migrate"], wait=None)
    await until(lambda: is_listening(service.port))
    listening = time.monotonic() - began
    await asyncio.to_thread(service.wait, "/health/live")
    living = time.monotonic() - began
    async with probing(service.url) as probes:
        await asyncio.sleep(20)
        await asyncio.to_thread(postgres_alone.start)
        came = time.monotonic()
        await probes.follow(200, came)
    before = {probe.status for probe in probes.ready if probe.asked < came - 1}
    follows = probes.seconds_until(200, came)
    figure(
        "it starts without its database",
        f"listening after {listening:.1f} s, live after {living:.1f} s, ready {follows:.2f} s after it came",
    )
    assert before == {503}
    assert probes.always_alive()
    assert service.process.poll() is None
    assert follows < 2
    assert listening < 2


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("fault", [Wire.hold, Wire.cut], ids=["held", "lost"])
async def test_a_silent_database_is_bounded(
    figure: Figure, serve: Serve, wire: Wire, fault: Callable[[Wire], None], request: pytest.FixtureRequest
) -> None:
    service = await asyncio.to_thread(serve, env={"DATABASE_URL": wire.url})
    async with (
        httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client,
        probing(service.url) as probes,
    ):
        await at_once(8, client, "GET", "/api/tasks")
        fault(wire)
        fell = time.monotonic()
        answers = await at_once(8, client, "GET", "/api/tasks")
        answers += await at_once(8, client, "GET", "/api/tasks")
        wire.heal()
        healed = time.monotonic()
        await until(lambda: is_ok(client, "/api/tasks"))
        back = time.monotonic() - healed
        await probes.follow(200, healed)
        after = await at_once(50, client, "GET", "/api/tasks")

    slowest, pulse = max(seconds for seconds, _ in answers), probes.slowest_sign_of_life()
    follows = max(probes.seconds_until(503, fell), probes.seconds_until(200, healed))
    figure(
        f"a silent database is bounded ({request.node.callspec.id})",
        f"503 after {slowest:.1f} s at most, live within {pulse * 1000:.0f} ms, "
        f"back {back:.2f} s after healing, ready follows within {follows:.2f} s",
    )
    assert all(is_shed(answer) for _, answer in answers)
    assert {answer.status_code for _, answer in after} == {200}
    assert slowest < 2 * TIMEOUT + 1
    assert probes.always_alive()
    assert pulse < 0.2
    assert back < 3
    assert follows < 2


async def test_an_exhausted_pool_sheds(figure: Figure, serve: Serve, postgres_alone: Postgres) -> None:
    service = await asyncio.to_thread(serve, env={"DATABASE_URL": postgres_alone.url})
    outside = await asyncpg.connect(postgres_alone.url)
    free: list[tuple[float, httpx.Response]] = []
    async with (
        httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client,
        httpx.AsyncClient(base_url=service.url, timeout=30) as stranger,
        outside.transaction(),
    ):
        await outside.execute("LOCK TABLE tasks")
        waiting = asyncio.create_task(at_once(30, client, "GET", "/api/tasks"))
        await asyncio.sleep(0.5)
        for _ in range(20):
            free += [
                await timed(stranger, "GET", "/api/tasks"),
                await timed(client, "GET", "/api/nothing"),
                await timed(client, "GET", "/api/tasks/abc"),
                await timed(stranger, "GET", "/health/live"),
                await timed(stranger, "GET", "/health/ready"),
            ]
        late = asyncio.create_task(at_once(20, client, "GET", "/api/tasks"))  # who gets what the first give back
        answers = await waiting + await late
    await outside.close()

    slowest, at_most = max(seconds for seconds, _ in answers), max(seconds for seconds, _ in free)
    figure(
        "an exhausted pool sheds",
        f"503 after {slowest:.2f} s at most, of {len(answers)}; the rest within {at_most * 1000:.0f} ms",
    )
    assert all(is_shed(answer) for _, answer in answers)
    assert [answer.status_code for _, answer in free] == [401, 404, 422, 200, 200] * 20
    assert slowest <= TIMEOUT + 0.1
    assert at_most < 0.2


async def test_the_pool_never_leaks(figure: Figure, serve: Serve, wire: Wire, postgres_alone: Postgres) -> None:
    wire.delay = 0.01
    url = f"{wire.url}&application_name=cancelled"
    service = await asyncio.to_thread(serve, env={"DATABASE_URL": url}, module=("tests.faults.observed", "serve"))
    statuses, pool = await cancelled(service.url, 1000, random.Random(20))
    outside = await asyncpg.connect(postgres_alone.url)
    left = await outside.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cancelled' AND state LIKE 'idle in trans%'"
    )
    await outside.close()
    figure(
        "the pool never leaks",
        f"{statuses[499]} of 1,000 cancelled in flight; {pool['idle']} of {pool['size']} connections idle, "
        f"{left} idle in transaction",
    )
    assert statuses[499] > 300
    assert set(statuses) <= {200, 201, 204, 404, 499}
    assert pool["idle"] == pool["size"]
    assert left == 0


async def test_the_loop_is_never_blocked(figure: Figure, serve: Serve, wire: Wire, postgres_alone: Postgres) -> None:
    env: dict[str, Any] = {"DATABASE_URL": wire.url, "DATABASE_TIMEOUT": "1"}
    service = await asyncio.to_thread(serve, env=env, module=("tests.faults.observed", "serve"))
    worst: dict[str, dict[str, float]] = {}

    async with httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client:

        async def observe(what: str, doing: Awaitable[Any]) -> None:
            await client.get("/observed")
            await doing
            worst[what] = (await client.get("/observed")).json()

        async def silence() -> None:
            wire.cut()
            await at_once(8, client, "GET", "/api/tasks")
            wire.heal()
            await until(lambda: is_ok(client, "/health/ready"))

        async def restart() -> None:
            await postgres_alone.restart("immediate")
            await until(lambda: is_ok(client, "/health/ready"))

        async def log_in() -> None:
            assert await guess(client, 5) == {401}
            assert await guess(client, 5) <= {401, 429}  # and what is beyond five of an account

        async with posting(service.url, people=4):
            await observe("posts", asyncio.sleep(5))
            await observe("a restart", restart())
            await observe("silence", silence())
            await observe("the admin, opened first", client.get("/admin/"))
            await observe("logins, the admin's too", log_in())
            await observe("1,000 requests at once", at_once(1000, client, "GET", "/api/tasks/1"))
        for _ in range(50):
            await at_once(20, client, "POST", "/api/tasks", json={"title": "x" * 100})
        await observe("lists of 1,000", at_once(20, client, "GET", "/api/tasks"))

    for what, seen in worst.items():
        figure(f"the loop is never blocked ({what})", f"{seen['late'] * 1000:.0f} ms, {seen['busy'] * 1000:.0f} busy")
    assert max(seen["late"] for seen in worst.values()) < 0.05
