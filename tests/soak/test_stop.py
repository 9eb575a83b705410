"""Stopping and replacing workers under load, at full length."""

import asyncio
import signal
import time
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from tests.faults.askers import asking
from tests.faults.people import MINE, at_once, is_shed
from tests.faults.posts import posting
from tests.faults.probes import probing, until
from tests.live.conftest import Served
from tests.soak.conftest import Figure

ROLLS = 5

Serve = Callable[..., Served]


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_stops_gracefully(
    figure: Figure, serve: Serve, sql: asyncpg.Connection, database_url: str, workers: int
) -> None:
    service = await asyncio.to_thread(serve, workers=workers)
    async with (
        posting(service.url) as posts,
        probing(service.url) as probes,
        httpx.AsyncClient(base_url=service.url, headers=MINE, timeout=30) as client,
    ):
        await posts.go_on(1000)
        async with sql.transaction():
            await sql.execute("LOCK TABLE tasks IN SHARE MODE")  # reads go on, writes wait
            stuck = asyncio.create_task(at_once(8, client, "POST", "/api/tasks", json={"title": "stuck"}))
            await asyncio.sleep(0.5)
            told = time.monotonic()
            code = await asyncio.to_thread(service.stop)
            seconds = time.monotonic() - told
            answers = [answer for _, answer in await stuck]
    after = [probe.status for probe in probes.ready if probe.asked > told + 0.05]  # a signal is on its way for a moment
    shed = sum(map(is_shed, answers))
    lost = await posts.missing(database_url)
    figure(
        f"graceful stop ({workers} workers)",
        f"exit {code} after {seconds:.1f} s; {shed} of {len(answers)} stuck requests answered 503; "
        f"{len(lost)} posts lost; "
        f"ready {after.count(503)} times 503, {after.count(None)} refused, {after.count(200)} times 200",
    )
    assert (code, seconds < 10) == (0, True)
    assert shed == len(answers)
    assert after.count(200) == 0
    assert lost == set()


async def test_workers_are_replaced_unnoticed(figure: Figure, serve: Serve) -> None:
    service = await asyncio.to_thread(serve, workers=2)
    async with asking(service.url, people=16) as asked:
        for roll in range(1, ROLLS + 1):
            service.process.send_signal(signal.SIGHUP)
            await until(lambda done=2 * roll: ended(service) == done, 60)
    figure(
        "rolling restart",
        f"{asked.failed} of {asked.answered:,} requests failed over {ROLLS} restarts, "
        f"{asked.failed_twice} with one retry",
    )
    assert asked.failed <= asked.answered / 1000
    assert asked.failed_twice == 0


def ended(service: Served) -> int:
    """How many of its workers have."""
    return sum("Finished server process" in line for line in service.log())
