"""More than one machine, at full length: what docs/scaling.md says was measured."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.faults.posts import Posts, posting
from tests.live.clusters import Cluster, migrated_cluster, pair_like
from tests.live.test_scaling import back, kept, pgbouncer
from tests.soak.conftest import Figure

ROUNDS = 5


async def test_a_primary_that_is_lost_again_and_again(serve: Callable[..., Any], figure: Figure) -> None:
    seconds: list[float] = []
    with migrated_cluster() as cluster, pair_like(cluster) as pair:
        service = serve(env={"DATABASE_URL": pair.url}, workers=2)
        async with posting(service.url, people=8) as posts:
            for number in range(ROUNDS):
                await posts.go_on(1000, seconds=120)
                await asyncio.to_thread(pair.primary.stop, ("immediate", "fast")[number % 2])
                seconds.append(await back(posts, pair))
                await asyncio.to_thread(pair.swap)
            await posts.go_on(1000, seconds=120)

        lost = await posts.missing(pair.primary.url())
        figure(f"nothing acknowledged is lost: {ROUNDS} fail-overs to a synchronous replica", of(lost, posts))
        figure("back by itself after a replica is promoted", f"{max(seconds):.1f} s at most, no restart")
        figure("database trouble is 503: fail-overs", trouble(posts))
        await kept(service, posts, pair.primary)


async def test_pgbouncer_and_postgresql_behind_it_that_restart_again_and_again(
    serve: Callable[..., Any], figure: Figure
) -> None:
    seconds: list[float] = []

    async def again(posts: Posts, stop: Callable[..., None], how: Any, start: Callable[[], Any]) -> None:
        await posts.go_on(300, seconds=120)
        await asyncio.to_thread(stop, how)
        await asyncio.to_thread(start)
        began = time.monotonic()
        await posts.go_on(1)
        seconds.append(time.monotonic() - began)

    with migrated_cluster() as cluster, pgbouncer(cluster) as pooler:
        service = serve(env={"DATABASE_URL": pooler.url(cluster.url())}, workers=2)
        async with posting(service.url, people=8) as posts:
            for _ in range(ROUNDS):
                for number in (signal.SIGTERM, signal.SIGKILL):
                    await again(posts, pooler.stop, number, pooler.start)
                for mode in ("fast", "immediate"):
                    await again(posts, cluster.stop, mode, cluster.start)
            await posts.go_on(300, seconds=120)

        lost = await posts.missing(cluster.url())
        restarts = f"{2 * ROUNDS} restarts of PgBouncer, {2 * ROUNDS} of PostgreSQL behind it"
        figure(f"nothing acknowledged is lost: {restarts}", of(lost, posts))
        figure("back by itself behind PgBouncer", f"{max(seconds):.1f} s at most, no restart")
        figure("database trouble is 503: behind PgBouncer", trouble(posts))
        await kept(service, posts, cluster)


async def test_what_pgbouncer_costs(serve: Callable[..., Any], figure: Figure) -> None:
    """Posts one after the other, straight and through it, in turns."""
    with migrated_cluster() as cluster, pgbouncer(cluster, "default_pool_size = 5") as pooler:
        straight = serve(env={"DATABASE_URL": cluster.url()})
        through = serve(env={"DATABASE_URL": pooler.url(cluster.url())})
        took: dict[str, list[float]] = {"straight": [], "through": []}
        for _ in range(ROUNDS):
            for name, service in (("straight", straight), ("through", through)):
                took[name].append(await milliseconds(service.url, cluster))

        figure("a post without and with PgBouncer", " and ".join(f"{median(each):.2f} ms" for each in took.values()))


async def milliseconds(url: str, cluster: Cluster) -> float:
    """How long one post takes, of 500 by one person."""
    async with posting(url, people=1) as posts:
        await posts.go_on(50)
        began, before = time.monotonic(), len(posts.acknowledged)
        await posts.go_on(500)
        seconds, count = time.monotonic() - began, len(posts.acknowledged) - before
    assert await posts.missing(cluster.url()) == set()
    return seconds / count * 1000


def median(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def of(lost: set[str], posts: Posts) -> str:
    return f"{len(lost)} of {len(posts.acknowledged):,}"


def trouble(posts: Posts) -> str:
    others = sum(count for status, count in posts.statuses.items() if status not in (201, 503))
    slowest = f"slowest 503 after {posts.slowest_refusal * 1000:.0f} ms"
    return f"{others} others, {posts.statuses[503]} answers of 503 of {sum(posts.statuses.values()):,}; {slowest}"
