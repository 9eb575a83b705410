"""Whether the primary answers: one question for all who ask, and one connection. With real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from app.config.settings import Settings
from app.db.primary import NoPrimary
from app.db.readiness import ReadinessProbe
from tests.conftest import SECRET
from tests.live.clusters import migrated_cluster, pair_like

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'probe'"


def settings(url: str) -> Settings:
    return Settings(database_url=url, jwt_secrets=(SECRET,))


@pytest.fixture
async def probe(database_url: str) -> AsyncIterator[ReadinessProbe]:
    mark = "&" if "?" in database_url else "?"
    it = ReadinessProbe(settings(f"{database_url}{mark}application_name=probe"))
    yield it
    await it.close()


async def test_however_many_ask_concurrently_it_is_one_question_on_one_connection(
    probe: ReadinessProbe, sql: asyncpg.Connection
) -> None:
    await asyncio.gather(*(probe.check() for _ in range(10)))
    await probe.check()
    assert await sql.fetchval(COUNT) == 1


async def test_of_two_connections_that_were_made_beside_each_other_one_is_kept(
    probe: ReadinessProbe, sql: asyncpg.Connection
) -> None:
    first = asyncio.create_task(probe.check())
    await asyncio.sleep(0)
    probe._asked -= 2  # as if the first had been slow
    second = asyncio.create_task(probe.check())
    await asyncio.gather(first, second)
    async with asyncio.timeout(5):
        while await sql.fetchval(COUNT) != 1:  # noqa: ASYNC110 # it tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_replica_is_no_answer() -> None:
    with migrated_cluster() as cluster, pair_like(cluster) as pair:
        mark = "&" if "?" in pair.replica.url() else "?"
        probe = ReadinessProbe(settings(f"{pair.replica.url()}{mark}target_session_attrs=any"))
        with pytest.raises(NoPrimary):
            await probe.check()
        await probe.close()


async def test_neither_is_a_database_that_was_made_anew_and_not_migrated(new_database: Callable[[], str]) -> None:
    probe = ReadinessProbe(settings(new_database()))
    with pytest.raises(NoPrimary):
        await probe.check()
    await probe.close()
