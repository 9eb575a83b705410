"""Whether the primary answers: one question for all who ask, and one connection. With real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from app.primary import NoPrimary
from app.pulse import Pulse
from app.settings import Settings
from tests.conftest import SECRET
from tests.live.clusters import migrated_cluster, pair_like

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pulse'"


def settings(url: str) -> Settings:
    return Settings(database_url=url, jwt_secrets=(SECRET,))


@pytest.fixture
async def pulse(database_url: str) -> AsyncIterator[Pulse]:
    mark = "&" if "?" in database_url else "?"
    it = Pulse(settings(f"{database_url}{mark}application_name=pulse"))
    yield it
    await it.close()


async def test_however_many_ask_at_once_it_is_one_question_on_one_connection(
    pulse: Pulse, sql: asyncpg.Connection
) -> None:
    await asyncio.gather(*(pulse.check() for _ in range(10)))
    await pulse.check()
    assert await sql.fetchval(COUNT) == 1


async def test_of_two_connections_that_were_made_beside_each_other_one_is_kept(
    pulse: Pulse, sql: asyncpg.Connection
) -> None:
    first = asyncio.create_task(pulse.check())
    await asyncio.sleep(0)
    pulse._asked -= 2  # as if the first had been slow
    second = asyncio.create_task(pulse.check())
    await asyncio.gather(first, second)
    async with asyncio.timeout(5):
        while await sql.fetchval(COUNT) != 1:  # noqa: ASYNC110 # it tells nobody
            await asyncio.sleep(0.01)


async def test_a_replica_is_no_answer() -> None:
    with migrated_cluster() as cluster, pair_like(cluster) as pair:
        mark = "&" if "?" in pair.replica.url() else "?"
        pulse = Pulse(settings(f"{pair.replica.url()}{mark}target_session_attrs=any"))
        with pytest.raises(NoPrimary):
            await pulse.check()
        await pulse.close()


async def test_neither_is_a_database_that_was_made_anew_and_not_migrated(new_database: Callable[[], str]) -> None:
    pulse = Pulse(settings(new_database()))
    with pytest.raises(NoPrimary):
        await pulse.check()
    await pulse.close()
