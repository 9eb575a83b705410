"""What docs/scaling.md says of more than one machine: a PgBouncer in front, a replica that takes over. Both are
lost and come back under load; nothing that was acknowledged is lost, and nobody is told 500.

tests/soak has the same at full length.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import token
from tests.faults.posts import Posts, posting
from tests.live.clusters import Cluster, Pair, command, migrated_cluster, pair_like, url_of
from tests.live.pgbouncer import PgBouncer

pytestmark = pytest.mark.slow

MINE = {"authorization": f"Bearer {token('ada')}"}
BACK_SECONDS = 3.0  # from the promotion to the first acknowledged write

# As docs/scaling.md has them, with servers behind it that change every second.
SETTINGS = ("default_pool_size = 5", "server_login_retry = 1", "server_lifetime = 1", "server_idle_timeout = 1")


@pytest.fixture(scope="module")
def migrated() -> Iterator[Cluster]:
    with migrated_cluster() as cluster:
        yield cluster


@pytest.fixture
def pair(migrated: Cluster) -> Iterator[Pair]:
    with pair_like(migrated) as pair:
        yield pair


@contextmanager
def pgbouncer(cluster: Cluster, *settings: str) -> Iterator[PgBouncer]:
    it = PgBouncer(cluster.url(), *(settings or SETTINGS))
    it.start()
    try:
        yield it
    finally:
        it.end()


class TestPgBouncer:
    async def test_it_may_be_restarted_and_so_may_postgresql_behind_it(
        self, serve: Callable[..., Any], migrated: Cluster
    ) -> None:
        with pgbouncer(migrated) as pooler:
            service = serve(env={"DATABASE_URL": pooler.url(migrated.url())}, workers=2)
            async with posting(service.url, people=8) as posts:
                await posts.go_on(200)
                before = await servers(migrated)
                for how in (signal.SIGTERM, signal.SIGKILL):
                    pooler.stop(how)
                    await asyncio.to_thread(refused, service.url)
                    pooler.start()
                    await posts.go_on(100)
                for way in ("fast", "immediate"):
                    await asyncio.to_thread(migrated.stop, way)
                    await asyncio.to_thread(refused, service.url)
                    await asyncio.to_thread(migrated.start)
                    await posts.go_on(100)
                assert before.isdisjoint(await servers(migrated))

            await kept(service, posts, migrated)
            assert posts.slowest_refusal < 1


class TestFailOver:
    async def test_what_was_acknowledged_is_on_the_new_primary_and_the_service_finds_it_by_itself(
        self, serve: Callable[..., Any], pair: Pair
    ) -> None:
        service = serve(env={"DATABASE_URL": pair.url}, workers=2)
        async with posting(service.url, people=8) as posts:
            await posts.go_on(200)
            await asyncio.to_thread(pair.primary.stop, "immediate")
            await asyncio.to_thread(refused, service.url)  # there is a replica, and it is of no use
            await back(posts, pair)
            await posts.go_on(200)

        await kept(service, posts, pair.replica)
        assert posts.slowest_refusal < 1

    async def test_one_that_is_switched_off_and_says_nothing_is_given_up_in_time(
        self, serve: Callable[..., Any], pair: Pair
    ) -> None:
        service = serve(env={"DATABASE_URL": pair.url, "DATABASE_TIMEOUT": "1"}, workers=2)
        async with posting(service.url, people=8) as posts:
            await posts.go_on(100)
            pair.primary.freeze()
            await asyncio.to_thread(refused, service.url)
            await back(posts, pair)
            began = time.monotonic()
            await asyncio.to_thread(service.wait, "/health/ready")
            assert time.monotonic() - began < 2
            await posts.go_on(200)

        await kept(service, posts, pair.replica)
        assert posts.slowest_refusal < 3  # twice DATABASE_TIMEOUT, and a second

    async def test_with_a_pgbouncer_beside_each_of_the_two_it_is_the_same(
        self, serve: Callable[..., Any], pair: Pair
    ) -> None:
        with pgbouncer(pair.primary) as one, pgbouncer(pair.replica) as two:
            # A PgBouncer that has lost its server may let us wait for half of this, before the other is asked.
            env = {"DATABASE_URL": url_of(one.host, two.host), "DATABASE_TIMEOUT": "2"}
            service = serve(env=env, workers=2)
            async with posting(service.url, people=8) as posts:
                await posts.go_on(200)
                await asyncio.to_thread(pair.primary.stop, "immediate")
                await asyncio.to_thread(refused, service.url)
                await back(posts, pair)
                await posts.go_on(200)

            await kept(service, posts, pair.replica)

    async def test_a_replica_that_is_lost_holds_up_writes_and_nothing_else(
        self, serve: Callable[..., Any], pair: Pair
    ) -> None:
        service = serve(env={"DATABASE_URL": pair.url, "DATABASE_TIMEOUT": "0.5", "DATABASE_POOL_MAX": "3"}, workers=2)
        async with posting(service.url, people=16) as posts:
            await posts.go_on(100)
            await asyncio.to_thread(pair.replica.stop, "immediate")
            before = len(posts.acknowledged)
            await asyncio.sleep(4)
            # A commit that waits for a replica ends only when it is asked to. Each would keep a connection for ever;
            # and those that were asked are not acknowledged.
            assert len(await servers(pair.primary)) <= 12
            assert len(posts.acknowledged) - before <= 6  # what was on its way
            assert (await asyncio.to_thread(httpx.get, f"{service.url}/api/tasks", headers=MINE)).status_code == 200
            await asyncio.to_thread(pair.replica.start)
            await posts.go_on(100)

        await kept(service, posts, pair.primary)

    def test_commands_find_the_primary_too(self, pair: Pair) -> None:
        pair.primary.stop()
        pair.replica.promote()
        url = pair.url.partition("?")[0]
        assert command(url, "migrate") == "The database is up to date.\n"
        assert "\nf\n" in command(url, "psql", text="\\t\n\\a\nSELECT pg_is_in_recovery();\n")
        assert command(url, "admin-user", "grace", text="a long password\n") == "grace can log in at /admin/ now.\n"


def refused(url: str) -> None:
    """Every answer that needs the database is 503, and the process is alive."""
    for path in ("/health/ready", "/api/tasks"):
        answer = httpx.get(f"{url}{path}", headers=MINE, timeout=20)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text
    assert httpx.get(f"{url}/health/live").status_code == 200


async def back(posts: Posts, pair: Pair) -> float:
    """Promote the replica, and return how long it took then until a task was acknowledged, in seconds."""
    await asyncio.to_thread(pair.replica.promote)
    began = time.monotonic()
    await posts.go_on(1)
    seconds = time.monotonic() - began
    assert seconds < BACK_SECONDS, seconds
    return seconds


async def kept(service: Any, posts: Posts, primary: Cluster) -> None:
    """Nothing acknowledged is lost, nothing was answered but 201 and 503, and nobody was started again."""
    assert await posts.missing(primary.url()) == set()
    assert set(posts.statuses) == {201, 503}, posts.statuses
    assert (posts.broken, posts.unfriendly) == (0, 0)
    assert sum("Started server process" in line for line in service.log()) == 2
    assert service.stop(signal.SIGTERM) == 0


async def servers(cluster: Cluster) -> set[int]:
    """The processes that serve somebody else."""
    connection = await asyncpg.connect(cluster.url())
    pids = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    await connection.close()
    return {row["pid"] for row in pids}
