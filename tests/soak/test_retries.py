"""A request that is sent again with its key, before the first is answered, is done once and answered alike."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.copies import wrong_rounds
from tests.live.conftest import Served
from tests.live.pgbouncer import PgBouncer
from tests.soak.conftest import Figure

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "400"))

Serve = Callable[..., Served]


async def try_copies(serve: Serve, figure: Figure, how: str, env: dict[str, str], **more: Any) -> None:
    service = await asyncio.to_thread(serve, env=env, workers=2)
    never = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, limits=never, timeout=30) as client:
        wrong = await wrong_rounds(client, ROUNDS, **more)
    figure(f"copies under one key{how}", f"{len(wrong)} of {ROUNDS} rounds wrong")
    service.stop()
    assert not wrong, "\n".join(wrong)


async def test_copies_that_come_together_are_one_request(serve: Serve, figure: Figure) -> None:
    await try_copies(serve, figure, "", {})


async def test_copies_where_no_trash_is_kept(serve: Serve, figure: Figure) -> None:
    await try_copies(serve, figure, ", without a trash", {"TRASH_DAYS": "0"}, keeps_trash=False)


async def test_copies_through_a_pgbouncer(serve: Serve, figure: Figure, database_url: str) -> None:
    pooler = PgBouncer(database_url, "default_pool_size = 8")
    pooler.start()
    try:
        await try_copies(serve, figure, ", through a PgBouncer", {"DATABASE_URL": pooler.url(database_url)})
    finally:
        pooler.end()
