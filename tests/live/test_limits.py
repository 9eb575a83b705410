"""The rate limit over two workers: they count together, exactly, whoever of them dies."""

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.auth import opaque_tokens
from tests.conftest import token

pytestmark = pytest.mark.slow

CLIENTS = 50
ADA = {"authorization": f"Bearer {token('ada')}"}
BOB = {"authorization": f"Bearer {token('bob')}"}


Send = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def lists(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/api/tasks")


async def asked(url: str, times: int, headers: dict[str, str] | None = None, send: Send = lists) -> Counter[int]:
    """What so many requests are answered, sent by 50 clients at once; each has a connection of its own, or several."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=0)
    statuses: Counter[int] = Counter()

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30) as it:
            for _ in range(times // CLIENTS):
                statuses[(await send(it)).status_code] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return statuses


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_two_workers_let_exactly_so_many_through(serve: Callable[..., Any], clean: None) -> None:
    service = await asyncio.to_thread(serve, {"RATE_LIMIT": "200/minute"}, workers=2)
    began = time.monotonic()

    assert await asked(service.url, 500, ADA) == {200: 200, 429: 300}
    assert await asked(service.url, 500) == {401: 200, 429: 300}
    assert await asked(service.url, 100, BOB) == {200: 100}
    assert time.monotonic() - began < 55


async def test_workers_that_die_and_are_rolled_leave_the_count_as_it_was(
    serve: Callable[..., Any], clean: None, tmp_path: Path
) -> None:
    service = await asyncio.to_thread(serve, {"RATE_LIMIT": "100/hour", "TMPDIR": str(tmp_path)}, workers=2)
    assert len(files(tmp_path)) == 1
    assert await asked(service.url, 50, ADA) == {200: 50}

    first = service.pids()
    os.kill(first[-1], signal.SIGKILL)
    service.process.send_signal(signal.SIGHUP)
    while len(set(service.pids()) - set(first)) < 2:  # noqa: ASYNC110 # it tells nobody
        await asyncio.sleep(0.05)
    await asyncio.to_thread(service.wait, "/health/ready")
    assert await asked(service.url, 150, ADA) == {200: 50, 429: 100}

    assert service.stop() == 0
    assert files(tmp_path) == []


async def test_one_worker_counts_too(serve: Callable[..., Any], clean: None) -> None:
    service = await asyncio.to_thread(serve, {"RATE_LIMIT": "100"})
    assert await asked(service.url, 200, ADA) == {200: 100, 429: 100}


async def signs_up(client: httpx.AsyncClient) -> httpx.Response:
    wish = {"name": "Ada", "email": f"{secrets.token_hex(8)}@example.com", "password": "correct horse"}
    return await client.post("/api/auth/signup", json=wish)


async def test_two_workers_let_exactly_so_many_sign_up(serve: Callable[..., Any], clean: None) -> None:
    service = await asyncio.to_thread(serve, {"SIGNUP_LIMIT": "20/hour"}, workers=2)
    assert await asked(service.url, 250, send=signs_up) == {201: 20, 429: 230}
    # Another network, as a proxy on this machine tells it.
    assert await asked(service.url, 50, {"x-forwarded-for": "2001:db8::1"}, signs_up) == {201: 20, 429: 30}
    assert await asked(service.url, 50, {"x-forwarded-for": "2001:db8::2"}, signs_up) == {429: 50}


SCANS = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'personal_access_tokens'"
SCANS_OF_A_LOOK = 2  # for the time of the token's last use, and for its owner


async def with_a_token_that_never_was(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/api/tasks", headers={"authorization": f"Bearer {opaque_tokens.new_personal()}"})


async def test_two_workers_look_nobody_up_who_is_over_the_limit(
    serve: Callable[..., Any], migrated_database: Callable[[], str]
) -> None:
    url = migrated_database()
    env = {"RATE_LIMIT": "200/hour", "DATABASE_URL": url}
    service = await asyncio.to_thread(serve, env, workers=2, arguments=["--migrate"])
    connection = await asyncpg.connect(url)
    before = await connection.fetchval(SCANS)
    assert await asked(service.url, 1000, send=with_a_token_that_never_was) == {401: 200, 429: 800}
    assert service.stop() == 0  # what its connections have counted is told when they end
    async with asyncio.timeout(15):
        while (after := await connection.fetchval(SCANS)) < before + SCANS_OF_A_LOOK * 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await connection.close()
    assert after == before + SCANS_OF_A_LOOK * 200
